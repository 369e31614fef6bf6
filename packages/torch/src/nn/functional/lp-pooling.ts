/** The p-norm of each window. */
import { byDefault, orNull } from "../../kinds.js";
import * as ops from "../../ops/index.js";
import { signature, type Call } from "../../signature.js";
import type { Tensor } from "../../tensor/tensor.js";
import { expand, STEP, type Size } from "../sizes.js";
import { anyNumber, input, off, type InputArguments } from "./rows.js";

export interface LPPoolArguments extends InputArguments {
  /** p; ∞ is the largest magnitude, -∞ the smallest. */
  readonly normType: number;
  readonly kernelSize: Size;
  /** Default null: the kernel size. */
  readonly stride?: Size | null;
  /** Where the last window stands over the edge, take it too. Default false. */
  readonly ceilMode?: boolean;
}
type LPPool = (
  ...given: Call<
    LPPoolArguments,
    ["input", "normType", "kernelSize", "stride", "ceilMode"],
    [input: Tensor, normType: number, kernelSize: Size, stride?: Size | null, ceilMode?: boolean]
  >
) => Tensor;
const ROWS = { input, normType: anyNumber, kernelSize: STEP, stride: byDefault(null, orNull(STEP)), ceilMode: off };
const AVG = { 1: ops.avgPool1d, 2: ops.avgPool2d, 3: ops.avgPool3d } as const;
const MAX = { 1: ops.maxPool1d, 2: ops.maxPool2d, 3: ops.maxPool3d } as const;

function lpPool(rank: 1 | 2 | 3): LPPool {
  const name = `lpPool${rank}d`;
  const read = signature(name, ROWS);
  return (...given) => {
    const { input, normType, kernelSize, stride, ceilMode } = read(given);
    const kernel = expand(name, "kernelSize", kernelSize, rank);
    const steps = stride === null ? kernel : expand(name, "stride", stride, rank);
    if (normType === Infinity) return MAX[rank](input.abs(), kernel, steps, 0, 1, ceilMode);
    if (normType === -Infinity) return MAX[rank](input.abs().neg(), kernel, steps, 0, 1, ceilMode).neg();
    const means = AVG[rank](input.pow(normType), kernel, steps, 0, ceilMode);
    const count = kernel.reduce((a, b) => a * b, 1);
    // PyTorch's steps, for its bits: sign and magnitude apart, so that roots are taken of what is not negative.
    return ops
      .sign(means)
      .mul(ops.relu(means.abs()))
      .mul(count)
      .pow(1 / normType);
  };
}
/** (Σ xᵖ)^(1/p) over each window of `[N, C, L]` or `[C, L]`. */
export const lpPool1d = lpPool(1);
/** (Σ xᵖ)^(1/p) over each window of `[N, C, H, W]` or `[C, H, W]`. */
export const lpPool2d = lpPool(2);
/** (Σ xᵖ)^(1/p) over each window of `[N, C, D, H, W]` or `[C, D, H, W]`. */
export const lpPool3d = lpPool(3);
