/** One file of settings as several: a section in a file of its own, which the first names. */
import { parse, stringify } from "yaml";
import { isPlain } from "@nbit/torch/realm";

/**
 * @param files - Section → name of its file. Of sections that are not there nothing becomes.
 * @param write - Writes a file, and says what it is called in the end: that name may be taken by other settings.
 * @returns the settings with the names of files in the place of those sections.
 */
export function splitConfig(
  text: string,
  files: Readonly<Record<string, string>>,
  write: (name: string, text: string) => string,
): string {
  const sections = Object.entries(files);
  const config: unknown = sections.length === 0 ? null : parse(text);
  if (!isPlain(config)) return text;
  const header = /^(?:#.*\n)*/.exec(text)?.[0] ?? "";
  const named = sections.flatMap(([section, name]) => {
    const value = config[section];
    return isPlain(value) ? [[section, write(name, stringify(value, OPTIONS))] as const] : [];
  });
  return header + stringify({ ...config, ...Object.fromEntries(named) }, OPTIONS);
}

const OPTIONS = { lineWidth: 0, aliasDuplicateObjects: false } as const;
