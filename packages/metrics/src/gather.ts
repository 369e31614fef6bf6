/** States of all processes, of whatever lengths. */
import { cat, zeros, type DType, type Tensor } from "@nbit/torch";
import { allGather, allGatherObject, getWorldSize, isInitialized } from "@nbit/torch/distributed";

/** Whether there are other processes to hear. */
export function hasOthers(): boolean {
  return isInitialized() && getWorldSize() > 1;
}

interface Shape {
  readonly dtype: DType;
  readonly sizes: readonly number[];
}

/**
 * The tensor of every process, in the order of ranks. They may differ in their sizes, not in their number of dimensions;
 * of a process that has none yet (null) it is an empty one. Every process must call it; blocks.
 *
 * @returns Nothing where no process has any.
 */
export function gatherAll(mine: Tensor | null, device: string): Tensor[] {
  const shapes = allGatherObject<Shape | null>(mine === null ? null : { dtype: mine.dtype, sizes: mine.shape });
  const known = shapes.find((shape) => shape !== null);
  if (known === undefined || known === null) return [];
  const sizesOf = (shape: Shape | null): readonly number[] => shape?.sizes ?? known.sizes.map(() => 0);
  const most = known.sizes.map((_, dim) => Math.max(...shapes.map((shape) => sizesOf(shape)[dim] ?? 0)));
  const own = mine ?? zeros([...sizesOf(null)], { dtype: known.dtype, device });
  return allGather(paddedTo(own, most)).map((t, rank) =>
    sizesOf(shapes[rank] ?? null).reduce(
      (part, size, dim) => (size === most[dim] ? part : part.narrow(dim, 0, size)),
      t,
    ),
  );
}

function paddedTo(t: Tensor, sizes: readonly number[]): Tensor {
  const grown = sizes.reduce((part, size, dim) => {
    const missing = size - (part.shape[dim] ?? 0);
    if (missing <= 0) return part;
    const more = part.shape.map((n, i) => (i === dim ? missing : n));
    return cat([part, zeros(more, { dtype: part.dtype, device: part.device })], dim);
  }, t);
  return grown.contiguous();
}
