import { MisconfigurationError } from "../errors.js";
import { AdvancedProfiler } from "./advanced.js";
import { PassThroughProfiler, Profiler } from "./profiler.js";
import { PyTorchProfiler } from "./pytorch.js";
import { SimpleProfiler } from "./simple.js";

const BY_NAME: Readonly<Record<string, () => Profiler>> = {
  simple: () => new SimpleProfiler(),
  advanced: () => new AdvancedProfiler(),
  pytorch: () => new PyTorchProfiler(),
};

/** The Trainer's option: a name, a profiler, or none. */
export function configureProfiler(given: unknown): Profiler {
  if (given === null || given === undefined) return new PassThroughProfiler();
  if (given instanceof Profiler) return given;
  const make = typeof given === "string" && Object.hasOwn(BY_NAME, given) ? BY_NAME[given] : undefined;
  if (make !== undefined) return make();
  throw new MisconfigurationError(
    "Trainer",
    `profiler to be one of ${Object.keys(BY_NAME).join(", ")}, a Profiler, or null`,
    given,
    given === "xla" ? "Steps on XLA are programs: xla.XlaExecutable.analyse says what is in one." : undefined,
    "ERR_PROFILER",
  );
}
