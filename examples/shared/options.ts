/** What the ports of PyTorch programs share: how long they train, and in which numbers. */
import { parseArgs } from "node:util";
import type { amp } from "@nbit/torch";

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

/** `--precision` and `--steps` of the command line; lines go to the terminal. */
export function runOptions(): RunOptions {
  return runOptionsAnd()[0];
}

/** They, and options of a program's own, by name. */
export function runOptionsAnd(...own: readonly string[]): [run: RunOptions, own: ReadonlyMap<string, string>] {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    options: Object.fromEntries([...own, "precision", "steps"].map((name) => [name, text])),
  });
  const given = new Map(Object.entries(values).map(([name, value]) => [name, String(value)]));
  const steps = given.get("steps");
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

/** The autocast region of a precision. */
export function region(precision: Precision): amp.AutocastOptions {
  return precision === 32 ? { enabled: false } : { dtype: precision === 16 ? "float16" : "bfloat16" };
}
