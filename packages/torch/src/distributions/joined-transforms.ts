/** Transforms of the pieces of a tensor, each by its own. */
import { ArgumentError } from "../errors.js";
import { byDefault, listOf, orNull, whole } from "../kinds.js";
import { signature, type Call } from "../signature.js";
import { cat, stack } from "../ops/index.js";
import { checkArguments } from "../options.js";
import type { Tensor } from "../tensor/tensor.js";
import { CACHE, withCacheOf, type CacheCall } from "./arguments.js";
import * as constraints from "./constraints.js";
import type { Constraint } from "./constraints.js";
import { sumRightmost } from "./numbers.js";
import { Transform, transformsKind } from "./transform.js";

abstract class Joined extends Transform {
  readonly transforms: readonly Transform[];
  constructor(
    tseq: readonly Transform[],
    readonly dim: number,
    cacheSize: number,
  ) {
    super(cacheSize);
    this.transforms = cacheSize === 0 ? [...tseq] : tseq.map((t) => t.withCache(cacheSize));
  }
  override get bijective(): boolean {
    return this.transforms.every((t) => t.bijective);
  }
  protected checkSize(value: Tensor, size: number): void {
    const { dim } = this;
    if (dim < -value.ndim || dim >= value.ndim || value.size(dim) !== size)
      throw new ArgumentError(this.constructor.name, `size ${size} in dimension ${dim}`, value);
  }
}

export interface CatArguments {
  readonly tseq: readonly Transform[];
  /** Default 0. */
  readonly dim?: number;
  /** Size of each piece. Default: 1. */
  readonly lengths?: readonly number[] | null;
  /** Default 0. */
  readonly cacheSize?: number;
}
const readCat = signature("CatTransform", {
  tseq: transformsKind,
  dim: byDefault(0, whole()),
  lengths: byDefault(null, orNull(listOf(whole("[0, ∞)")))),
  cacheSize: CACHE,
});
export type CatCall = Call<
  CatArguments,
  ["tseq", "dim", "lengths", "cacheSize"],
  [tseq: readonly Transform[], dim?: number, lengths?: readonly number[] | null, cacheSize?: number]
>;

/** Pieces of `lengths` along a dimension, each through its own transform, in a way that fits `cat`. */
export class CatTransform extends Joined {
  readonly lengths: readonly number[];
  constructor(...given: CatCall) {
    const { tseq, dim, lengths, cacheSize } = readCat(given, new.target.name);
    super(tseq, dim, cacheSize);
    this.lengths = lengths ?? tseq.map(() => 1);
    checkArguments("CatTransform", { lengths: this.lengths }, { lengths: listOf(whole("[0, ∞)"), tseq.length) });
  }
  override get eventDim(): number {
    return Math.max(...this.transforms.map((t) => t.eventDim));
  }
  get length(): number {
    return this.lengths.reduce((sum, n) => sum + n, 0);
  }
  override withCache(...given: CacheCall): Transform {
    const cacheSize = withCacheOf(given);
    return this.cacheSize === cacheSize ? this : new CatTransform(this.transforms, this.dim, this.lengths, cacheSize);
  }
  override get domain(): Constraint {
    return constraints.cat(
      this.transforms.map((t) => t.domain),
      this.dim,
      this.lengths,
    );
  }
  override get codomain(): Constraint {
    return constraints.cat(
      this.transforms.map((t) => t.codomain),
      this.dim,
      this.lengths,
    );
  }
  #pieces(value: Tensor): Tensor[] {
    this.checkSize(value, this.length);
    let start = 0;
    return this.lengths.map((length) => {
      start += length;
      return value.narrow(this.dim, start - length, length);
    });
  }
  protected override compute(x: Tensor): Tensor {
    return cat(
      this.#pieces(x).map((piece, i) => (this.transforms[i] as Transform).call(piece)),
      this.dim,
    );
  }
  protected override invert(y: Tensor): Tensor {
    return cat(
      this.#pieces(y).map((piece, i) => (this.transforms[i] as Transform).inv.call(piece)),
      this.dim,
    );
  }
  override logAbsDetJacobian(x: Tensor, y: Tensor): Tensor {
    const ys = this.#pieces(y);
    const { eventDim } = this;
    const terms = this.#pieces(x).map((piece, i) => {
      const transform = this.transforms[i] as Transform;
      return sumRightmost(transform.logAbsDetJacobian(piece, ys[i] as Tensor), eventDim - transform.eventDim);
    });
    const dim = (this.dim >= 0 ? this.dim - x.ndim : this.dim) + eventDim;
    return dim < 0 ? cat(terms, dim) : terms.reduce((sum, term) => sum.add(term));
  }
}

const readStack = signature("StackTransform", { tseq: transformsKind, dim: byDefault(0, whole()), cacheSize: CACHE });
export type StackCall = Call<
  Omit<CatArguments, "lengths">,
  ["tseq", "dim", "cacheSize"],
  [tseq: readonly Transform[], dim?: number, cacheSize?: number]
>;

/** Slices along a dimension, each through its own transform, in a way that fits `stack`. */
export class StackTransform extends Joined {
  constructor(...given: StackCall) {
    const { tseq, dim, cacheSize } = readStack(given, new.target.name);
    super(tseq, dim, cacheSize);
  }
  override withCache(...given: CacheCall): Transform {
    const cacheSize = withCacheOf(given);
    return this.cacheSize === cacheSize ? this : new StackTransform(this.transforms, this.dim, cacheSize);
  }
  override get domain(): Constraint {
    return constraints.stack(
      this.transforms.map((t) => t.domain),
      this.dim,
    );
  }
  override get codomain(): Constraint {
    return constraints.stack(
      this.transforms.map((t) => t.codomain),
      this.dim,
    );
  }
  #joined(value: Tensor, each: (transform: Transform, slice: Tensor, i: number) => Tensor): Tensor {
    this.checkSize(value, this.transforms.length);
    return stack(
      this.transforms.map((t, i) => each(t, value.select(this.dim, i), i)),
      this.dim,
    );
  }
  protected override compute(x: Tensor): Tensor {
    return this.#joined(x, (t, slice) => t.call(slice));
  }
  protected override invert(y: Tensor): Tensor {
    return this.#joined(y, (t, slice) => t.inv.call(slice));
  }
  override logAbsDetJacobian(x: Tensor, y: Tensor): Tensor {
    this.checkSize(y, this.transforms.length);
    return this.#joined(x, (t, slice, i) => t.logAbsDetJacobian(slice, y.select(this.dim, i)));
  }
}
