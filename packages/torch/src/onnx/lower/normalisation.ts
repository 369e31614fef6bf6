/** Normalisation: over a batch's statistics that were kept, over channels, groups and features. */
import { float } from "../graph.js";
import { range, type Lowering, type Op } from "../op.js";
import type { DType } from "../../tensor/index.js";
import { finfo } from "../../tensor/dtype.js";

/** One weight for each channel, where there is none. */
function perChannel(o: Op, name: string, channels: number, standard: number, dtype: DType): string {
  const given = o.maybe(name);
  return given === null ? o.node("Expand", [o.g.scalar(standard, dtype), o.g.ints([channels])]) : o.cast(given, dtype);
}
/** A vector over axis 1 of a tensor of so many dimensions. */
function alongChannels(o: Op, value: string, rank: number): string {
  return o.g.unsqueeze(
    value,
    range(rank - 2).map((d) => d + 1),
  );
}
/** (x - mean) / √(variance + ε) over some axes. */
function standardised(o: Op, x: string, axes: readonly number[], eps: number, dtype: DType): string {
  const centred = o.node("Sub", [x, o.g.reduce("ReduceMean", x, axes, true)]);
  const variance = o.g.reduce("ReduceMean", o.node("Mul", [centred, centred]), axes, true);
  return o.node("Div", [centred, o.node("Sqrt", [o.node("Add", [variance, o.g.scalar(eps, dtype)])])]);
}
function affine(o: Op, x: string, weight: string | null, bias: string | null): string {
  const scaled = weight === null ? x : o.node("Mul", [x, weight]);
  return bias === null ? scaled : o.node("Add", [scaled, bias]);
}

const batchNorm: Lowering = (o) => {
  const input = o.t("input");
  const { dtype, shape } = input;
  const channels = shape[1] ?? 1;
  if (o.flag("training") && o.has("running_mean")) o.refuse("a model in evaluation: call model.eval()");
  const weight = perChannel(o, "weight", channels, 1, dtype);
  const bias = perChannel(o, "bias", channels, 0, dtype);
  if (o.has("running_mean"))
    return o.node(
      "BatchNormalization",
      [input.name, weight, bias, o.cast(o.t("running_mean"), dtype), o.cast(o.t("running_var"), dtype)],
      { epsilon: float(o.number("eps")) },
    );
  const axes = range(shape.length).filter((d) => d !== 1);
  const made = standardised(o, input.name, axes, o.number("eps"), dtype);
  return affine(o, made, alongChannels(o, weight, shape.length), alongChannels(o, bias, shape.length));
};

const instanceNorm: Lowering = (o) => {
  const input = o.t("input");
  const { dtype, shape } = input;
  const channels = shape[1] ?? 1;
  const [weight, bias] = [perChannel(o, "weight", channels, 1, dtype), perChannel(o, "bias", channels, 0, dtype)];
  if (o.flag("use_input_stats"))
    return o.node("InstanceNormalization", [input.name, weight, bias], { epsilon: float(o.number("eps")) });
  return o.node(
    "BatchNormalization",
    [input.name, weight, bias, o.cast(o.t("running_mean"), dtype), o.cast(o.t("running_var"), dtype)],
    { epsilon: float(o.number("eps")) },
  );
};

const groupNorm: Lowering = (o) => {
  const input = o.t("input");
  const { dtype, shape } = input;
  const groups = o.int("num_groups");
  const apart = o.g.reshape(input.name, o.g.ints([0, groups, -1]));
  const ones = o.node("Expand", [o.g.scalar(1, dtype), o.g.ints([groups])]);
  const zeros = o.node("Expand", [o.g.scalar(0, dtype), o.g.ints([groups])]);
  const made = o.node("InstanceNormalization", [apart, ones, zeros], { epsilon: float(o.number("eps")) });
  const back = o.g.reshape(made, o.vector(input.sizes));
  const [weight, bias] = [o.maybe("weight"), o.maybe("bias")].map((w) =>
    w === null ? null : alongChannels(o, w.name, shape.length),
  );
  return affine(o, back, weight ?? null, bias ?? null);
};

const layerNorm: Lowering = (o) => {
  const input = o.t("input");
  const count = o.ints("normalized_shape").length;
  const axes = range(count).map((d) => input.shape.length - count + d);
  const [weight, bias] = [o.maybe("weight"), o.maybe("bias")];
  if (o.g.opset >= 17 && weight !== null)
    return o.node("LayerNormalization", [input.name, weight.name, bias?.name ?? null], {
      axis: axes[0] ?? 0,
      epsilon: float(o.number("eps")),
    });
  const made = standardised(o, input.name, axes, o.number("eps"), input.dtype);
  return affine(o, made, weight?.name ?? null, bias?.name ?? null);
};

const rmsNorm: Lowering = (o) => {
  const input = o.t("input");
  const { dtype, shape } = input;
  const count = o.ints("normalized_shape").length;
  const axes = range(count).map((d) => shape.length - count + d);
  const mean = o.g.reduce("ReduceMean", o.node("Mul", [input.name, input.name]), axes, true);
  const eps = o.number("eps", finfo(dtype).eps);
  const norm = o.node("Sqrt", [o.node("Add", [mean, o.g.scalar(eps, dtype)])]);
  return affine(o, o.node("Div", [input.name, norm]), o.maybe("weight")?.name ?? null, null);
};

export const normalisation: Readonly<Record<string, Lowering>> = {
  batch_norm: batchNorm,
  instance_norm: instanceNorm,
  group_norm: groupNorm,
  layer_norm: layerNorm,
  native_layer_norm: layerNorm,
  rms_norm: rmsNorm,
};
