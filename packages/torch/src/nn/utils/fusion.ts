/** A batch normalisation in the weights of the layer before it: for evaluation. */
import { noGrad } from "../../autograd/modes.js";
import { ArgumentError } from "../../errors.js";
import { byDefault, flag, instanceOf, orNull, real } from "../../kinds.js";
import { onesLike, zerosLike } from "../../ops/index.js";
import type { OptionNames } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import { tensorKind } from "../../tensor/kinds.js";
import { scope } from "../../tensor/scope.js";
import type { Tensor } from "../../tensor/tensor.js";
import { RunningNorm } from "../batch-norm.js";
import { AnyConvolution } from "../conv.js";
import { Linear } from "../linear.js";
import { Parameter } from "../parameter.js";
import { setField } from "./fields.js";

/** A layer's weight and bias. */
export type FusedWeights = readonly [weight: Parameter, bias: Parameter];

interface NormArguments {
  readonly bnRm: Tensor;
  readonly bnRv: Tensor;
  readonly bnEps: number;
  readonly bnW: Tensor | null;
  readonly bnB: Tensor | null;
}
const NORM = {
  bnRm: tensorKind,
  bnRv: tensorKind,
  bnEps: real("[0, ∞)"),
  bnW: orNull(tensorKind),
  bnB: orNull(tensorKind),
} satisfies OptionNames<NormArguments>;

/** What a normalisation does to each channel: x · scale + shift. */
function affine({ bnRm, bnRv, bnEps, bnW, bnB }: NormArguments, bias: Tensor | null): readonly [Tensor, Tensor] {
  const deviation = bnRv.add(bnEps).rsqrt();
  const scale = (bnW ?? onesLike(bnRm)).mul(deviation);
  const shift = (bias ?? zerosLike(bnRm))
    .sub(bnRm)
    .mul(scale)
    .add(bnB ?? zerosLike(bnRm));
  return [scale, shift];
}
function parametersOf(weight: Tensor, bias: Tensor | null, fuse: () => readonly [Tensor, Tensor]): FusedWeights {
  return noGrad(() =>
    scope(() => {
      const [w, b] = fuse();
      return [
        new Parameter(w.to(weight.dtype), { requiresGrad: weight.requiresGrad }),
        new Parameter(b.to((bias ?? weight).dtype), { requiresGrad: bias?.requiresGrad ?? false }),
      ];
    }),
  );
}

export interface FuseConvWeightsArguments extends NormArguments {
  readonly convW: Tensor;
  readonly convB: Tensor | null;
  /** The convolution is a transposed one. Default false. */
  readonly transpose?: boolean;
}
const TRANSPOSE = byDefault(false, flag);
const readConvWeights = signature("fuseConvBnWeights", {
  convW: tensorKind,
  convB: orNull(tensorKind),
  ...NORM,
  transpose: TRANSPOSE,
} satisfies OptionNames<FuseConvWeightsArguments>);
/**
 * Weight and bias of a convolution that does what one and a normalisation behind it do. Arguments: convW, convB, bnRm,
 * bnRv (running mean and variance), bnEps, bnW, bnB (weight and bias, or null), transpose.
 */
export function fuseConvBnWeights(
  ...given: Call<
    FuseConvWeightsArguments,
    ["convW", "convB", "bnRm", "bnRv", "bnEps", "bnW", "bnB", "transpose"],
    [
      convW: Tensor,
      convB: Tensor | null,
      bnRm: Tensor,
      bnRv: Tensor,
      bnEps: number,
      bnW: Tensor | null,
      bnB: Tensor | null,
      transpose?: boolean,
    ]
  >
): FusedWeights {
  const a = readConvWeights(given);
  const { convW, convB } = a;
  return parametersOf(convW, convB, () => {
    const [scale, shift] = affine(a, convB);
    const ones = new Array<number>(convW.ndim - 2).fill(1);
    return [convW.mul(scale.reshape(a.transpose ? [1, -1, ...ones] : [-1, 1, ...ones])), shift];
  });
}

export interface FuseLinearWeightsArguments extends NormArguments {
  readonly linearW: Tensor;
  readonly linearB: Tensor | null;
}
const readLinearWeights = signature("fuseLinearBnWeights", {
  linearW: tensorKind,
  linearB: orNull(tensorKind),
  ...NORM,
} satisfies OptionNames<FuseLinearWeightsArguments>);
/** The same of a linear layer. Arguments: linearW, linearB, bnRm, bnRv, bnEps, bnW, bnB. */
export function fuseLinearBnWeights(
  ...given: Call<
    FuseLinearWeightsArguments,
    ["linearW", "linearB", "bnRm", "bnRv", "bnEps", "bnW", "bnB"],
    [
      linearW: Tensor,
      linearB: Tensor | null,
      bnRm: Tensor,
      bnRv: Tensor,
      bnEps: number,
      bnW: Tensor | null,
      bnB: Tensor | null,
    ]
  >
): FusedWeights {
  const a = readLinearWeights(given);
  return parametersOf(a.linearW, a.linearB, () => {
    const [scale, shift] = affine(a, a.linearB);
    return [a.linearW.mul(scale.unsqueeze(-1)), shift];
  });
}

function normOf(fn: string, layer: { readonly training: boolean }, bn: RunningNorm): NormArguments {
  if (layer.training || bn.training) throw new ArgumentError(fn, "layers in evaluation: call eval() first", layer);
  const { runningMean: bnRm, runningVar: bnRv } = bn;
  if (bnRm === null || bnRv === null) throw new ArgumentError(fn, "bn with running statistics", bn);
  return { bnRm, bnRv, bnEps: bn.eps, bnW: bn.weight, bnB: bn.bias };
}
const bnKind = instanceOf("a batch normalisation", RunningNorm);

export interface FuseConvArguments {
  readonly conv: AnyConvolution;
  readonly bn: RunningNorm;
  /** The convolution is a transposed one. Default false. */
  readonly transpose?: boolean;
}
const readConv = signature("fuseConvBnEval", {
  conv: instanceOf("a convolution", AnyConvolution),
  bn: bnKind,
  transpose: TRANSPOSE,
} satisfies OptionNames<FuseConvArguments>);
/**
 * A copy of a convolution that does what it and the batch normalisation behind it do in evaluation. Arguments: conv, bn,
 * transpose.
 * @throws {ArgumentError} for layers in training, or without running statistics.
 */
export function fuseConvBnEval<M extends AnyConvolution>(
  ...given: Call<
    FuseConvArguments & { readonly conv: M },
    ["conv", "bn", "transpose"],
    [conv: M, bn: RunningNorm, transpose?: boolean]
  >
): M {
  const { conv, bn, transpose } = readConv(given);
  const norm = normOf("fuseConvBnEval", conv, bn);
  return fused(conv as M, fuseConvBnWeights({ convW: conv.weight, convB: conv.bias, ...norm, transpose }));
}

export interface FuseLinearArguments {
  readonly linear: Linear;
  readonly bn: RunningNorm;
}
const readLinear = signature("fuseLinearBnEval", {
  linear: instanceOf("a Linear", Linear),
  bn: bnKind,
} satisfies OptionNames<FuseLinearArguments>);
/**
 * A copy of a linear layer that does what it and the batch normalisation behind it do in evaluation. Arguments: linear,
 * bn, of as many features as the layer has outputs, or of one.
 */
export function fuseLinearBnEval<M extends Linear>(
  ...given: Call<FuseLinearArguments & { readonly linear: M }, ["linear", "bn"], [linear: M, bn: RunningNorm]>
): M {
  const { linear, bn } = readLinear(given);
  const norm = normOf("fuseLinearBnEval", linear, bn);
  if (bn.numFeatures !== linear.outFeatures && bn.numFeatures !== 1)
    throw new ArgumentError("fuseLinearBnEval", `bn of ${linear.outFeatures} features, or of 1`, bn.numFeatures);
  return fused(linear as M, fuseLinearBnWeights({ linearW: linear.weight, linearB: linear.bias, ...norm }));
}

function fused<M extends AnyConvolution | Linear>(layer: M, [weight, bias]: FusedWeights): M {
  const copy = layer.clone() as M;
  setField(copy, "weight", weight);
  setField(copy, "bias", bias);
  return copy;
}
