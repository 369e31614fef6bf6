/**
 * Views by offset and strides, of memory that is a value of the program: its elements in order, in any shape.
 *
 * A view whose strides divide each other, as those of transposed, sliced and split tensors do, is the memory in another
 * shape, cut along each dimension, its dimensions in another order. Any other is read and written element by element.
 */
import type { Emitter } from "../stablehlo/emitter.js";
import { gatherAt, scatterAt, updateSlice } from "../stablehlo/gather.js";
import { range, same, sizeOf, type Ssa } from "../stablehlo/types.js";

/** In elements, from where the memory begins. */
export interface Strided {
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}
interface Dim {
  readonly size: number;
  readonly stride: number;
  /** Its place in the view. */
  readonly at: number;
}

/** Dimensions that step through memory, farthest first. */
function steps(v: Strided): Dim[] {
  return v.shape
    .map((size, at) => ({ size, stride: v.strides[at], at }))
    .filter((d) => d.size > 1 && d.stride !== 0)
    .sort((a, b) => b.stride - a.stride || a.at - b.at);
}
/** One past the last element. */
export const endOf = (v: Strided): number =>
  v.offset + v.shape.reduce((sum, n, i) => sum + (n - 1) * v.strides[i], 0) + 1;

/** Whether the view is all of `length` elements, each once. */
export function covers(v: Strided, length: number): boolean {
  if (v.offset !== 0 || sizeOf(v.shape) !== length) return false;
  let inner = 1;
  for (const d of steps(v).reverse()) {
    if (d.stride !== inner) return false;
    inner *= d.size;
  }
  return inner === length;
}
/** Whether several of its elements are one in memory, or may be: strides that do not divide are not looked into. */
export function overlaps(v: Strided): boolean {
  if (v.shape.some((n, i) => n > 1 && v.strides[i] === 0)) return true;
  let reach = 0;
  for (const d of steps(v).reverse()) {
    if (d.stride <= reach) return true;
    reach += (d.size - 1) * d.stride;
  }
  return false;
}

/** The shape in which memory shows the view as a box, and where the box begins. */
interface Box {
  readonly shape: readonly number[];
  readonly from: readonly number[];
  readonly sizes: readonly number[];
  /** Elements of memory that the shape takes: more or fewer than there are. */
  readonly taken: number;
}
/** Part of a dimension of a view, or a place along a dimension of memory. */
interface Part {
  readonly size: number;
  readonly stride: number;
}
/**
 * The view's dimensions, cut where those of memory end: the box then is one in the shape that memory has, which costs
 * nothing and keeps a batch that is split among devices where it is.
 */
function partsOf(v: Strided, dims: readonly Dim[], memory: readonly number[]): Part[] {
  const parts: Part[] = dims.map(({ size, stride }) => ({ size, stride }));
  const strides = memory.map((_, i) => sizeOf(memory.slice(i + 1)));
  for (const stride of new Set(strides)) {
    const i = parts.findIndex((p) => p.stride <= stride);
    const [outer, inner] = i < 0 ? [parts[parts.length - 1], undefined] : [parts[i - 1], parts[i]];
    if (inner?.stride === stride || (outer !== undefined && outer.stride % stride !== 0)) continue;
    if (inner === undefined) {
      parts.push({ size: 1, stride });
      continue;
    }
    if (stride % inner.stride !== 0) continue;
    const [room, first] = [stride / inner.stride, Math.floor((v.offset % stride) / inner.stride)];
    if (first + inner.size <= room) parts.splice(i, 0, { size: 1, stride });
    else if (first === 0 && inner.size % room === 0)
      parts.splice(i, 1, { size: inner.size / room, stride }, { size: room, stride: inner.stride });
  }
  return parts;
}
/** Null: the view is no box of any shape. */
function boxOf(v: Strided, dims: readonly Dim[], memory: readonly number[]): Box | null {
  const length = sizeOf(memory);
  return boxOfParts(v.offset, partsOf(v, dims, memory), length) ?? boxOfParts(v.offset, dims, length);
}
function boxOfParts(offset: number, parts: readonly Part[], length: number): Box | null {
  const [shape, from, sizes]: [number[], number[], number[]] = [[], [], []];
  let rest = offset;
  let above = -1; // the stride before; none yet
  for (const { size, stride } of parts) {
    if (above >= 0 && above % stride !== 0) return null;
    const first = Math.floor(rest / stride);
    const room = above < 0 ? -1 : above / stride;
    if (room >= 0 && first + size > room) return null;
    shape.push(room);
    from.push(first);
    sizes.push(size);
    rest -= first * stride;
    above = stride;
  }
  if (above < 0) return { shape: [length], from: [rest], sizes: [1], taken: length };
  if (above > 1) {
    shape.push(above);
    from.push(rest);
    sizes.push(1);
  }
  const block = parts[0].stride;
  const whole = Math.floor(length / block);
  shape[0] = from[0] + sizes[0] <= whole ? whole : Math.ceil(length / block);
  return { shape, from, sizes, taken: shape[0] * block };
}

/** Memory in a shape of `taken` elements. */
function inShape(e: Emitter, memory: Ssa, { shape, taken }: Box): Ssa {
  const length = sizeOf(memory.shape);
  if (taken === length) return e.reshape(memory, shape);
  const flat = e.reshape(memory, [length]);
  return e.reshape(taken < length ? e.slice(flat, 0, 0, taken) : e.pad(flat, [0], [taken - length]), shape);
}

/** Elements' places in memory: int32 where they fit. */
function places(e: Emitter, v: Strided): Ssa {
  const element = endOf(v) < 2 ** 31 ? "i32" : "i64";
  let index = e.full(v.offset, element, v.shape);
  v.shape.forEach((n, i) => {
    if (n > 1 && v.strides[i] !== 0) index = e.add(index, e.mul(e.iota(element, v.shape, i), v.strides[i]));
  });
  return e.reshape(index, [...v.shape, 1]);
}

/** The view's elements. */
export function read(e: Emitter, memory: Ssa, v: Strided): Ssa {
  const length = sizeOf(memory.shape);
  if (sizeOf(v.shape) === 0) return e.full(0, memory.element, v.shape);
  const dims = steps(v);
  const box = boxOf(v, dims, memory.shape);
  if (box === null) return gatherAt(e, e.reshape(memory, [length]), places(e, v));
  const inOrder = dims.every((d, i) => i === 0 || d.at > dims[i - 1].at);
  const repeated = v.shape.some((n, i) => n > 1 && v.strides[i] === 0);
  if (inOrder && !repeated && sizeOf(v.shape) === length) return e.reshape(memory, v.shape);
  const cut = e.slices(
    inShape(e, memory, box),
    box.from,
    box.from.map((first, i) => first + box.sizes[i]),
    box.from.map(() => 1),
  );
  const order = range(dims.length).sort((a, b) => dims[a].at - dims[b].at);
  const turned = e.permute(
    e.reshape(
      cut,
      dims.map((d) => d.size),
    ),
    order,
  );
  if (!repeated) return e.reshape(turned, v.shape);
  return e.broadcast(
    turned,
    v.shape,
    order.map((i) => dims[i].at),
  );
}

/** Memory after the view's elements were replaced, in some shape. The view must not overlap itself. */
export function write(e: Emitter, memory: Ssa, v: Strided, value: Ssa): Ssa {
  const length = sizeOf(memory.shape);
  if (sizeOf(v.shape) === 0) return memory;
  if (covers(v, length)) return inMemoryOrder(e, v, value);
  const dims = steps(v);
  const box = boxOf(v, dims, memory.shape);
  if (box === null) return scatterAt(e, e.reshape(memory, [length]), places(e, v), value, "replace");
  // Elements beyond a last whole block are not in a shape of fewer: take the shape that has them all.
  const whole = box.taken < length ? { ...box, shape: [box.shape[0] + 1, ...box.shape.slice(1)] } : box;
  const taken = sizeOf(whole.shape);
  const part = e.reshape(inMemoryOrder(e, v, value), whole.sizes);
  const all = inShape(e, memory, { ...whole, taken });
  if (same(part.shape, all.shape)) return part;
  const updated = updateSlice(e, all, part, whole.from);
  return taken === length ? updated : e.slice(e.reshape(updated, [taken]), 0, 0, length);
}

/** A value's elements as they lie in memory that it covers, or is a box of. */
export function inMemoryOrder(e: Emitter, v: Strided, value: Ssa): Ssa {
  const dims = steps(v);
  const inOrder = dims.every((d, i) => i === 0 || d.at > dims[i - 1].at);
  if (inOrder) return value;
  const dense = e.reshape(
    value,
    v.shape.filter((n, i) => n > 1 && v.strides[i] !== 0),
  );
  const places = [...dims].sort((a, b) => a.at - b.at);
  return e.permute(
    dense,
    dims.map((d) => places.indexOf(d)),
  );
}
