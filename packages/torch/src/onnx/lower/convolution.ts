/** Convolutions, and what is linear over channels. */
import type { Lowering, Op } from "../op.js";

function attributes(
  o: Op,
  rank: number,
): { readonly strides: number[]; readonly dilations: number[]; readonly group: number } {
  return { strides: o.ints("stride", rank), dilations: o.ints("dilation", rank), group: o.int("groups") };
}
/** ONNX's convolutions take a batch: one is put before, and taken away again. */
function batched(o: Op, rank: number, make: (x: string) => string): string {
  const input = o.maybe("input") ?? o.t("self");
  return input.shape.length === rank + 2 ? make(input.name) : o.g.squeeze(make(o.g.unsqueeze(input.name, [0])), [0]);
}

const conv =
  (rank: number): Lowering =>
  (o) => {
    const weight = o.t("weight");
    const kernel = weight.shape.slice(2);
    const common = attributes(o, rank);
    const padding = o.get("padding");
    const pads =
      typeof padding === "string"
        ? same(padding, kernel, common.dilations)
        : [...o.ints("padding", rank), ...o.ints("padding", rank)];
    return batched(o, rank, (x) =>
      o.node("Conv", [x, weight.name, o.maybe("bias")?.name ?? null], { ...common, kernel_shape: kernel, pads }),
    );
  };
/** "same": the odd one of the padding goes behind, as in PyTorch. */
function same(padding: string, kernel: readonly number[], dilations: readonly number[]): number[] {
  if (padding === "valid") return kernel.flatMap(() => [0, 0]);
  const total = kernel.map((k, d) => (dilations[d] ?? 1) * (k - 1));
  const before = total.map((t) => Math.floor(t / 2));
  return [...before, ...total.map((t, d) => t - (before[d] ?? 0))];
}

const transposed =
  (rank: number): Lowering =>
  (o) => {
    const weight = o.t("weight");
    const pads = o.ints("padding", rank);
    return batched(o, rank, (x) =>
      o.node("ConvTranspose", [x, weight.name, o.maybe("bias")?.name ?? null], {
        ...attributes(o, rank),
        kernel_shape: weight.shape.slice(2),
        pads: [...pads, ...pads],
        output_padding: o.ints("output_padding", rank),
      }),
    );
  };

const convolution: Lowering = (o) => {
  const rank = o.t("weight").shape.length - 2;
  return (o.flag("transposed") ? transposed : conv)(rank)(o);
};

export const convolutions: Readonly<Record<string, Lowering>> = {
  conv1d: conv(1),
  conv2d: conv(2),
  conv3d: conv(3),
  conv_transpose1d: transposed(1),
  conv_transpose2d: transposed(2),
  conv_transpose3d: transposed(3),
  convolution,
};
