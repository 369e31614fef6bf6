/** Autocast: each operator in the dtype that suits it. */
import { byDefault, callable, flag, orNull, text } from "../kinds.js";
import { signature } from "../signature.js";
import { dtypeKind } from "../tensor/kinds.js";
import {
  autocastClearCache,
  autocastDecrementNesting,
  autocastIncrementNesting,
  autocastState,
  setAutocast,
  type AutocastState,
} from "../backend.js";
import { ArgumentError } from "../errors.js";
import { addForwardRegion } from "../forward-regions.js";
import { atMost, checkArguments } from "../options.js";
import type { DType } from "../tensor/dtype.js";
import { isPromise, refusePromise } from "../synchronous.js";

export interface AutocastOptions {
  /** Type of the device whose operators are concerned. Default "cpu". */
  readonly deviceType?: string;
  /** Default: bfloat16 on CPU, float16 on CUDA. */
  readonly dtype?: DType;
  /** false: a region in which operators run in their inputs' dtypes. Default true. */
  readonly enabled?: boolean;
  /** Keep casts of parameters for the region, so that a weight used twice is cast once. Default: as around. */
  readonly cacheEnabled?: boolean;
}
const read = signature("autocast", {
  deviceType: byDefault("cpu", text),
  dtype: byDefault(null, orNull(dtypeKind)),
  enabled: byDefault(true, flag),
  cacheEnabled: byDefault(null, orNull(flag)),
});
let observer: ((options: AutocastOptions) => void) | null = null;

/**
 * Tell `watch` of every region that `fn` opens, as it opens. For tools that look for regions which a program opens by
 * itself.
 */
export function observeAutocast<T>(watch: (options: AutocastOptions) => void, fn: () => T): T {
  atMost("observeAutocast", arguments, 2);
  checkArguments("observeAutocast", { watch, fn }, { watch: callable, fn: callable });
  const before = observer;
  observer = watch;
  try {
    return fn();
  } finally {
    observer = before;
  }
}

/**
 * Run `fn` with autocast: matrix operators in `dtype`, sensitive ones in float32, the rest as their inputs are. Only
 * forward belongs inside; backward follows by itself.
 *
 * Regions nest. State is restored and, when the outermost region or a dtype ends, cached casts are dropped, also after
 * an exception: two nested regions of different dtype never share a cast (PyTorch's do).
 *
 * @throws {ArgumentError} `autocast: expected dtype to be float16 or bfloat16. Received: "float32".`
 * @throws {NbitError} `AUTOCAST_ASYNC` when `fn` returns a promise: code after an await would run outside the region.
 * @example autocast("cpu", { dtype: "bfloat16" }, () => a.mm(b)).dtype; // "bfloat16"
 */
export function autocast<T>(options: AutocastOptions, fn: () => T): T;
export function autocast<T>(deviceType: string, fn: () => T): T;
export function autocast<T>(deviceType: string, options: Omit<AutocastOptions, "deviceType">, fn: () => T): T;
export function autocast<T>(deviceType: string, dtype: DType | null, fn: () => T): T;
export function autocast<T>(deviceType: string, dtype: DType | null, enabled: boolean, fn: () => T): T;
export function autocast<T>(
  deviceType: string,
  dtype: DType | null,
  enabled: boolean,
  cacheEnabled: boolean | null,
  fn: () => T,
): T;
export function autocast<T>(...given: readonly unknown[]): T {
  const fn = given[given.length - 1];
  const a = read(typeof fn === "function" ? given.slice(0, -1) : given);
  if (typeof fn !== "function")
    throw new ArgumentError("autocast", "a function to run: autocast(options, () => …)", fn);
  const options: AutocastOptions = {
    deviceType: a.deviceType,
    ...(a.dtype === null ? {} : { dtype: a.dtype }),
    enabled: a.enabled,
    ...(a.cacheEnabled === null ? {} : { cacheEnabled: a.cacheEnabled }),
  };
  if (observer !== null) observer(options);
  const type = options.deviceType ?? "cpu";
  const before = autocastState(type);
  const enabled = options.enabled ?? true;
  const dtype = options.dtype ?? before.dtype;
  if (enabled && dtype !== "float16" && dtype !== "bfloat16")
    throw new ArgumentError(
      "autocast",
      "dtype to be float16 or bfloat16",
      dtype,
      "float32 needs no autocast: pass { enabled: false }.",
    );
  return region<T>(type, { enabled, dtype, cacheEnabled: options.cacheEnabled ?? before.cacheEnabled }, fn as () => T);
}

function region<T>(type: string, state: AutocastState, fn: () => T): T {
  const before = autocastState(type);
  const changed = before.dtype !== state.dtype || before.enabled !== state.enabled;
  if (changed && before.enabled) autocastClearCache();
  setAutocast(type, state);
  autocastIncrementNesting();
  try {
    const result = fn();
    if (isPromise(result))
      refusePromise(
        result,
        "autocast: expected a synchronous function. Received: a function that returns a promise, whose code after an await would run outside the region. Open the region inside the asynchronous function, around its synchronous parts.",
        "AUTOCAST_ASYNC",
      );
    return result;
  } finally {
    const depth = autocastDecrementNesting();
    if (depth === 0 || changed) autocastClearCache();
    setAutocast(type, before);
  }
}

for (const type of ["cpu", "cuda"])
  addForwardRegion(() => {
    const state = autocastState(type);
    return (fn) => (!state.enabled && !autocastState(type).enabled ? fn() : region(type, state, fn));
  });

export function isAutocastEnabled(deviceType = "cpu"): boolean {
  atMost("isAutocastEnabled", arguments, 1);
  return autocastState(deviceType).enabled;
}
/** The dtype that a region has, or would have by default. */
export function getAutocastDtype(deviceType = "cpu"): DType {
  atMost("getAutocastDtype", arguments, 1);
  return autocastState(deviceType).dtype;
}
/** Whether a device type has autocast. */
export function isAutocastAvailable(deviceType: string): boolean {
  atMost("isAutocastAvailable", arguments, 1);
  checkArguments("isAutocastAvailable", { deviceType }, { deviceType: text });
  return deviceType === "cpu" || deviceType === "cuda";
}
