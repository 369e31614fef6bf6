/** An argument as a shell reads it: in quotes where it must be. */
export const quoteForShell = (arg: string): string =>
  /^[\w@%+=:,./-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", "'\\''")}'`;
