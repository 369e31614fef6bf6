/** Settings of the whole process, and what stands for compilation. */
import { getSwitch, setSwitch } from "./backend.js";
import { NbitError, ArgumentError } from "./errors.js";
import { flag, orNull, record, text } from "./kinds.js";
import { native } from "./native.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "./options.js";
import { defaultGenerator, manualSeed } from "./random.js";

/** Whether operators without a deterministic algorithm throw, or warn. */
export function areDeterministicAlgorithmsEnabled(): boolean {
  atMost("areDeterministicAlgorithmsEnabled", arguments, 0);
  return getSwitch("deterministicAlgorithms");
}
/** Whether they only warn. */
export function isDeterministicAlgorithmsWarnOnlyEnabled(): boolean {
  atMost("isDeterministicAlgorithmsWarnOnlyEnabled", arguments, 0);
  return getSwitch("deterministicWarnOnly");
}
/** Compute with 0 for numbers too small to be normal, which some CPUs are slow at. @returns Whether this CPU can. */
export function setFlushDenormal(mode: boolean): boolean {
  atMost("setFlushDenormal", arguments, 1);
  checkArguments("setFlushDenormal", { mode }, { mode: flag });
  try {
    setSwitch("flushDenormal", mode);
    return true;
  } catch (error) {
    if (error instanceof NbitError && error.code === "NBIT_UNSUPPORTED") return false;
    throw error;
  }
}
/** Threads for operators that run side by side. */
export function getNumInteropThreads(): number {
  atMost("getNumInteropThreads", arguments, 0);
  return native.getInteropThreads();
}
/** Once, before anything ran side by side. @throws {TorchError} later. */
export function setNumInteropThreads(n: number): void {
  atMost("setNumInteropThreads", arguments, 1);
  if (!Number.isInteger(n) || n < 1) throw new ArgumentError("setNumInteropThreads", "n to be a whole number ≥ 1", n);
  native.setInteropThreads(n);
}
/** Seed the generators of all devices with a number drawn from the system. @returns That number. */
export function seed(): bigint {
  atMost("seed", arguments, 0);
  const drawn = defaultGenerator.seed();
  manualSeed(drawn);
  return drawn;
}

export interface CompileOptions {
  readonly fullgraph?: boolean;
  readonly dynamic?: boolean | null;
  readonly backend?: string;
  readonly mode?: string | null;
  readonly options?: object | null;
  readonly disable?: boolean;
}
const COMPILE: OptionNames<CompileOptions> = {
  fullgraph: flag,
  dynamic: orNull(flag),
  backend: text,
  mode: orNull(text),
  options: orNull(record),
  disable: flag,
};
/**
 * Returns what it is given: a model, or a function. PyTorch compiles Python's bytecode, which is not here. What makes
 * steps fast instead needs no mark on the model: the Trainer records a step and replays it, and `XLAStrategy` compiles
 * it. Options are looked at, and have no effect.
 *
 * @example const model = compile(new GPT(config));
 */
export function compile<T extends object>(model: T, options?: CompileOptions): T;
/** Without a model: what takes it. */
export function compile(model: null, options?: CompileOptions): <T extends object>(model: T) => T;
export function compile(model: object | null, options: CompileOptions = {}): unknown {
  atMost("compile", arguments, 2);
  checkOptions("compile", options, COMPILE);
  if (model === null) return <T>(later: T): T => later;
  if ((typeof model !== "object" && typeof model !== "function") || Array.isArray(model))
    throw new ArgumentError("compile", "a model or a function", model);
  return model;
}
