/**
 * Losses whose targets are class indices: JavaScript has one kind of number, so classes may come as floats that are
 * whole.
 */
import { ArgumentError } from "../errors.js";
import * as generated from "../generated/functions.js";
import { isFloatingPoint, type DType } from "../tensor/dtype.js";
import { handleOrZero, isTensor } from "../tensor/handle.js";
import { scope } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";

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

type Rest<F extends (...args: never[]) => unknown> = F extends (a: Tensor, b: Tensor, ...rest: infer R) => unknown
  ? R
  : never;

export const crossEntropyLoss: typeof generated.crossEntropyLoss = (
  self,
  target,
  ...rest: Rest<typeof generated.crossEntropyLoss>
) => generated.crossEntropyLoss(self, classesOrProbabilities("crossEntropyLoss", self, target), ...rest);
export const nllLoss: typeof generated.nllLoss = (self, target, ...rest: Rest<typeof generated.nllLoss>) =>
  generated.nllLoss(self, classIndices("nllLoss", "target", target), ...rest);
export const nllLoss2d: typeof generated.nllLoss2d = (self, target, ...rest: Rest<typeof generated.nllLoss2d>) =>
  generated.nllLoss2d(self, classIndices("nllLoss2d", "target", target), ...rest);
export const nllLossNd: typeof generated.nllLossNd = (self, target, ...rest: Rest<typeof generated.nllLossNd>) =>
  generated.nllLossNd(self, classIndices("nllLossNd", "target", target), ...rest);
export const multiMarginLoss: typeof generated.multiMarginLoss = (
  self,
  target,
  ...rest: Rest<typeof generated.multiMarginLoss>
) => generated.multiMarginLoss(self, classIndices("multiMarginLoss", "target", target), ...rest);
export const multilabelMarginLoss: typeof generated.multilabelMarginLoss = (
  self,
  target,
  ...rest: Rest<typeof generated.multilabelMarginLoss>
) => generated.multilabelMarginLoss(self, classIndices("multilabelMarginLoss", "target", target), ...rest);

type CtcRest = Rest<
  (
    logProbs: Tensor,
    targets: Tensor,
    ...rest: Parameters<typeof generated.ctcLoss> extends [unknown, unknown, unknown, unknown, ...infer R] ? R : never
  ) => Tensor
>;
type Lengths = Tensor & readonly number[];
/** Lengths in a tensor may come as floats too. */
export const ctcLoss: typeof generated.ctcLoss = (
  logProbs: Tensor,
  targets: Tensor,
  inputLengths: Tensor | readonly (number | bigint)[],
  targetLengths: Tensor | readonly (number | bigint)[],
  ...rest: CtcRest
) => {
  const lengths = (name: string, given: Tensor | readonly (number | bigint)[]): Lengths =>
    (isTensor(given) ? classIndices("ctcLoss", name, given) : given) as Lengths;
  return generated.ctcLoss(
    logProbs,
    classIndices("ctcLoss", "targets", targets),
    lengths("inputLengths", inputLengths),
    lengths("targetLengths", targetLengths),
    ...rest,
  );
};
