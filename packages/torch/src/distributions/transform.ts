/** Invertible maps with the logarithm of their volume's change: what transformed distributions are made of. */
import { ArgumentError } from "../errors.js";
import { listOf, such, whole, type Kind } from "../kinds.js";
import { zerosLike } from "../ops/index.js";
import { signature, type Call } from "../signature.js";
import type { Tensor } from "../tensor/tensor.js";
import { CACHE, cacheSizeOf, lacking, withCacheOf, type CacheCall, type Shape } from "./arguments.js";
import * as constraints from "./constraints.js";
import type { Constraint } from "./constraints.js";
import { sumRightmost } from "./numbers.js";

/**
 * Base of transforms. `call(x)` (or `forward(x)`) maps `domain` to `codomain`, `inv` is the map back, and
 * `logAbsDetJacobian(x, y)` the logarithm of |det ∂y/∂x| over the last `domain.eventDim` dimensions of `x`.
 *
 * With `cacheSize` 1 the latest pair is kept, for inverses that are slow or inexact: `inv.call(y)` returns the very `x`
 * that `y` came from.
 *
 * A subclass has `domain`, `codomain`, `compute`, `invert`, and `withCache` where it has arguments of its own.
 */
export class Transform {
  readonly cacheSize: number;
  /** @internal The latest pair. */
  cached: readonly [Tensor, Tensor] | null = null;
  /** @internal */
  inverse: Transform | null = null;

  constructor(...given: CacheCall) {
    this.cacheSize = cacheSizeOf(given, new.target.name);
  }
  get domain(): Constraint {
    throw lacking(this, "domain");
  }
  get codomain(): Constraint {
    throw lacking(this, "codomain");
  }
  get bijective(): boolean {
    return false;
  }
  /** The sign of the derivative of a monotone map of one dimension. */
  get sign(): number | Tensor {
    throw lacking(this, "sign");
  }
  get eventDim(): number {
    const { eventDim } = this.domain;
    if (eventDim === this.codomain.eventDim) return eventDim;
    throw new ArgumentError("eventDim", "domain and codomain of as many dimensions", this.constructor.name);
  }
  get inv(): Transform {
    this.inverse ??= new InverseTransform(this);
    return this.inverse;
  }
  /** The same map with a cache, or without one. */
  withCache(...given: CacheCall): Transform {
    withCacheOf(given);
    throw lacking(this, "withCache");
  }
  /** Whether another transform is the same map. */
  equals(other: Transform): boolean {
    return this === other;
  }
  protected compute(_x: Tensor): Tensor {
    throw lacking(this, "call");
  }
  protected invert(_y: Tensor): Tensor {
    throw lacking(this, "inv");
  }
  call(x: Tensor): Tensor {
    if (this.cacheSize === 0) return this.compute(x);
    if (this.cached !== null && this.cached[0] === x && !this.cached[1].disposed) return this.cached[1];
    const y = this.compute(x);
    this.cached = [x, y];
    return y;
  }
  forward(x: Tensor): Tensor {
    return this.call(x);
  }
  /** @internal */
  callInverse(y: Tensor): Tensor {
    if (this.cacheSize === 0) return this.invert(y);
    if (this.cached !== null && this.cached[1] === y && !this.cached[0].disposed) return this.cached[0];
    const x = this.invert(y);
    this.cached = [x, y];
    return x;
  }
  logAbsDetJacobian(_x: Tensor, _y: Tensor): Tensor {
    throw lacking(this, "logAbsDetJacobian");
  }
  forwardShape(shape: Shape): Shape {
    return shape;
  }
  inverseShape(shape: Shape): Shape {
    return shape;
  }
  toString(): string {
    return `${this.constructor.name}()`;
  }
}

class InverseTransform extends Transform {
  constructor(readonly of: Transform) {
    super(of.cacheSize);
    this.inverse = of;
  }
  override get domain(): Constraint {
    return this.of.codomain;
  }
  override get codomain(): Constraint {
    return this.of.domain;
  }
  override get bijective(): boolean {
    return this.of.bijective;
  }
  override get sign(): number | Tensor {
    return this.of.sign;
  }
  override withCache(...given: CacheCall): Transform {
    const cacheSize = withCacheOf(given);
    return this.of.withCache(cacheSize).inv;
  }
  override equals(other: Transform): boolean {
    return other instanceof InverseTransform && this.of.equals(other.of);
  }
  override call(x: Tensor): Tensor {
    return this.of.callInverse(x);
  }
  override callInverse(y: Tensor): Tensor {
    return this.of.call(y);
  }
  protected override compute(x: Tensor): Tensor {
    return this.of.callInverse(x);
  }
  protected override invert(y: Tensor): Tensor {
    return this.of.call(y);
  }
  override logAbsDetJacobian(x: Tensor, y: Tensor): Tensor {
    return this.of.logAbsDetJacobian(y, x).neg();
  }
  override forwardShape(shape: Shape): Shape {
    return this.of.inverseShape(shape);
  }
  override inverseShape(shape: Shape): Shape {
    return this.of.forwardShape(shape);
  }
  override toString(): string {
    return `InverseTransform(${this.of.toString()})`;
  }
}

/** A constraint over `n` dimensions more. */
const widened = (constraint: Constraint, n: number): Constraint =>
  n > 0 ? constraints.independent(constraint, n) : constraint;

const LIST = listOf(such<Transform>("a transform", (v) => v instanceof Transform));
/** @internal */
export const transformsKind: Kind<readonly Transform[]> = such("an array of transforms", (v) => LIST.accepts(v));
export interface ComposeArguments {
  /** The first is applied first. */
  readonly parts: readonly Transform[];
  /** Default 0. */
  readonly cacheSize?: number;
}
const readCompose = signature("ComposeTransform", { parts: transformsKind, cacheSize: CACHE });
export type ComposeCall = Call<
  ComposeArguments,
  ["parts", "cacheSize"],
  [parts: readonly Transform[], cacheSize?: number]
>;

/** Several transforms, one after the other. */
export class ComposeTransform extends Transform {
  readonly parts: readonly Transform[];
  constructor(...given: ComposeCall) {
    const { parts, cacheSize } = readCompose(given, new.target.name);
    super(cacheSize);
    this.parts = cacheSize === 0 ? [...parts] : parts.map((part) => part.withCache(cacheSize));
  }
  override equals(other: Transform): boolean {
    return other instanceof ComposeTransform && equalTransforms(this.parts, other.parts);
  }
  override get domain(): Constraint {
    const first = this.parts[0];
    if (first === undefined) return constraints.real;
    let dimensions = (this.parts[this.parts.length - 1] as Transform).codomain.eventDim;
    for (const part of this.parts.toReversed()) {
      dimensions += part.domain.eventDim - part.codomain.eventDim;
      dimensions = Math.max(dimensions, part.domain.eventDim);
    }
    return widened(first.domain, dimensions - first.domain.eventDim);
  }
  override get codomain(): Constraint {
    const last = this.parts[this.parts.length - 1];
    if (last === undefined) return constraints.real;
    let dimensions = (this.parts[0] as Transform).domain.eventDim;
    for (const part of this.parts) {
      dimensions += part.codomain.eventDim - part.domain.eventDim;
      dimensions = Math.max(dimensions, part.codomain.eventDim);
    }
    return widened(last.codomain, dimensions - last.codomain.eventDim);
  }
  override get bijective(): boolean {
    return this.parts.every((part) => part.bijective);
  }
  override get sign(): number | Tensor {
    return productOfSigns(this.parts);
  }
  override get inv(): Transform {
    if (this.inverse === null) {
      this.inverse = new ComposeTransform(this.parts.map((part) => part.inv).toReversed());
      this.inverse.inverse = this;
    }
    return this.inverse;
  }
  override withCache(...given: CacheCall): Transform {
    const cacheSize = withCacheOf(given);
    return this.cacheSize === cacheSize ? this : new ComposeTransform(this.parts, cacheSize);
  }
  override call(x: Tensor): Tensor {
    return this.compute(x);
  }
  protected override compute(x: Tensor): Tensor {
    return this.parts.reduce((value, part) => part.call(value), x);
  }
  protected override invert(y: Tensor): Tensor {
    return this.parts.reduceRight((value, part) => part.inv.call(value), y);
  }
  override callInverse(y: Tensor): Tensor {
    return this.invert(y);
  }
  override logAbsDetJacobian(x: Tensor, y: Tensor): Tensor {
    let dimensions = this.domain.eventDim;
    let at = x;
    let sum: Tensor | null = null;
    this.parts.forEach((part, i) => {
      const next = i === this.parts.length - 1 ? y : part.call(at);
      const term = sumRightmost(part.logAbsDetJacobian(at, next), dimensions - part.domain.eventDim);
      sum = sum === null ? term : sum.add(term);
      dimensions += part.codomain.eventDim - part.domain.eventDim;
      at = next;
    });
    return sum ?? zerosLike(x);
  }
  override forwardShape(shape: Shape): Shape {
    return this.parts.reduce((s, part) => part.forwardShape(s), shape);
  }
  override inverseShape(shape: Shape): Shape {
    return this.parts.reduceRight((s, part) => part.inverseShape(s), shape);
  }
  override toString(): string {
    return `ComposeTransform(${this.parts.map((part) => part.toString()).join(", ")})`;
  }
}

/** @internal */
export function productOfSigns(parts: readonly Transform[]): number | Tensor {
  let sign: number | Tensor = 1;
  for (const part of parts) {
    const next: number | Tensor = part.sign;
    sign = typeof sign === "number" ? (typeof next === "number" ? sign * next : next.mul(sign)) : timesSign(sign, next);
  }
  return sign;
}
const timesSign = (a: Tensor, b: number | Tensor): Tensor => (typeof b === "number" ? a.mul(b) : a.mul(b));

/** @internal */
export const equalTransforms = (a: readonly Transform[], b: readonly Transform[]): boolean =>
  a.length === b.length && a.every((part, i) => part.equals(b[i] as Transform));

export const identityTransform = new ComposeTransform([]);

export interface IndependentTransformArguments {
  readonly baseTransform: Transform;
  /** How many dimensions more. */
  readonly reinterpretedBatchNdims: number;
  /** Default 0. */
  readonly cacheSize?: number;
}
const readIndependent = signature("IndependentTransform", {
  baseTransform: such<Transform>("a transform", (v) => v instanceof Transform),
  reinterpretedBatchNdims: whole("[0, ∞)"),
  cacheSize: CACHE,
});
export type IndependentTransformCall = Call<
  IndependentTransformArguments,
  ["baseTransform", "reinterpretedBatchNdims", "cacheSize"],
  [baseTransform: Transform, reinterpretedBatchNdims: number, cacheSize?: number]
>;

/** A transform over `reinterpretedBatchNdims` dimensions more, over which the Jacobian is summed. */
export class IndependentTransform extends Transform {
  readonly baseTransform: Transform;
  readonly reinterpretedBatchNdims: number;
  constructor(...given: IndependentTransformCall) {
    const { baseTransform, reinterpretedBatchNdims, cacheSize } = readIndependent(given, new.target.name);
    super(cacheSize);
    this.reinterpretedBatchNdims = reinterpretedBatchNdims;
    this.baseTransform =
      cacheSize === 0 && baseTransform.cacheSize === 0 ? baseTransform : baseTransform.withCache(cacheSize);
  }
  override withCache(...given: CacheCall): Transform {
    const cacheSize = withCacheOf(given);
    if (this.cacheSize === cacheSize) return this;
    return new IndependentTransform(this.baseTransform, this.reinterpretedBatchNdims, cacheSize);
  }
  override get domain(): Constraint {
    return constraints.independent(this.baseTransform.domain, this.reinterpretedBatchNdims);
  }
  override get codomain(): Constraint {
    return constraints.independent(this.baseTransform.codomain, this.reinterpretedBatchNdims);
  }
  override get bijective(): boolean {
    return this.baseTransform.bijective;
  }
  override get sign(): number | Tensor {
    return this.baseTransform.sign;
  }
  protected override compute(x: Tensor): Tensor {
    return this.baseTransform.call(this.#wide(x, this.domain));
  }
  protected override invert(y: Tensor): Tensor {
    return this.baseTransform.inv.call(this.#wide(y, this.codomain));
  }
  #wide(value: Tensor, constraint: Constraint): Tensor {
    if (value.ndim < constraint.eventDim)
      throw new ArgumentError("IndependentTransform", `a tensor of at least ${constraint.eventDim} dimensions`, value);
    return value;
  }
  override logAbsDetJacobian(x: Tensor, y: Tensor): Tensor {
    return sumRightmost(this.baseTransform.logAbsDetJacobian(x, y), this.reinterpretedBatchNdims);
  }
  override forwardShape(shape: Shape): Shape {
    return this.baseTransform.forwardShape(shape);
  }
  override inverseShape(shape: Shape): Shape {
    return this.baseTransform.inverseShape(shape);
  }
  override toString(): string {
    return `IndependentTransform(${this.baseTransform.toString()}, ${this.reinterpretedBatchNdims})`;
  }
}
