/**
 * Flags of `nbit fit` and its like: the Trainer's options under their own names. What a value may be is the Trainer's
 * to say; only its type is settled here.
 */
import { defaultText, TRAINER_OPTIONS, type FlagKind, type TrainerOption } from "@nbit/lightning/options"; // loads no libtorch
import { nearest } from "@nbit/torch/names";
import { CommandError } from "../errors.js";

export type FlagValue = string | number | boolean | null;
type Flag = Pick<TrainerOption, "summary" | "values"> & {
  readonly takes: readonly FlagKind[];
  readonly otherwise?: string;
};

/** What is not the Trainer's, then every option of the Trainer that a word can express. */
const FLAGS: ReadonlyMap<string, Flag> = new Map<string, Flag>([
  ["ckptPath", { takes: ["text"], values: "a path, last or best", summary: "a checkpoint to use" }],
  ["seed", { takes: ["number"], summary: "seeds everything before the file is loaded" }],
  ...Object.entries(TRAINER_OPTIONS).flatMap(([name, { flag, ...row }]): [string, Flag][] =>
    flag === null ? [] : [[name, { ...row, takes: flag, otherwise: defaultText(row) }]],
  ),
]);

export interface Parsed {
  readonly file: string | null;
  readonly help: boolean;
  readonly ckptPath: string | null;
  readonly seed: number | null;
  /** Options of the Trainer, by name. */
  readonly trainer: Readonly<Record<string, FlagValue>>;
}

/**
 * Reads `FILE --name value --name=value --name`, in any order; the last of a name counts.
 * @throws {CommandError} `ERR_FLAG` for an unknown flag, `ERR_FLAG_VALUE` for a value of another type, `ERR_ARGUMENTS`
 * for a second file.
 */
export function parseFlags(command: string, args: readonly string[]): Parsed {
  let file: string | null = null;
  let help = false;
  const values: Record<string, FlagValue> = {};
  const rest = [...args];
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    if (arg === "--help" || arg === "-h") {
      help = true;
    } else if (arg.startsWith("-")) {
      const [name, text] = split(arg);
      const known = FLAGS.get(name);
      if (known === undefined) throw unknown(command, arg.split("=")[0] ?? arg, name);
      const value = text ?? takeValue(known, rest);
      if (value === null)
        throw new CommandError(
          "ERR_FLAG_VALUE",
          `nbit ${command}: expected a value after --${name} (${known.values ?? known.summary}). Received: ${rest[0] ?? "the end of the line"}.`,
        );
      values[name] = typeof value === "boolean" ? value : parseValue(command, name, known, value);
    } else if (file === null) {
      file = arg;
    } else {
      throw new CommandError("ERR_ARGUMENTS", `nbit ${command}: expected one file. Received: ${file} and ${arg}.`);
    }
  }
  const { ckptPath = null, seed = null, ...trainer } = values;
  if (seed !== null && !(typeof seed === "number" && Number.isInteger(seed) && seed >= 0))
    throw new CommandError(
      "ERR_FLAG_VALUE",
      `nbit ${command}: expected --seed to be a whole number ≥ 0. Received: ${String(seed)}.`,
    );
  return { file, help, ckptPath: ckptPath === null ? null : String(ckptPath), seed, trainer };
}

function split(arg: string): [name: string, value: string | null] {
  const equals = arg.indexOf("=");
  const name = arg.replace(/^--?/, "");
  return equals === -1 ? [name, null] : [name.slice(0, name.indexOf("=")), arg.slice(equals + 1)];
}

/** The next argument, unless it is a flag itself; a switch alone is true. Null: there is none. */
function takeValue(known: Flag, rest: string[]): string | true | null {
  const next = rest[0];
  const isValue = next !== undefined && (!next.startsWith("-") || /^-\d/.test(next));
  if (!known.takes.includes("switch")) return isValue ? (rest.shift() ?? null) : null;
  // A switch may stand before the file: only what it can be is its value.
  const fits =
    isValue &&
    (next === "true" ||
      next === "false" ||
      (known.takes.includes("number") && isNumber(next)) ||
      (known.takes.includes("text") && !/[./\\]/.test(next)));
  return fits ? (rest.shift() ?? true) : true;
}

const isNumber = (text: string): boolean => /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text);

function parseValue(command: string, name: string, { takes }: Flag, text: string): FlagValue {
  for (const kind of takes) {
    if (kind === "null" && text === "null") return null;
    if (kind === "switch" && (text === "true" || text === "false")) return text === "true";
    if (kind === "number" && isNumber(text)) return Number(text);
  }
  if (takes.includes("text") && text !== "") return text;
  const names: Readonly<Record<FlagKind, string>> = {
    text: "text",
    number: "a number",
    switch: "true or false",
    null: "null",
  };
  throw new CommandError(
    "ERR_FLAG_VALUE",
    `nbit ${command}: expected --${name} to be ${takes.map((kind) => names[kind]).join(", or ")}. Received: ${JSON.stringify(text)}.`,
  );
}

function unknown(command: string, received: string, name: string): CommandError {
  const near = nearest(name, FLAGS.keys());
  return new CommandError(
    "ERR_FLAG",
    `nbit ${command}: expected ${near === null ? "a flag that it knows" : `--${near}`}. Received: ${received}. \`nbit ${command} --help\` lists them.`,
  );
}

/** One line per flag. */
export function flagLines(): string[] {
  return [...FLAGS].map(
    ([name, { summary, values, otherwise }]) =>
      `  --${name.padEnd(24)}${summary}${values === undefined ? "" : ` (${values})`}${otherwise === undefined ? "" : `; default: ${otherwise}`}`,
  );
}
