/** What the ports of PyTorch programs share: how long they train, where, and in which numbers. */
import { parseArgs } from "node:util";
import { amp, getDefaultDevice, setDefaultDevice } from "@nbit/torch";

/** 32: float32. "bf16" and 16: parameters in float32, matrix products in bfloat16 or float16 (mixed precision). */
export type Precision = 32 | "bf16" | 16;

export interface RunOptions {
  /** Default 32. */
  readonly precision?: Precision;
  /** Optimizer steps. Each program has a default of its own. */
  readonly steps?: number;
  /** Where lines about the run go. Default: nowhere. */
  readonly log?: (line: string) => void;
}

/** The values of every step, by name. */
export type Curves<Name extends string = "loss"> = Readonly<Record<Name, readonly number[]>>;

/**
 * `--precision`, `--steps` and `--accelerator` of the command line; lines go to the terminal. `--accelerator gpu` makes
 * the GPU the default device: what a program makes from there on lies there.
 */
export function runOptions(): RunOptions {
  return runOptionsAnd()[0];
}

/** They, and options of a program's own, by name. */
export function runOptionsAnd(...own: readonly string[]): [run: RunOptions, own: ReadonlyMap<string, string>] {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    options: Object.fromEntries([...own, "accelerator", "precision", "steps"].map((name) => [name, text])),
  });
  const given = new Map(Object.entries(values).map(([name, value]) => [name, String(value)]));
  const steps = given.get("steps");
  const accelerator = given.get("accelerator") ?? "cpu";
  if (accelerator === "gpu") setDefaultDevice("cuda");
  else if (accelerator !== "cpu") throw new Error(`--accelerator: expected cpu or gpu. Received: ${accelerator}.`);
  const run = {
    precision: precisionOf(given.get("precision") ?? "32"),
    ...(steps === undefined ? {} : { steps: Number(steps) }),
    log: console.log,
  };
  return [run, given];
}

function precisionOf(word: string): Precision {
  if (word === "bf16") return word;
  if (word === "16" || word === "32") return word === "16" ? 16 : 32;
  throw new Error(`--precision: expected 32, bf16 or 16. Received: ${word}.`);
}

/** The Trainer's option for the default device. */
export function accelerator(): "cpu" | "gpu" {
  return getDefaultDevice().type === "cuda" ? "gpu" : "cpu";
}

/** The autocast region of a precision, for the operators of the default device. */
export function region(precision: Precision): amp.AutocastOptions {
  const deviceType = getDefaultDevice().type;
  return precision === 32
    ? { deviceType, enabled: false }
    : { deviceType, dtype: precision === 16 ? "float16" : "bfloat16" };
}

/** The loss scaler of a precision, which does nothing but in float16. */
export function gradScaler(precision: Precision): amp.GradScaler {
  return new amp.GradScaler({ device: getDefaultDevice(), enabled: precision === 16 });
}
