/** Operators as marks in the traces of other tools. */
import * as cuda from "../cuda/index.js";
import { NbitError } from "../errors.js";
import { callable, flag } from "../kinds.js";
import { native } from "../native.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../options.js";
import { isPromise } from "../synchronous.js";
import { endAtExit } from "./at-exit.js";
import { ACTIVITY_BITS } from "./options.js";

export interface EmitOptions {
  /** False: only run the function. Default true. */
  readonly enabled?: boolean;
  /** Shapes of the arguments in the names of the marks. Default false. */
  readonly recordShapes?: boolean;
}
const NAMES: OptionNames<EmitOptions> = { enabled: flag, recordShapes: flag };

/**
 * Every operator that `fn` runs is a range for NVIDIA's Nsight Systems (NVTX): `nsys profile node train.js`.
 * @throws {NbitError} `PROFILER_NO_CUDA` where there is no GPU.
 */
export function emitNvtx<T>(fn: () => T, options: EmitOptions = {}): T {
  atMost("emitNvtx", arguments, 2);
  checkOptions("emitNvtx", options, NAMES);
  checkArguments("emitNvtx", { fn }, { fn: callable });
  if (options.enabled !== false && !cuda.isAvailable())
    throw new NbitError(
      "emitNvtx: expected a GPU of NVIDIA's, whose tools read these marks. Received: none. Use profile() for the CPU.",
      "PROFILER_NO_CUDA",
    );
  return emitting(8, fn, options);
}
/** The same for Intel's VTune (ITT). */
export function emitItt<T>(fn: () => T, options: EmitOptions = {}): T {
  atMost("emitItt", arguments, 2);
  checkOptions("emitItt", options, NAMES);
  checkArguments("emitItt", { fn }, { fn: callable });
  return emitting(16, fn, options);
}

function emitting<T>(kind: number, fn: () => T, { enabled = true, recordShapes = false }: EmitOptions): T {
  if (!enabled) return fn();
  native.profilerPrepare(ACTIVITY_BITS.cpu, kind | (recordShapes ? 1 : 0));
  const release = endAtExit();
  const end = (): void => {
    native.profilerStop();
    native.profilerForget();
    release();
  };
  let waits = false;
  try {
    native.profilerStart();
    const result = fn();
    waits = isPromise(result);
    return waits ? (Promise.resolve(result).finally(end) as T) : result;
  } finally {
    if (!waits) end();
  }
}
