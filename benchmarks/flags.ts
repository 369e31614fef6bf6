/**
 * The command line's flags: `--name`, `--name=value` or `--name value`.
 * @throws {Error} for one that is not among `known`: a misspelled flag would measure something else for minutes.
 */
export function flagsOf(
  known: readonly string[],
  args: readonly string[] = process.argv.slice(2),
): ReadonlyMap<string, string | undefined> {
  const flags = new Map<string, string | undefined>();
  let open: string | null = null; // has no value yet
  for (const argument of args) {
    const [match, name = "", value] = /^--([^=]*)(?:=(.*))?$/s.exec(argument) ?? [];
    if (match === undefined && open !== null) {
      flags.set(open, argument);
      open = null;
      continue;
    }
    if (!known.includes(name))
      throw new Error(`expected flags among ${known.map((k) => `--${k}`).join(", ")}. Received: ${argument}`);
    flags.set(name, value);
    open = value === undefined ? name : null;
  }
  return flags;
}
