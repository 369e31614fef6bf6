/**
 * `t[…]` of PyTorch: integers, slices, new axes, ellipsis, masks and index tensors, through the same ATen operators.
 */
import { elementsOf } from "../read-once.js";
import { ArgumentError } from "../errors.js";
import { invoke } from "../ops/invoke.js";
import { Operator } from "../ops/operator.js";
import { isTensor } from "./handle.js";
import { consumed, isMask, parseIndex, type Index, type Parsed } from "./indexing-parse.js";
import type { Tensor } from "./tensor.js";
import { tensor } from "./values.js";

export { ellipsis, Slice, type Index, type IndexList } from "./indexing-parse.js";

const alias = new Operator("aten::alias", "");
const select = new Operator("aten::select", "int");
const sliceOf = new Operator("aten::slice", "Tensor");
const unsqueeze = new Operator("aten::unsqueeze", "");
const gather = new Operator("aten::index", "Tensor");
const scatter = new Operator("aten::index_put_", "");
const view = new Operator("aten::view", "");
const fill = new Operator("aten::fill_", "Scalar");
const copy = new Operator("aten::copy_", "");

/**
 * A view, and the index tensors that stand for its dimensions from the left (null: the whole dimension; a mask stands
 * for as many as it has).
 */
interface Plan {
  readonly view: Tensor;
  /** Whether `view` is the indexed tensor itself rather than a new one. */
  readonly same: boolean;
  readonly tensors: readonly (Tensor | null)[];
  readonly made: readonly Tensor[];
}

/**
 * Elements of a tensor, chosen as PyTorch's `t[…]` chooses them.
 *
 * @param t - The tensor.
 * @param indices - One per dimension from the left:
 * a whole number (from the end if negative) takes one element and drops the dimension; `"1:5"`, `":"`, `"::2"` or `new
 * Slice(start, stop, step)` take a range;
 * `null` adds a dimension of size 1; `"..."` (or `ellipsis`) stands for all dimensions not named; an int64 or int32
 * tensor, or an array of whole numbers,
 * takes those elements; a bool tensor, or an array of booleans, takes the elements where it is true, and stands for as
 * many dimensions as it has.
 *   Several index tensors are broadcast together.
 * @returns A view for numbers, ranges, null and ellipsis; a copy when a mask or an index tensor takes part. A mask or a
 * 0-dimensional index tensor waits for its device.
 * @throws {ArgumentError} `index: expected at most 2 indices for a tensor of 2 dimensions. Received: 3.`
 * @throws {ArgumentError} `index: expected index 0 to be from -2 to 1 (dimension 0 has size 2). Received: 5.`
 * @throws {ArgumentError} `index: expected the step of "::-1" to be > 0. Received: -1. Use flip to reverse a
 * dimension.`
 * @example
 * const t = tensor([[1, 2, 3], [4, 5, 6]]);
 * index(t, 1).tolist(); // [4, 5, 6]
 * index(t, ":", "::2").tolist(); // [[1, 3], [4, 6]]
 * index(t, t.gt(2)).tolist(); // [3, 4, 5, 6]
 * index(t, [1, 0], [0, 2]).tolist(); // [4, 3]
 */
export function index(t: Tensor, ...indices: readonly Index[]): Tensor {
  // The common case, t.at(i): one call and no plan.
  const first = indices[0];
  if (indices.length === 1 && typeof first === "number") {
    const shape = t.shape;
    checkCount("index", 1, shape.length);
    return selectAt("index", t, 0, first, 0, shape);
  }
  const plan = prepare("index", t, indices);
  try {
    if (plan.tensors.length > 0) return invoke(gather, [plan.view, plan.tensors]) as Tensor;
    // An index that changes nothing still returns a tensor of its own: disposing of it must not dispose of `t`.
    return plan.same ? (invoke(alias, [t]) as Tensor) : plan.view;
  } finally {
    release(plan, plan.tensors.length > 0);
  }
}

/**
 * Assign to elements in place: PyTorch's `t[…] = value`.
 *
 * @param t - The tensor to write to. Autograd records the write.
 * @param indices - As for {@link index}; a single index need not be in an array unless it is one.
 * @param value - A number, bigint or boolean, or a tensor that broadcasts to what the indices choose; it is converted
 * to the dtype and device of `t`.
 *   Where an index tensor names an element twice, which value stays is not defined.
 * @throws {ArgumentError} as for {@link index}, and `setIndex: expected value to be a number, a bigint, a boolean or a
 * tensor. Received: "a".`
 * @throws {TorchError} when the value does not broadcast, or `t` is a leaf that requires a gradient.
 * @example
 * const t = zeros([2, 3]);
 * setIndex(t, [":", 1], 5); // [[0, 5, 0], [0, 5, 0]]
 */
export function setIndex(
  t: Tensor,
  indices: readonly Index[] | Index,
  value: Tensor | number | bigint | boolean,
): void {
  const list = Array.isArray(indices) ? elementsOf(indices as readonly Index[]) : [indices as Index];
  if (!isTensor(value) && typeof value !== "number" && typeof value !== "bigint" && typeof value !== "boolean")
    throw new ArgumentError("setIndex", "value to be a number, a bigint, a boolean or a tensor", value);
  const plan = prepare("setIndex", t, list);
  try {
    if (plan.tensors.length > 0) put(plan, value);
    else if (isTensor(value)) assign(plan.view, value);
    else invoke(fill, [plan.view, value]);
  } finally {
    release(plan, true);
  }
}

function put(plan: Plan, value: Tensor | number | bigint | boolean): void {
  const target = plan.view;
  const dtype = target.dtype;
  let source = isTensor(value) ? value : tensor(value, { dtype, device: target.device });
  const made: Tensor[] = isTensor(value) ? [] : [source];
  try {
    if (source.dtype !== dtype || (source.device !== target.device && source.ndim > 0))
      made.push((source = source.to({ dtype, device: target.device })));
    const trimmed = withoutLeadingOnes(source);
    if (trimmed !== source) made.push((source = trimmed));
    invoke(scatter, [target, plan.tensors, source]);
  } finally {
    for (const m of made) m.dispose();
  }
}

function assign(target: Tensor, value: Tensor): void {
  const source = sameShape(target.shape, value.shape) ? value : withoutLeadingOnes(value);
  try {
    invoke(copy, [target, source]);
  } finally {
    if (source !== value) source.dispose();
  }
}

/** Leading dimensions of size 1 do not stand in the way of an assignment, however many there are. */
function withoutLeadingOnes(t: Tensor): Tensor {
  const shape = t.shape;
  const first = shape.findIndex((size) => size !== 1);
  const kept = first === -1 ? [] : shape.slice(first);
  return kept.length === shape.length ? t : (invoke(view, [t, kept]) as Tensor);
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, i) => size === b[i]);
}

/** Free the steps on the way; the view itself too, unless it is the result. */
function release(plan: Plan, andView: boolean): void {
  for (const m of plan.made) if (m !== plan.view || andView) m.dispose();
}

function checkCount(fn: string, used: number, ndim: number): void {
  if (used > ndim)
    throw new ArgumentError(
      fn,
      `at most ${ndim} ${ndim === 1 ? "index" : "indices"} for a tensor of ${ndim} ${ndim === 1 ? "dimension" : "dimensions"}`,
      used,
    );
}

function selectAt(fn: string, t: Tensor, dim: number, at: number, position: number, shape: readonly number[]): Tensor {
  const size = shape[dim] as number;
  if (!Number.isInteger(at) || at < -size || at >= size) {
    const range =
      size === 0
        ? `to be left out (dimension ${dim} is empty)`
        : `to be from ${-size} to ${size - 1} (dimension ${dim} has size ${size})`;
    throw new ArgumentError(fn, `index ${position} ${range}`, at);
  }
  return invoke(select, [t, dim, at]) as Tensor;
}

/**
 * Walk the indices from the left as PyTorch does: everything that a view can do is done at once, the rest is left to
 * index and index_put_.
 */
class Walk {
  current: Tensor;
  readonly tensors: (Tensor | null)[] = [];
  readonly made: Tensor[] = [];
  /** The next dimension of `current`. */
  dim = 0;
  /** How many dimensions `tensors` speaks for. */
  #spoken = 0;
  readonly #fn: string;
  readonly #start: Tensor;

  constructor(fn: string, t: Tensor) {
    this.#fn = fn;
    this.#start = t;
    this.current = t;
  }

  take(p: Parsed, position: number, skipped: number): void {
    switch (p.kind) {
      case "number":
        this.#step(selectAt(this.#fn, this.current, this.dim, p.at, position, this.current.shape));
        break;
      case "slice":
        // A full range is no operation at all.
        if (p.start !== null || p.stop !== null || p.step !== 1)
          this.#step(invoke(sliceOf, [this.current, this.dim, p.start, p.stop, p.step]) as Tensor);
        this.dim++;
        break;
      case "none":
        this.#step(invoke(unsqueeze, [this.current, this.dim++]) as Tensor);
        break;
      case "ellipsis":
        this.dim += skipped;
        break;
      case "boolean":
        this.#step(invoke(unsqueeze, [this.current, this.dim]) as Tensor);
        this.#record(this.#own(tensor(new BigInt64Array(p.value ? 1 : 0), { device: this.current.device })), 1);
        break;
      default:
        this.#byTensor(p.tensor, position);
    }
  }

  #byTensor(given: Tensor, position: number): void {
    const shape = given.shape;
    const mask = isMask(given);
    if (shape.length === 0 && !mask) {
      this.#step(selectAt(this.#fn, this.current, this.dim, given.item(), position, this.current.shape));
      return;
    }
    let ix = given;
    // uint8 masks are PyTorch's old form of bool ones.
    if (ix.dtype === "uint8") ix = this.#own(ix.to("bool"));
    if (ix.device !== this.current.device) ix = this.#own(ix.to(this.current.device));
    if (shape.length === 0) {
      this.#step(invoke(unsqueeze, [this.current, this.dim]) as Tensor);
      ix = this.#own(invoke(view, [ix, [1]]) as Tensor);
    } else if (mask) {
      checkMask(this.#fn, shape, this.current.shape.slice(this.dim, this.dim + shape.length), position);
    }
    this.#record(ix, mask ? Math.max(1, shape.length) : 1);
  }

  #step(next: Tensor): void {
    if (this.current !== this.#start) this.made.push(this.current);
    this.current = next;
  }
  #own(t: Tensor): Tensor {
    this.made.push(t);
    return t;
  }
  #record(ix: Tensor, dims: number): void {
    for (; this.#spoken < this.dim; this.#spoken++) this.tensors.push(null);
    this.tensors.push(ix);
    this.dim += dims;
    this.#spoken = this.dim;
  }
}

function prepare(fn: string, t: Tensor, indices: readonly Index[]): Plan {
  if (!isTensor(t)) throw new ArgumentError(fn, "t to be a tensor", t);
  const walk = new Walk(fn, t);
  try {
    const parsed = indices.map((ix, i) => {
      const p = parseIndex(fn, ix, i);
      if (p.kind === "tensor" && p.made) walk.made.push(p.tensor);
      return p;
    });
    const ndim = t.ndim;
    const used = parsed.reduce((sum, p) => sum + consumed(p), 0);
    checkCount(fn, used, ndim);
    parsed.forEach((p, position) => {
      walk.take(p, position, ndim - used);
    });
  } catch (error) {
    for (const m of walk.made) m.dispose();
    if (walk.current !== t) walk.current.dispose();
    throw error;
  }
  const same = walk.current === t;
  return { view: walk.current, same, tensors: walk.tensors, made: same ? walk.made : [walk.current, ...walk.made] };
}

function checkMask(fn: string, mask: readonly number[], dims: readonly number[], position: number): void {
  if (!sameShape(mask, dims))
    throw new ArgumentError(
      fn,
      `the mask at index ${position} to have the shape [${dims.join(", ")}] of the dimensions that it stands for`,
      mask,
    );
}
