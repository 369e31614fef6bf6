/** All that one call of `nbit fit` and its like says: the environment, files of settings, flags, in this order. */
import { lastOf, type Call, type FlagValue } from "../command.js";
import { CommandError } from "../errors.js";
import { readEnvironment } from "../settings/environment.js";
import type { Given } from "../settings/given.js";
import { PARTS, settle, type Settings } from "../settings/settle.js";
import { isConfigFile, readConfig } from "../settings/yaml.js";

/** Settings that are a command's own; every command takes a file that another has saved. */
const OWN = ["file", "seed", "ckptPath", "run", "output", "initialWeights"];

/** What is no setting: it says where settings come from, or what is done with them. */
const NOT_SETTINGS = new Set(["config", "env-prefix", "print-config", "verbose", "json", "topology", "plugin"]);

/**
 * @throws {CommandError} for names that nobody knows and values that they cannot have, wherever they stand.
 */
export function settingsOf(
  call: Call,
  env: Readonly<Record<string, string | undefined>>,
  { own = [], sections = [], defaults = [], envPrefix = "NBIT" }: MoreSettings = {},
): Settings {
  const { command, flags, words } = call;
  const prefix = lastOf(flags).get("env-prefix") ?? envPrefix;
  const files = new Map<string, string>();
  const onFile = (section: string, file: string): void => void files.set(section, file);
  const config = (file: unknown): Given[] => readConfig(command.name, String(file), { sections, onFile });
  const ofSection = (section: string, file: string): Given[] => {
    onFile(section, file);
    return readConfig(command.name, file, { sections, section });
  };
  const open = ["trainer", ...PARTS, ...sections];
  const given: Given[] = [
    ...defaults,
    ...readEnvironment(command.name, String(prefix), env).flatMap((each) =>
      each.path.length === 1 && each.path[0] === "config" ? config(each.value) : [each],
    ),
  ];
  for (const { name, value } of flags) {
    if (name === "config") given.push(...config(value));
    else if (open.includes(name) && isConfigFile(value)) given.push(...ofSection(name, value));
    else if (!NOT_SETTINGS.has(name)) given.push(flagGiven(name, value));
  }
  const [file] = words;
  if (file !== undefined) given.push({ path: ["file"], value: file, isText: true, from: "FILE" });
  return { ...settle(command.name, given, [...OWN, ...own], sections), files };
}

/** What a command line of a program has beside that of `nbit`. */
export interface MoreSettings {
  readonly own?: readonly string[];
  readonly sections?: readonly string[];
  readonly envPrefix?: string;
  /** Below everything else. */
  readonly defaults?: readonly Given[];
}

function flagGiven(name: string, value: FlagValue): Given {
  const path = name.split(".");
  // What the table has read already is no text any more, but for what a section's text may mean.
  return { path, value, isText: typeof value === "string", from: `--${name}` };
}

/** A setting of the command itself that is a text. */
export function textOf(command: string, { own }: Settings, name: string): string | null {
  const given = own.get(name);
  if (given === undefined || given.value === null) return null;
  if (typeof given.value === "string" && given.value !== "") return given.value;
  throw new CommandError(
    "ERR_FLAG_VALUE",
    `nbit ${command}: expected ${given.from} to be text. Received: ${JSON.stringify(given.value)}.`,
  );
}

/** Null: none was given. False: there shall be none. */
export function seedOf(command: string, { own }: Settings): number | false | null {
  const given = own.get("seed");
  if (given === undefined || given.value === null || given.value === true) return null;
  const value = given.isText && /^\d+$/.test(String(given.value)) ? Number(given.value) : given.value;
  if (value === false || value === "false") return false;
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw new CommandError(
    "ERR_FLAG_VALUE",
    `nbit ${command}: expected ${given.from} to be a whole number ≥ 0. Received: ${String(given.value)}.`,
  );
}

export function switchOf(command: string, { own }: Settings, name: string): boolean {
  const given = own.get(name);
  if (given === undefined || given.value === null) return false;
  if (typeof given.value === "boolean") return given.value;
  if (given.value === "true" || given.value === "false") return given.value === "true";
  throw new CommandError(
    "ERR_FLAG_VALUE",
    `nbit ${command}: expected ${given.from} to be true or false. Received: ${JSON.stringify(given.value)}.`,
  );
}
