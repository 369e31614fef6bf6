/** A linear layer as three float8 products. */
import { AutogradFunction, isGradEnabled, NbitError, type DType, type FunctionContext, type Tensor } from "@nbit/torch";
import type { Float8Matrix, Wanted } from "./cast.js";
import { scaledMm } from "./matmul.js";
import type { Float8Recipe } from "./recipes.js";

/** What the function asks of its layer: codes of each matrix, by the layer's recipe and with its history. */
export interface Float8Caster {
  readonly recipe: Float8Recipe;
  /** The weight's codes are gathered for forward, and once more for backward. */
  readonly gathersWeight: boolean;
  castInput(x: Tensor, wanted: Wanted): Float8Matrix;
  castWeight(wanted: Wanted): Float8Matrix;
  castGradient(g: Tensor, wanted: Wanted): Float8Matrix;
}

function factor(codes: Tensor | null, inverse: Tensor | null): { readonly codes: Tensor; readonly inverse: Tensor } {
  if (codes === null || inverse === null)
    throw new NbitError("Float8Linear: expected codes that were asked for. Received: none.", "ERR_INTERNAL");
  return { codes, inverse };
}

/**
 * y = x Wᵀ + b with x `[M, K]`, W `[N, K]`: output, input gradient `g W` and weight gradient `gᵀ x`. M, N, K multiples
 * of 16.
 *
 * Backward keeps float8 codes (a byte per element), not x and W themselves; with an exact weight gradient it keeps x.
 */
export class Float8LinearFunction extends AutogradFunction {
  static forward(
    ctx: FunctionContext,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | null,
    layer: Float8Caster,
    records: boolean,
  ): Tensor {
    const [forInput = false, forWeight = false] = ctx.needsInputGrad;
    const exact = layer.recipe.exactWeightGradient;
    const xs = layer.castInput(x, { rows: true, columns: records && forWeight && !exact });
    const ws = layer.castWeight({ rows: true, columns: records && forInput && !layer.gathersWeight });
    const y = scaledMm(
      factor(xs.rows, xs.rowInverse),
      factor(ws.rows, ws.rowInverse),
      bias === null ? null : bias.to(x.dtype),
      x.dtype,
      true,
    );
    ctx.values["layer"] = layer;
    ctx.values["input"] = x.dtype;
    ctx.values["weight"] = weight.dtype;
    ctx.values["bias"] = bias === null ? null : bias.dtype;
    if (records)
      ctx.saveForBackward(
        xs.columns,
        xs.columns === null ? null : xs.columnInverse,
        ws.columns,
        ws.columns === null ? null : ws.columnInverse,
        exact && forWeight ? x : null,
      );
    return y;
  }

  static backward(ctx: FunctionContext, gradient: Tensor): (Tensor | null)[] {
    if (isGradEnabled())
      throw new NbitError(
        "Float8Linear: expected a first derivative. Received: backward with createGraph: true. Float8 products have no derivative of their own; use nn.Linear where you need a second one.",
        "FLOAT8_DOUBLE_BACKWARD",
      );
    const layer = ctx.values["layer"] as Float8Caster;
    const [forInput = false, forWeight = false, forBias = false] = ctx.needsInputGrad;
    const [x, xInverse, saved, savedInverse, exactX] = ctx.savedTensors as readonly [
      Tensor | null,
      Tensor | null,
      Tensor | null,
      Tensor | null,
      Tensor | null,
    ];
    const exact = layer.recipe.exactWeightGradient;
    const g = gradient.contiguous();
    const gs = layer.castGradient(g, { rows: forInput, columns: forWeight && !exact });
    const late = forInput && saved === null ? layer.castWeight({ rows: false, columns: true }) : null;
    const [w, wInverse] = late === null ? [saved, savedInverse] : [late.columns, late.columnInverse];
    const inputGradient = forInput
      ? scaledMm(factor(gs.rows, gs.rowInverse), factor(w, wInverse), null, ctx.values["input"] as DType, false)
      : null;
    const weightDtype = ctx.values["weight"] as DType;
    let weightGradient: Tensor | null = null;
    if (forWeight)
      weightGradient =
        exactX !== null
          ? g.t().mm(exactX).to(weightDtype)
          : scaledMm(factor(gs.columns, gs.columnInverse), factor(x, xInverse), null, weightDtype, false);
    const biasGradient = forBias ? g.sum([0]).to(ctx.values["bias"] as DType) : null;
    return [inputGradient, weightGradient, biasGradient];
  }
}
