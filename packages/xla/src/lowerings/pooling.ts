/** Pooling over windows, and its gradients. */
import type { Lowering, Operation } from "../lower/operation.js";
import { addLowerings } from "../lower/registry.js";
import type { Emitter } from "../stablehlo/emitter.js";
import { scatterAt } from "../stablehlo/gather.js";
import { neutral, reduceWindow, selectAndScatter, type Window } from "../stablehlo/reduce.js";
import { accumulator, range, sizeOf, type Operand, type Ssa } from "../stablehlo/types.js";
import { finish } from "./kernel.js";

interface Pool {
  /** Of the pooled dimensions, which are the last ones. */
  readonly size: readonly number[];
  readonly stride: readonly number[];
  readonly padding: readonly number[];
  readonly dilation: readonly number[];
  /** Of all dimensions. */
  readonly window: Window;
}
/** `shape`: of what is pooled; `pooled`: how many windows there are along each of the last `n` dimensions. */
function poolOf(o: Operation, n: number, shape: readonly number[], pooled: readonly number[]): Pool {
  const each = (name: string, otherwise: readonly number[]): number[] => {
    const given = o.has(name) ? o.numbers(name) : [];
    if (given.length === 0) return [...otherwise];
    return given.length === 1 ? range(n).map(() => given[0]) : given;
  };
  const size = each("kernel_size", []);
  const stride = each("stride", size);
  const padding = each(
    "padding",
    size.map(() => 0),
  );
  const dilation = each(
    "dilation",
    size.map(() => 1),
  );
  o.flag("ceil_mode"); // in the recorded shapes
  const lead = shape.slice(0, -n);
  const edges = size.map((k, i): [number, number] => {
    const reach = (pooled[pooled.length - n + i] - 1) * stride[i] + dilation[i] * (k - 1) + 1;
    return [padding[i], Math.max(padding[i], reach - shape[lead.length + i] - padding[i])];
  });
  const ones = lead.map(() => 1);
  const window: Window = {
    size: [...ones, ...size],
    stride: [...ones, ...stride],
    dilation: [...ones, ...dilation],
    padding: [...lead.map((): [number, number] => [0, 0]), ...edges],
  };
  return { size, stride, padding, dilation, window };
}

/** Where in its plane each window's first greatest element is; NaN counts as such. */
function placesOfMaxima(e: Emitter, x: Ssa, p: Pool, pooled: readonly number[]): Ssa {
  const n = p.size.length;
  const lead = x.shape.length - n;
  const plane = x.shape.slice(lead);
  let flat = e.iota("i32", x.shape, x.shape.length - 1);
  for (let i = 0; i < n - 1; i++)
    flat = e.add(flat, e.mul(e.iota("i32", x.shape, lead + i), sizeOf(plane.slice(i + 1))));
  const edges = (which: 0 | 1): number[] => p.window.padding.map((pair) => pair[which]);
  const none = x.shape.map(() => 0);
  const padded = e.pad(x, edges(0), edges(1), none, neutral(e, "maximum", x.element));
  const index = e.pad(flat, edges(0), edges(1), none, e.full(-1, "i32"));
  let best: { value: Ssa; at: Ssa } | null = null;
  for (let k = 0; k < sizeOf(p.size); k++) {
    let rest = k;
    const offset = range(n).map(() => 0);
    for (let i = n - 1; i >= 0; i--) {
      offset[i] = (rest % p.size[i]) * p.dilation[i];
      rest = Math.floor(rest / p.size[i]);
    }
    const from = [...range(lead).map(() => 0), ...offset];
    const to = from.map((f, i) => f + (pooled[i] - 1) * p.window.stride[i] + 1);
    const [value, at] = [padded, index].map((v) => e.slices(v, from, to, p.window.stride));
    if (best === null) {
      best = { value, at };
      continue;
    }
    const greater = e.binary("or", e.compare("GT", value, best.value), e.compare("NE", value, value));
    const first = e.binary("and", e.compare("LT", best.at, 0), e.compare("GE", at, 0));
    const better = e.binary("or", greater, first);
    best = { value: e.select(better, value, best.value), at: e.select(better, at, best.at) };
  }
  return e.convert((best as { at: Ssa }).at, "i64");
}

const maxPool =
  (n: number): Lowering =>
  (e, o) => {
    const [x, out] = [o.tensor("self"), o.out(0)];
    const p = poolOf(o, n, x.shape, out.shape);
    return [reduceWindow(e, "maximum", x, p.window), () => placesOfMaxima(e, x, p, out.shape)];
  };
/** By index, for windows with gaps. */
function scatterMaxima(e: Emitter, x: Ssa, g: Ssa, indices: Ssa, n: number): Ssa {
  const lead = sizeOf(x.shape.slice(0, -n));
  const [plane, windows] = [sizeOf(x.shape.slice(-n)), sizeOf(g.shape.slice(-n))];
  const which = e.iota("i64", [lead, windows, 1], 0);
  const index = e.concat([which, e.reshape(indices, [lead, windows, 1])], 2);
  const zero = e.full(0, g.element, [lead, plane]);
  return e.reshape(scatterAt(e, zero, index, e.reshape(g, [lead, windows]), "add"), x.shape);
}
const maxPoolBackward =
  (n: number): Lowering =>
  (e, o) => {
    const out = o.out(0);
    const element = accumulator(out.element);
    const [x, g] = [o.tensor("self"), e.convert(o.tensor("grad_output"), element)];
    const p = poolOf(o, n, x.shape, g.shape);
    if (p.dilation.some((d) => d !== 1)) return [finish(e, scatterMaxima(e, x, g, o.tensor("indices"), n), out)];
    o.implied("indices");
    return [finish(e, selectAndScatter(e, e.convert(x, element), g, p.window), out)];
  };

/** By what each window's sum is divided. */
function divisorOf(e: Emitter, o: Operation, p: Pool, x: readonly number[], pooled: readonly number[]): Operand {
  const given = o.has("divisor_override") ? o.numberOr("divisor_override") : null;
  const withPadding = o.flag("count_include_pad");
  if (given !== null) return given;
  const n = p.size.length;
  const counts = p.size.map((k, i) =>
    range(pooled[pooled.length - n + i]).map((w) => {
      const start = w * p.stride[i] - p.padding[i];
      const end = Math.min(start + k, x[x.length - n + i] + p.padding[i]);
      return withPadding ? end - start : Math.min(end, x[x.length - n + i]) - Math.max(start, 0);
    }),
  );
  if (counts.every((c) => c.every((v) => v === c[0]))) return sizeOf(counts.map((c) => c[0] ?? 1));
  // Windows at the edges count fewer: ones, pooled in the same way.
  const size = x.slice(-n);
  const edge = withPadding ? p.padding : p.padding.map(() => 0);
  const ones = e.full(
    1,
    "f32",
    size.map((s, i) => s + 2 * edge[i]),
  );
  const rest = p.window.padding.slice(-n).map((pair, i): [number, number] => [pair[0] - edge[i], pair[1] - edge[i]]);
  return reduceWindow(e, "add", ones, { size: p.size, stride: p.stride, padding: rest });
}
const averagePool =
  (n: number): Lowering =>
  (e, o) => {
    const out = o.out(0);
    const x = e.convert(o.tensor("self"), accumulator(out.element));
    const p = poolOf(o, n, x.shape, out.shape);
    const sums = reduceWindow(e, "add", x, p.window);
    return [finish(e, e.div(sums, divisorOf(e, o, p, x.shape, out.shape)), out)];
  };
const averagePoolBackward =
  (n: number): Lowering =>
  (e, o) => {
    const out = o.out(0);
    const [x, g] = [o.tensor("self"), e.convert(o.tensor("grad_output"), accumulator(out.element))];
    const p = poolOf(o, n, x.shape, g.shape);
    const shares = e.div(g, divisorOf(e, o, p, x.shape, g.shape));
    const lead = x.shape.length - n;
    const all = (pick: (i: number) => number): number[] =>
      range(x.shape.length).map((d) => (d < lead ? 0 : pick(d - lead)));
    const low = all((i) => p.size[i] - 1 - p.padding[i]);
    const high = all((i) => {
      const spread = (g.shape[lead + i] - 1) * p.stride[i] + 1;
      return x.shape[lead + i] + p.size[i] - 1 - low[lead + i] - spread;
    });
    const apart = e.pad(
      shares,
      low,
      high,
      all((i) => p.stride[i] - 1),
    );
    const window = {
      size: p.window.size,
      stride: p.window.size.map(() => 1),
      padding: low.map((): [number, number] => [0, 0]),
    };
    return [finish(e, reduceWindow(e, "add", apart, window), out)];
  };

for (const n of [2, 3])
  addLowerings({
    [`aten::max_pool${n}d_with_indices`]: maxPool(n),
    [`aten::max_pool${n}d_with_indices_backward`]: maxPoolBackward(n),
    [`aten::avg_pool${n}d`]: averagePool(n),
    [`aten::avg_pool${n}d_backward`]: averagePoolBackward(n),
  });
