/** As in torch.cuda.amp: mixed precision with the GPU as the device. */
import { autocast as autocastOn } from "../amp/autocast.js";
import { GradScaler as Scaler } from "../amp/grad-scaler.js";
import type { GradScalerOptions } from "../amp/scaler-state.js";
import { ArgumentError } from "../errors.js";
import { byDefault, flag } from "../kinds.js";
import { signature, type Call } from "../signature.js";
import type { DType } from "../tensor/dtype.js";
import { dtypeKind } from "../tensor/kinds.js";

export interface CudaAutocastOptions {
  /** Default true. */
  readonly enabled?: boolean;
  /** Default float16. */
  readonly dtype?: DType;
  /** Default true. */
  readonly cacheEnabled?: boolean;
}
const read = signature("cuda.amp.autocast", {
  enabled: byDefault(true, flag),
  dtype: byDefault("float16", dtypeKind),
  cacheEnabled: byDefault(true, flag),
});
/**
 * `autocast("cuda", …)`.
 * @example const loss = cuda.amp.autocast(() => lossOf(model.forward(x)));
 */
export function autocast<T>(fn: () => T): T;
export function autocast<T>(options: CudaAutocastOptions, fn: () => T): T;
export function autocast<T>(enabled: boolean, fn: () => T): T;
export function autocast<T>(enabled: boolean, dtype: DType, fn: () => T): T;
export function autocast<T>(enabled: boolean, dtype: DType, cacheEnabled: boolean, fn: () => T): T;
export function autocast<T>(...given: readonly unknown[]): T {
  const fn = given[given.length - 1];
  const { enabled, dtype, cacheEnabled } = read(typeof fn === "function" ? given.slice(0, -1) : given);
  if (typeof fn !== "function")
    throw new ArgumentError("cuda.amp.autocast", "a function to run: autocast(options, () => …)", fn);
  return autocastOn({ deviceType: "cuda", enabled, dtype, cacheEnabled }, fn as () => T);
}

export type CudaGradScalerCall = Call<
  Omit<GradScalerOptions, "device">,
  ["initScale", "growthFactor", "backoffFactor", "growthInterval", "enabled"],
  [initScale?: number, growthFactor?: number, backoffFactor?: number, growthInterval?: number, enabled?: boolean]
>;
/** `GradScaler("cuda", …)`. */
export class GradScaler extends Scaler {
  constructor(...given: CudaGradScalerCall) {
    super("cuda", ...given);
  }
}
export { customBwd, customFwd } from "../amp/custom.js";
