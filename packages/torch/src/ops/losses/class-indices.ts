/** Targets that are class indices: JavaScript has one kind of number, so classes may come as floats that are whole. */
import { ArgumentError } from "../../errors.js";
import { isFloatingPoint, type DType } from "../../tensor/dtype.js";
import { handleOrZero, isTensor } from "../../tensor/handle.js";
import { scope } from "../../tensor/scope.js";
import type { Tensor } from "../../tensor/tensor.js";

const LARGEST = 2 ** 53;

/**
 * @internal Class indices as int64. Floats must be whole numbers: to look at them waits for the device, which int64
 * targets do not.
 * @throws {ArgumentError} `crossEntropy: expected target to be class indices: int64, or whole numbers. Received: Tensor
 * float32 [3] cpu. …`
 */
export function classIndices(fn: string, name: string, target: Tensor): Tensor {
  if (!isTensor(target) || handleOrZero(target) === 0) return target; // the operator says what is wrong
  return indicesOf(fn, name, target, target.dtype);
}
function indicesOf(fn: string, name: string, target: Tensor, dtype: DType): Tensor {
  if (dtype === "int64" || dtype === "bool") return target;
  if (isFloatingPoint(dtype) && target.device.type !== "meta") {
    const areWhole = scope(() => {
      const values = target.detach().to("float64");
      return values.eq(values.trunc()).logicalAnd(values.abs().lt(LARGEST)).all().item() === 1;
    });
    if (!areWhole)
      throw new ArgumentError(
        fn,
        `${name} to be class indices: int64, or whole numbers`,
        target,
        "One of its elements is no whole number.",
      );
  }
  return target.to("int64");
}

/**
 * @internal Targets of cross entropy: class indices, or a probability per class, of floats in the logits' shape, as
 * they are. Its dtype is asked for once.
 */
export function classesOrProbabilities(fn: string, logits: Tensor, target: Tensor): Tensor {
  if (!isTensor(target) || handleOrZero(target) === 0) return target; // the operator says what is wrong
  const { dtype } = target;
  if (dtype === "int64") return target;
  if (
    isFloatingPoint(dtype) &&
    isTensor(logits) &&
    handleOrZero(logits) !== 0 &&
    String(target.shape) === String(logits.shape)
  )
    return target;
  return indicesOf(fn, "target", target, dtype);
}
