/**
 * The command line's flags, `--name` or `--name=value`.
 * @throws {Error} for one that is not among `known`: a misspelled flag would measure something else for minutes.
 */
export function flagsOf(known: readonly string[]): ReadonlyMap<string, string | undefined> {
  const flags = new Map<string, string | undefined>();
  for (const argument of process.argv.slice(2)) {
    const [, name = "", value] = /^--([^=]*)(?:=(.*))?$/s.exec(argument) ?? [];
    if (!known.includes(name))
      throw new Error(`expected flags among ${known.map((k) => `--${k}`).join(", ")}. Received: ${argument}`);
    flags.set(name, value);
  }
  return flags;
}
