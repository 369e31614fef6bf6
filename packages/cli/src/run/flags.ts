/** Flags of `nbit fit` and its like: the Trainer's options under their own names. What a value may be is the Trainer's to say; only its type is settled here. */
import type { TrainerOptions } from "@nbit/lightning";
import { nearest } from "@nbit/torch/names";
import { CommandError } from "../errors.js";

export type FlagValue = string | number | boolean | null;
type Kind = "text" | "number" | "flag" | "null";

interface Flag {
  readonly takes: readonly Kind[];
  readonly summary: string;
}
const flag = (takes: readonly Kind[], summary: string): Flag => ({ takes, summary });

/** Every option of the Trainer that a word can express. */
const TRAINER: Readonly<Record<Exclude<keyof TrainerOptions, "callbacks" | "plugins">, Flag>> = {
  accelerator: flag(["text"], "cpu, cuda, auto"),
  devices: flag(["text"], '"1" is a count, "0," a list of indices'),
  strategy: flag(["text"], "auto, single_device"),
  precision: flag(["text"], "32, 64, 16, bf16, 16-true, bf16-true, auto, …"),
  validationPrecision: flag(["text"], "the precision of validation, where it differs"),
  ampBackend: flag(["text"], "native or apex"),
  ampLevel: flag(["text"], "O0 to O3, under apex"),
  maxEpochs: flag(["number"], "-1: no limit"),
  minEpochs: flag(["number"], ""),
  maxSteps: flag(["number"], "optimizer steps; -1: no limit"),
  minSteps: flag(["number"], ""),
  maxTime: flag(["text"], "DD:HH:MM:SS"),
  limitTrainBatches: flag(["number"], "a count, or a share in (0, 1)"),
  limitValBatches: flag(["number"], "likewise"),
  limitTestBatches: flag(["number"], "likewise"),
  limitPredictBatches: flag(["number"], "likewise"),
  valCheckInterval: flag(["number"], "batches, or a share of an epoch, between validations"),
  checkValEveryNEpoch: flag(["number", "null"], ""),
  numSanityValSteps: flag(["number"], "validation batches tried before training; -1: all"),
  accumulateGradBatches: flag(["number"], "batches per optimizer step"),
  gradientClipVal: flag(["number", "null"], ""),
  gradientClipAlgorithm: flag(["text"], "norm or value"),
  onSkippedStep: flag(["text"], "advance or hold the schedulers"),
  cudaGraph: flag(["flag"], "record the step as one CUDA graph"),
  logEveryNSteps: flag(["number"], "0: never"),
  logger: flag(["flag"], "false: no metrics.csv"),
  enableCheckpointing: flag(["flag"], "false: no checkpoints"),
  enableProgressBar: flag(["flag"], ""),
  enableModelSummary: flag(["flag"], ""),
  detectNonFinite: flag(["flag", "text"], "true, false, step or gradients"),
  deterministic: flag(["flag", "text"], "true, false or warn"),
  benchmark: flag(["flag"], "let cuDNN time its algorithms"),
  inferenceMode: flag(["flag"], "false: an evaluation step may differentiate"),
  defaultRootDir: flag(["text"], "where logs and checkpoints go"),
  fastDevRun: flag(["flag", "number"], "try everything on so many batches"),
};
/** What is not the Trainer's. */
const OWN: Readonly<Record<string, Flag>> = {
  ckptPath: flag(["text"], "a checkpoint to use: a path, last or best"),
  seed: flag(["number"], "seeds everything before the file is loaded"),
};
const FLAGS: ReadonlyMap<string, Flag> = new Map([...Object.entries(OWN), ...Object.entries(TRAINER)]);

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
 * @throws {CommandError} `ERR_FLAG` for an unknown flag, `ERR_FLAG_VALUE` for a value of another type, `ERR_ARGUMENTS` for a second file.
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
      if (value === null) throw new CommandError("ERR_FLAG_VALUE", `nbit ${command}: expected a value after --${name}${known.summary === "" ? "" : ` (${known.summary})`}. Received: ${rest[0] ?? "the end of the line"}.`);
      values[name] = typeof value === "boolean" ? value : parseValue(command, name, known, value);
    } else if (file === null) {
      file = arg;
    } else {
      throw new CommandError("ERR_ARGUMENTS", `nbit ${command}: expected one file. Received: ${file} and ${arg}.`);
    }
  }
  const { ckptPath = null, seed = null, ...trainer } = values;
  if (seed !== null && !(typeof seed === "number" && Number.isInteger(seed) && seed >= 0)) throw new CommandError("ERR_FLAG_VALUE", `nbit ${command}: expected --seed to be a whole number ≥ 0. Received: ${String(seed)}.`);
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
  if (!known.takes.includes("flag")) return isValue ? (rest.shift() ?? null) : null;
  // A switch may stand before the file: only what it can be is its value.
  const fits = isValue && (next === "true" || next === "false" || (known.takes.includes("number") && isNumber(next)) || (known.takes.includes("text") && !/[./\\]/.test(next)));
  return fits ? (rest.shift() ?? true) : true;
}

const isNumber = (text: string): boolean => /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text);

function parseValue(command: string, name: string, { takes }: Flag, text: string): FlagValue {
  for (const kind of takes) {
    if (kind === "null" && text === "null") return null;
    if (kind === "flag" && (text === "true" || text === "false")) return text === "true";
    if (kind === "number" && isNumber(text)) return Number(text);
  }
  if (takes.includes("text") && text !== "") return text;
  const names: Readonly<Record<Kind, string>> = { text: "text", number: "a number", flag: "true or false", null: "null" };
  throw new CommandError("ERR_FLAG_VALUE", `nbit ${command}: expected --${name} to be ${takes.map((kind) => names[kind]).join(", or ")}. Received: ${JSON.stringify(text)}.`);
}

function unknown(command: string, received: string, name: string): CommandError {
  const near = nearest(name, FLAGS.keys());
  return new CommandError("ERR_FLAG", `nbit ${command}: expected ${near === null ? "a flag that it knows" : `--${near}`}. Received: ${received}. \`nbit ${command} --help\` lists them.`);
}

/** One line per flag. */
export function flagLines(): string[] {
  return [...FLAGS].map(([name, { summary }]) => `  --${name.padEnd(24)}${summary}`.trimEnd());
}
