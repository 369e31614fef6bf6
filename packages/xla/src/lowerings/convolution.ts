/** Convolutions of one to three dimensions, transposed ones, and their gradients. */
import type { Lowering, Operation } from "../lower/operation.js";
import { addLowerings } from "../lower/registry.js";
import type { Emitter } from "../stablehlo/emitter.js";
import { convolution } from "../stablehlo/product.js";
import { sum } from "../stablehlo/reduce.js";
import { accumulator, range, type Ssa } from "../stablehlo/types.js";
import { finish } from "./kernel.js";

interface Numbers {
  readonly stride: readonly number[];
  readonly padding: readonly number[];
  readonly dilation: readonly number[];
  readonly groups: number;
}
function numbersOf(o: Operation, spatial: number): Numbers {
  const each = (name: string): number[] => {
    const given = o.numbers(name);
    return given.length === 1 ? range(spatial).map(() => given[0]) : given;
  };
  return { stride: each("stride"), padding: each("padding"), dilation: each("dilation"), groups: o.number("groups") };
}

/** [N, C, …] with a kernel [O, C/groups, …]. */
function forward(e: Emitter, x: Ssa, kernel: Ssa, shape: readonly number[], n: Numbers): Ssa {
  return convolution(e, x, kernel, shape, {
    stride: n.stride,
    padding: n.padding.map((p) => [p, p]),
    dilation: n.dilation,
    groups: n.groups,
  });
}

/** What the input of {@link forward} gets from `g`: also the transposed convolution. */
function toInput(e: Emitter, g: Ssa, kernel: Ssa, shape: readonly number[], n: Numbers): Ssa {
  const [outputs, inputs, ...size] = kernel.shape;
  let k = kernel; // [O, C/groups, …] → [O/groups, C, …]
  if (n.groups > 1) {
    const parts = e.reshape(kernel, [n.groups, outputs / n.groups, inputs, ...size]);
    const turned = e.permute(parts, [1, 0, ...range(size.length + 1).map((i) => i + 2)]);
    k = e.reshape(turned, [outputs / n.groups, n.groups * inputs, ...size]);
  }
  const padding = size.map((s, i): [number, number] => {
    const reach = n.dilation[i] * (s - 1);
    const low = reach - n.padding[i];
    return [low, shape[i + 2] - ((g.shape[i + 2] - 1) * n.stride[i] + 1) - low + reach];
  });
  return convolution(e, g, k, shape, {
    stride: size.map(() => 1),
    padding,
    inputDilation: n.stride,
    dilation: n.dilation,
    reverse: true,
    groups: n.groups,
    letters: ["b, f", "i, o", "b, f"],
  });
}

/** What the kernel of {@link forward} gets, of input `x` and what came back, `g`. */
function toKernel(e: Emitter, x: Ssa, g: Ssa, shape: readonly number[], n: Numbers): Ssa {
  const padding = n.padding.map((p, i): [number, number] => {
    const reach = (shape[i + 2] - 1) * n.dilation[i] + (g.shape[i + 2] - 1) * n.stride[i] + 1;
    return [p, reach - x.shape[i + 2] - p];
  });
  return convolution(e, x, g, shape, {
    stride: n.dilation,
    padding,
    dilation: n.stride,
    batchGroups: n.groups,
    letters: ["f, b", "i, o", "f, b"],
  });
}

const convolve: Lowering = (e, o) => {
  const [x, kernel, bias, out] = [o.tensor("input"), o.tensor("weight"), o.optional("bias"), o.out(0)];
  o.implied("output_padding"); // in the recorded shape
  const n = numbersOf(o, x.shape.length - 2);
  const made = (o.flag("transposed") ? toInput : forward)(e, x, kernel, out.shape, n);
  if (bias === null) return [finish(e, made, out)];
  const along = e.broadcast(e.convert(bias, made.element), made.shape, [1]);
  return [finish(e, e.add(made, along), out)];
};
const backward: Lowering = (e, o) => {
  const [g, x, kernel] = [o.tensor("grad_output"), o.tensor("input"), o.tensor("weight")];
  o.implied("output_padding", "bias_sizes", "output_mask");
  const n = numbersOf(o, x.shape.length - 2);
  const [toX, toK, toBias] = o.outs;
  const transposed = o.flag("transposed");
  const ofInput = (): Ssa => (transposed ? forward(e, g, kernel, x.shape, n) : toInput(e, g, kernel, x.shape, n));
  const ofKernel = (): Ssa => (transposed ? toKernel(e, g, x, kernel.shape, n) : toKernel(e, x, g, kernel.shape, n));
  const others = range(g.shape.length).filter((d) => d !== 1);
  return [
    toX === null ? null : finish(e, ofInput(), toX),
    toK === null ? null : finish(e, ofKernel(), toK),
    toBias === null ? null : finish(e, sum(e, e.convert(g, accumulator(g.element)), others), toBias),
  ];
};

addLowerings({
  "aten::convolution": convolve,
  "aten::convolution_overrideable": convolve,
  "aten::convolution_backward": backward,
  "aten::convolution_backward_overrideable": backward,
});
