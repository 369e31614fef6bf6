/** Where parameters lie in a flat buffer that ranks share equally. */

/** Optimizers of few bits keep the state of smaller tensors in 32 bits: those have no blocks. */
export const SMALL = 4096;

export interface Layout {
  /** Of each parameter, in elements from the beginning of the buffer. */
  readonly offsets: readonly number[];
  /** Elements of one rank. */
  readonly chunk: number;
  /** Elements of all: `chunk` times ranks. Ends in padding. */
  readonly total: number;
}
/** Elements of a parameter, from `start` until before `end`. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

const roundUp = (n: number, to: number): number => Math.ceil(n / to) * to;

/**
 * Large parameters first, each at a multiple of the block; then small ones, at multiples of 16 bytes. Where there is a
 * large one, ranks meet at multiples of the block, so that no block of an optimizer's state is on two ranks.
 */
export function planLayout(
  numels: readonly number[],
  worldSize: number,
  { blockSize, itemsize }: { readonly blockSize: number; readonly itemsize: number },
): Layout {
  const aligned = Math.max(1, Math.floor(16 / itemsize));
  const offsets = numels.map(() => 0);
  let end = 0;
  const place = (large: boolean): void =>
    numels.forEach((n, i) => {
      if (n >= SMALL !== large) return;
      end = roundUp(end, large ? blockSize : aligned);
      offsets[i] = end;
      end += n;
    });
  place(true);
  const blocks = end > 0;
  place(false);
  const chunk = Math.max(1, roundUp(Math.ceil(end / worldSize), blocks ? Math.max(blockSize, aligned) : aligned));
  return { offsets, chunk, total: chunk * worldSize };
}

/** Which elements of a parameter a rank has: none, where start is end. */
export function rangeOf({ chunk }: Layout, offset: number, numel: number, rank: number): Range {
  const start = Math.min(numel, Math.max(0, rank * chunk - offset));
  return { start, end: Math.max(start, Math.min(numel, (rank + 1) * chunk - offset)) };
}
