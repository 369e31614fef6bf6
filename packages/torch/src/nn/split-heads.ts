/** Queries, keys and values of attention out of one matrix product, with their gradients back into one. */
import { AutogradFunction, isGradEnabled, type FunctionContext } from "../autograd/index.js";
import { ArgumentError } from "../errors.js";
import { oneOf } from "../kinds.js";
import { cat } from "../ops/index.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../options.js";
import { tensorKind } from "../tensor/kinds.js";
import type { Tensor } from "../tensor/tensor.js";
import { kernel, KERNEL_DTYPES, kernels, positive } from "./kernels.js";

export interface SplitHeadsOptions {
  /**
   * "kernel": the fused operator in backward, on the CPU too. "reference": plain operators. "auto" (default): the kernel
   * on CUDA.
   */
  readonly path?: "auto" | "kernel" | "reference";
}
const NAMES: OptionNames<SplitHeadsOptions> = { path: oneOf("auto", "kernel", "reference") };

/** Queries, keys and values, `[B, heads, T, depth]` each. */
export type Heads = readonly [queries: Tensor, keys: Tensor, values: Tensor];

function views(packed: Tensor, heads: number): [Tensor, Tensor, Tensor] {
  const [b, t, width] = packed.shape as readonly [number, number, number];
  return packed.split(width / 3, 2).map((part) => part.view([b, t, heads, width / 3 / heads]).transpose(1, 2)) as [
    Tensor,
    Tensor,
    Tensor,
  ];
}

class SplitHeads extends AutogradFunction {
  static forward(ctx: FunctionContext, packed: Tensor, heads: number): [Tensor, Tensor, Tensor] {
    // The bias of the linear layer before it wants the sum of the gradient's columns, which backward has in hand.
    ctx.values["keepSums"] = Number(kernels["takes_column_sums"]?.(packed)) === 1;
    return views(packed, heads);
  }
  static backward(ctx: FunctionContext, ...grads: Tensor[]): (Tensor | null)[] {
    const [q, k, v] = grads as [Tensor, Tensor, Tensor];
    if (!isGradEnabled())
      return [kernel("splitHeads", "join_heads")(q, k, v, ctx.values["keepSums"] === true) as Tensor, null];
    const [b, h, t, depth] = q.shape as readonly [number, number, number, number];
    return [
      cat(
        [q, k, v].map((g) => g.transpose(1, 2).reshape([b, t, h * depth])),
        2,
      ),
      null,
    ];
  }
}

/**
 * What attention reads, as views of one matrix product: `[B, T, 3 · heads · depth]` → queries, keys and values of `[B,
 * heads, T, depth]`.
 *
 * As `packed.split(…).map((p) => p.view(…).transpose(1, 2))`, whose backward concatenates three gradients and then reads
 * the result again for the bias of the linear layer before it. Here one kernel on a GPU does both; the bias's gradient is
 * summed in float32.
 *
 * @param packed - `[B, T, C]` floating point, contiguous, C divisible by `3 · heads`.
 * @param heads - ≥ 1.
 * @returns Three views. Does not synchronize; may be captured in a CUDA graph. Differentiable twice.
 * @throws {ArgumentError} `splitHeads: expected packed to be [B, T, C] with C divisible by 36. Received: …`
 * @example const [q, k, v] = nn.functional.splitHeads(attn.forward(x), 12);
 */
export function splitHeads(packed: Tensor, heads: number, options: SplitHeadsOptions = {}): Heads {
  atMost("splitHeads", arguments, 3);
  checkOptions("splitHeads", options, NAMES);
  checkArguments("splitHeads", { packed, heads }, { packed: tensorKind, heads: positive });
  if (packed.ndim !== 3 || packed.size(2) % (3 * heads) !== 0 || packed.size(2) === 0 || !packed.isFloatingPoint())
    throw new ArgumentError("splitHeads", `packed to be [B, T, C] with C divisible by ${3 * heads}`, packed);
  const { path = "auto" } = options;
  const allowed = kernels["join_heads"] !== undefined && KERNEL_DTYPES.includes(packed.dtype) && packed.isContiguous();
  if (path === "reference" || !allowed || (path === "auto" && packed.device.type !== "cuda"))
    return views(packed, heads);
  return SplitHeads.apply(packed, heads);
}
