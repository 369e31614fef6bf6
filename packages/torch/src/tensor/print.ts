/** Tensors as text, character by character as PyTorch prints them. */
import { ArgumentError } from "../errors.js";
import { invoke } from "../ops/invoke.js";
import { Operator } from "../ops/operator.js";
import { atMost } from "../options.js";
import { isComplex, isFloatingPoint, type DType } from "./dtype.js";
import { isTensor } from "./handle.js";
import { layout, tuple, withSuffixes, type Elements } from "./print-layout.js";
import { getPrintOptions, resolve, type PrintOptions } from "./print-options.js";
import { scope } from "./scope.js";
import type { Tensor } from "./tensor.js";
import { getDefaultDtype } from "./default-dtype.js";

export { getPrintOptions, setPrintOptions, type PrintOptions, type PrintProfile } from "./print-options.js";

const cat = new Operator("aten::cat", "");
const narrow = new Operator("aten::narrow", "");
const sparseParts = {
  sparseCoo: { names: ["indices", "values"], ops: ["_indices", "_values"], layout: "torch.sparse_coo" },
  sparseCsr: {
    names: ["crow_indices", "col_indices", "values"],
    ops: ["crow_indices", "col_indices", "values"],
    layout: "torch.sparse_csr",
  },
} as const;

/**
 * A tensor as PyTorch prints it: `tensor([[1., 2.],\n        [3., 4.]], dtype=torch.float16, requires_grad=True)`.
 *
 * Above `threshold` elements only the edges of each dimension are shown, and only they are read: printing a huge tensor
 * costs what printing a small one does.
 *
 * @param t - Any tensor, also sparse, on any device; on `"meta"` the elements are `...`.
 * @param options - Instead of the options set by {@link setPrintOptions}, for this call.
 * @returns Text without a final newline. Waits for the tensor's device.
 * @example formatTensor(tensor([1, 2.5])); // "tensor([1.0000, 2.5000])"
 */
export function formatTensor(t: Tensor, options?: Partial<PrintOptions>): string {
  atMost("formatTensor", arguments, 2);
  if (!isTensor(t)) throw new ArgumentError("formatTensor", "a tensor", t);
  const chosen = options === undefined ? getPrintOptions() : resolve("formatTensor", getPrintOptions(), options);
  return scope(() => format(t, chosen));
}

function format(t: Tensor, options: PrintOptions): string {
  const prefix = "tensor(";
  const { shape, dtype, device } = t;
  const count = t.numel();
  const meta = device.type === "meta";
  const kind = t.layout;
  const size = `size=${tuple(shape)}`;
  const element = `dtype=torch.${dtype}`;
  const suffixes: string[] = [];
  if (device.type !== "cpu") suffixes.push(`device='${device.toString()}'`);
  let body: string;
  if (kind === "sparseCoo" || kind === "sparseCsr") {
    suffixes.push(size);
    const parts = meta
      ? []
      : sparseParts[kind].ops.map((name) => invoke(new Operator(`aten::${name}`), [t.detach()]) as Tensor);
    if (!meta) suffixes.push(`nnz=${parts.at(-1)?.shape[0] ?? 0}`);
    if (!isDefault(dtype)) suffixes.push(element);
    body = meta
      ? "..."
      : sparseParts[kind].names
          .map((name, i) => partText(name, parts[i] as Tensor, prefix.length, options))
          .join(`,\n${" ".repeat(prefix.length)}`);
    suffixes.push(`layout=${sparseParts[kind].layout}`);
  } else if (meta || kind === "other") {
    suffixes.push(size);
    if (dtype !== getDefaultDtype()) suffixes.push(element);
    body = "...";
  } else if (count === 0) {
    if (shape.length !== 1) suffixes.push(size);
    // Without elements nothing tells the dtype, so even int64 is named.
    if (dtype !== getDefaultDtype()) suffixes.push(element);
    body = "[]";
  } else {
    if (options.edgeitems === 0) suffixes.push(size);
    if (!isDefault(dtype)) suffixes.push(element);
    body = layout(elementsOf(t, options), prefix.length, options);
  }
  const node = nodeName(t);
  if (node !== null) suffixes.push(`grad_fn=<${node}>`);
  else if (t.requiresGrad) suffixes.push("requires_grad=True");
  return withSuffixes(prefix + body, suffixes, prefix.length, options, kind === "sparseCoo");
}

/** Dtypes that the digits alone make clear. */
function isDefault(dtype: DType): boolean {
  const real = getDefaultDtype();
  return (
    dtype === real ||
    dtype === (real === "float64" ? "complex128" : "complex64") ||
    dtype === "int64" ||
    dtype === "bool"
  );
}

function nodeName(t: Tensor): string | null {
  try {
    return t.gradFn?.split("::").at(-1) ?? null;
  } catch {
    // A view made and changed in place without gradients: autograd refuses to name its node.
    return "Invalid";
  }
}

function partText(name: string, part: Tensor, indent: number, options: PrintOptions): string {
  const head = `${name}=tensor(`;
  if (part.numel() === 0) return `${head}[], size=${tuple(part.shape)})`;
  return `${head}${layout(elementsOf(part, options), indent + head.length, options)})`;
}

/** Read what will be shown: everything, or the edges of every long dimension. */
function elementsOf(t: Tensor, options: PrintOptions): Elements {
  const edge = options.edgeitems;
  const cut = t.numel() > options.threshold ? t.shape.map((size) => size > 2 * edge) : null;
  const kept = cut === null ? t.detach() : edges(t.detach(), 0, cut, edge);
  const { dtype, shape } = kept;
  if (dtype === "float4_e2m1fn_x2") return { kind: "float", shape, cut, values: new Uint8Array(kept.toBytes()) };
  if (isComplex(dtype))
    return { kind: "complex", shape, cut, values: new Float64Array(kept.to("complex128").toBytes()) };
  if (isFloatingPoint(dtype))
    return { kind: "float", shape, cut, values: new Float64Array(kept.to("float64").toBytes()) };
  return { kind: dtype === "bool" ? "boolean" : "integer", shape, cut, values: kept.toTypedArray() };
}

/** The first and last `edge` of every dimension that is cut; copies no more than that. */
function edges(t: Tensor, dim: number, cut: readonly boolean[], edge: number): Tensor {
  if (dim === cut.length) return t;
  if (cut[dim] !== true) return edges(t, dim + 1, cut, edge);
  const size = t.shape[dim] as number;
  const first = edges(part(t, dim, 0, edge), dim + 1, cut, edge);
  const last = edges(part(t, dim, size - edge, edge), dim + 1, cut, edge);
  return invoke(cat, [[first, last], dim]) as Tensor;
}

function part(t: Tensor, dim: number, start: number, length: number): Tensor {
  return invoke(narrow, [t, dim, start, length]) as Tensor;
}
