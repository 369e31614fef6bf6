/** Masks of attention: true, or a number that is added, where a position is not to be seen. */
import { ArgumentError } from "../../errors.js";
import { byDefault, orNull, whole } from "../../kinds.js";
import { full, zerosLike } from "../../ops/index.js";
import type { OptionNames } from "../../options.js";
import { isRecording } from "../../program/recorded-step.js";
import { signature, type Call } from "../../signature.js";
import type { DeviceLike } from "../../tensor/device.js";
import type { DType } from "../../tensor/dtype.js";
import { deviceKind, dtypeKind } from "../../tensor/kinds.js";
import type { Tensor } from "../../tensor/tensor.js";

/**
 * A mask as numbers to add: true becomes -∞, false 0; numbers stay.
 * @throws {ArgumentError} for a mask that is neither bool nor in floating point.
 */
export function additiveMask(fn: string, name: string, mask: Tensor | null, dtype: DType): Tensor | null {
  if (mask === null || mask.isFloatingPoint()) return mask;
  if (mask.dtype !== "bool") throw new ArgumentError(fn, `${name} to be bool or in floating point`, mask);
  return zerosLike(mask, { dtype }).maskedFill(mask, -Infinity);
}

export interface SubsequentMaskArguments {
  readonly sz: number;
  readonly device?: DeviceLike | null;
  readonly dtype?: DType | null;
}
const read = signature("generateSquareSubsequentMask", {
  sz: whole("[0, ∞)"),
  device: byDefault(null, orNull(deviceKind)),
  dtype: byDefault(null, orNull(dtypeKind)),
} satisfies OptionNames<SubsequentMaskArguments>);

/** `[sz, sz]` with -∞ above the diagonal and 0 elsewhere: a position sees itself and those before it. */
export function generateSquareSubsequentMask(
  ...given: Call<
    SubsequentMaskArguments,
    ["sz", "device", "dtype"],
    [sz: number, device?: DeviceLike | null, dtype?: DType | null]
  >
): Tensor {
  const { sz, device, dtype } = read(given);
  return full([sz, sz], -Infinity, { device, dtype }).triu(1);
}

/**
 * Whether a mask is the causal one. Given as `isCausal`, that counts; else the mask is looked at, which waits for its
 * device, and not while a step is recorded: the mask itself hides the same positions.
 */
export function isCausalMask(mask: Tensor | null, isCausal: boolean | null, size: number): boolean {
  if (isCausal !== null || mask === null) return isCausal === true;
  if (isRecording()) return false;
  if (mask.ndim !== 2 || mask.size(0) !== size || mask.size(1) !== size) return false;
  return (
    mask
      .eq(generateSquareSubsequentMask(size, mask.device, mask.dtype))
      .all()
      .item() === 1
  );
}
