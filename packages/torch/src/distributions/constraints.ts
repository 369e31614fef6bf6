/**
 * Sets of values: the supports of distributions, and what their parameters must be. `check` says which values (of the
 * rightmost `eventDim` dimensions each) lie in the set.
 */
import { ArgumentError, NbitError } from "../errors.js";
import { byDefault, flag, listOf, orNull, such, whole, type Kind } from "../kinds.js";
import { signature, type Call } from "../signature.js";
import { cat as concatenate, full, isclose, linalg, stack as stackTensors } from "../ops/index.js";
import { atMost, checkArguments } from "../options.js";
import { finfo } from "../tensor/dtype.js";
import type { Tensor } from "../tensor/tensor.js";
import { parameter, type ParameterLike } from "./arguments.js";
import { diagonal, mT } from "./numbers.js";

/** A set of values. */
export class Constraint {
  constructor() {
    atMost(new.target.name, arguments, 0);
  }
  get isDiscrete(): boolean {
    return false;
  }
  /** How many of the last dimensions make one value. */
  get eventDim(): number {
    return 0;
  }
  /**
   * @param value - Values, in the last `eventDim` dimensions.
   * @returns bool, of the shape before those dimensions.
   */
  check(_value: Tensor): Tensor {
    throw new NbitError(`${this.constructor.name}: check is not defined for it.`, "ERR_NOT_IMPLEMENTED");
  }
  toString(): string {
    return `${this.constructor.name}()`;
  }
}
const readBounds = signature("Interval", { lowerBound: parameter, upperBound: parameter });
export type BoundsCall = Call<
  { readonly lowerBound: ParameterLike; readonly upperBound: ParameterLike },
  ["lowerBound", "upperBound"],
  [lowerBound: ParameterLike, upperBound: ParameterLike]
>;
const readLower = signature("GreaterThan", { lowerBound: parameter });
export type LowerCall =
  readonly [lowerBound: ParameterLike] | readonly [options: { readonly lowerBound: ParameterLike }];
const readUpper = signature("LessThan", { upperBound: parameter });
export type UpperCall =
  readonly [upperBound: ParameterLike] | readonly [options: { readonly upperBound: ParameterLike }];
const aConstraint: Kind<Constraint> = such("a constraint", (v) => v instanceof Constraint);

const bound = (value: ParameterLike): string => (typeof value === "number" ? String(value) : value.toString());
const isAtLeast = (value: Tensor, lower: ParameterLike): Tensor =>
  typeof lower === "number" ? value.ge(lower) : lower.le(value);
const isAtMost = (value: Tensor, upper: ParameterLike): Tensor =>
  typeof upper === "number" ? value.le(upper) : value.le(upper);
const isWhole = (value: Tensor): Tensor => value.remainder(1).eq(0);

const readDependent = signature(
  "Dependent",
  { isDiscrete: byDefault(null, orNull(flag)), eventDim: byDefault(null, orNull(whole("[0, ∞)"))) },
  0,
);
/** What is known of it nevertheless. */
export type DependentCall = readonly [
  options?: { readonly isDiscrete?: boolean | null; readonly eventDim?: number | null },
];
/** What depends on values that only a distribution has: it cannot be checked. */
export class Dependent extends Constraint {
  /** @internal */
  readonly discrete: boolean | null;
  /** @internal */
  readonly dimensions: number | null;
  constructor(...given: DependentCall) {
    super();
    const { isDiscrete, eventDim } = readDependent(given);
    this.discrete = isDiscrete;
    this.dimensions = eventDim;
  }
  override get isDiscrete(): boolean {
    if (this.discrete === null) throw unknown("isDiscrete");
    return this.discrete;
  }
  override get eventDim(): number {
    if (this.dimensions === null) throw unknown("eventDim");
    return this.dimensions;
  }
  override check(): Tensor {
    throw unknown("check");
  }
}
const unknown = (what: string): NbitError =>
  new NbitError(`constraints.dependent: ${what} depends on a distribution's parameters.`, "ERR_DEPENDENT_CONSTRAINT");

const readIndependent = signature("IndependentConstraint", {
  baseConstraint: aConstraint,
  reinterpretedBatchNdims: whole("[0, ∞)"),
});
export type IndependentConstraintCall = Call<
  { readonly baseConstraint: Constraint; readonly reinterpretedBatchNdims: number },
  ["baseConstraint", "reinterpretedBatchNdims"],
  [baseConstraint: Constraint, reinterpretedBatchNdims: number]
>;
/** A constraint on `reinterpretedBatchNdims` more dimensions: all of their values must be in the set. */
export class IndependentConstraint extends Constraint {
  readonly baseConstraint: Constraint;
  readonly reinterpretedBatchNdims: number;
  constructor(...given: IndependentConstraintCall) {
    super();
    const { baseConstraint, reinterpretedBatchNdims } = readIndependent(given);
    this.baseConstraint = baseConstraint;
    this.reinterpretedBatchNdims = reinterpretedBatchNdims;
  }
  override get isDiscrete(): boolean {
    return this.baseConstraint.isDiscrete;
  }
  override get eventDim(): number {
    return this.baseConstraint.eventDim + this.reinterpretedBatchNdims;
  }
  override check(value: Tensor): Tensor {
    const result = this.baseConstraint.check(value);
    const n = this.reinterpretedBatchNdims;
    if (result.ndim < n) throw new ArgumentError("check", `a value of at least ${this.eventDim} dimensions`, value);
    return result.reshape([...result.shape.slice(0, result.ndim - n), -1]).all(-1);
  }
  override toString(): string {
    return `IndependentConstraint(${this.baseConstraint.toString()}, ${this.reinterpretedBatchNdims})`;
  }
}
const readMixture = signature("MixtureSameFamilyConstraint", { baseConstraint: aConstraint });
export type MixtureConstraintCall =
  readonly [baseConstraint: Constraint] | readonly [options: { readonly baseConstraint: Constraint }];
/** Possible outcomes of a mixture: those of its components, which have one batch dimension more. */
export class MixtureSameFamilyConstraint extends Constraint {
  readonly baseConstraint: Constraint;
  constructor(...given: MixtureConstraintCall) {
    super();
    this.baseConstraint = readMixture(given).baseConstraint;
  }
  override get isDiscrete(): boolean {
    return this.baseConstraint.isDiscrete;
  }
  override get eventDim(): number {
    return this.baseConstraint.eventDim;
  }
  override check(value: Tensor): Tensor {
    const n = this.eventDim;
    if (value.ndim < n) throw new ArgumentError("check", `a value of at least ${n} dimensions`, value);
    const result = this.baseConstraint.check(value.unsqueeze(-1 - n));
    return result.reshape([...result.shape.slice(0, value.ndim - n), -1]).all(-1);
  }
  override toString(): string {
    return `MixtureSameFamilyConstraint(${this.baseConstraint.toString()})`;
  }
}

export class BooleanValues extends Constraint {
  override get isDiscrete(): boolean {
    return true;
  }
  override check(value: Tensor): Tensor {
    return value.eq(0).bitwiseOr(value.eq(1));
  }
}
export class OneHot extends Constraint {
  override get isDiscrete(): boolean {
    return true;
  }
  override get eventDim(): number {
    return 1;
  }
  override check(value: Tensor): Tensor {
    return value.eq(0).bitwiseOr(value.eq(1)).all(-1).bitwiseAnd(value.sum(-1).eq(1));
  }
}
export class IntegerInterval extends Constraint {
  readonly lowerBound: ParameterLike;
  readonly upperBound: ParameterLike;
  constructor(...given: BoundsCall) {
    super();
    const { lowerBound, upperBound } = readBounds(given, new.target.name);
    this.lowerBound = lowerBound;
    this.upperBound = upperBound;
  }
  override get isDiscrete(): boolean {
    return true;
  }
  override check(value: Tensor): Tensor {
    return isWhole(value).bitwiseAnd(isAtLeast(value, this.lowerBound)).bitwiseAnd(isAtMost(value, this.upperBound));
  }
  override toString(): string {
    return `IntegerInterval(lowerBound=${bound(this.lowerBound)}, upperBound=${bound(this.upperBound)})`;
  }
}
export class IntegerLessThan extends Constraint {
  readonly upperBound: ParameterLike;
  constructor(...given: UpperCall) {
    super();
    this.upperBound = readUpper(given, new.target.name).upperBound;
  }
  override get isDiscrete(): boolean {
    return true;
  }
  override check(value: Tensor): Tensor {
    return isWhole(value).bitwiseAnd(isAtMost(value, this.upperBound));
  }
  override toString(): string {
    return `IntegerLessThan(upperBound=${bound(this.upperBound)})`;
  }
}
export class IntegerGreaterThan extends Constraint {
  readonly lowerBound: ParameterLike;
  constructor(...given: LowerCall) {
    super();
    this.lowerBound = readLower(given, new.target.name).lowerBound;
  }
  override get isDiscrete(): boolean {
    return true;
  }
  override check(value: Tensor): Tensor {
    return isWhole(value).bitwiseAnd(isAtLeast(value, this.lowerBound));
  }
  override toString(): string {
    return `IntegerGreaterThan(lowerBound=${bound(this.lowerBound)})`;
  }
}
/** Every number, the infinities too; not NaN. */
export class Real extends Constraint {
  override check(value: Tensor): Tensor {
    return value.eq(value);
  }
}
export class GreaterThan extends Constraint {
  readonly lowerBound: ParameterLike;
  constructor(...given: LowerCall) {
    super();
    this.lowerBound = readLower(given, new.target.name).lowerBound;
  }
  override check(value: Tensor): Tensor {
    return typeof this.lowerBound === "number" ? value.gt(this.lowerBound) : this.lowerBound.lt(value);
  }
  override toString(): string {
    return `GreaterThan(lowerBound=${bound(this.lowerBound)})`;
  }
}
export class GreaterThanEq extends Constraint {
  readonly lowerBound: ParameterLike;
  constructor(...given: LowerCall) {
    super();
    this.lowerBound = readLower(given, new.target.name).lowerBound;
  }
  override check(value: Tensor): Tensor {
    return isAtLeast(value, this.lowerBound);
  }
  override toString(): string {
    return `GreaterThanEq(lowerBound=${bound(this.lowerBound)})`;
  }
}
export class LessThan extends Constraint {
  readonly upperBound: ParameterLike;
  constructor(...given: UpperCall) {
    super();
    this.upperBound = readUpper(given, new.target.name).upperBound;
  }
  override check(value: Tensor): Tensor {
    return typeof this.upperBound === "number" ? value.lt(this.upperBound) : value.lt(this.upperBound);
  }
  override toString(): string {
    return `LessThan(upperBound=${bound(this.upperBound)})`;
  }
}
/** [lower, upper]. */
export class Interval extends Constraint {
  readonly lowerBound: ParameterLike;
  readonly upperBound: ParameterLike;
  constructor(...given: BoundsCall) {
    super();
    const { lowerBound, upperBound } = readBounds(given, new.target.name);
    this.lowerBound = lowerBound;
    this.upperBound = upperBound;
  }
  override check(value: Tensor): Tensor {
    return isAtLeast(value, this.lowerBound).bitwiseAnd(isAtMost(value, this.upperBound));
  }
  override toString(): string {
    return `Interval(lowerBound=${bound(this.lowerBound)}, upperBound=${bound(this.upperBound)})`;
  }
}
/** [lower, upper). */
export class HalfOpenInterval extends Constraint {
  readonly lowerBound: ParameterLike;
  readonly upperBound: ParameterLike;
  constructor(...given: BoundsCall) {
    super();
    const { lowerBound, upperBound } = readBounds(given, new.target.name);
    this.lowerBound = lowerBound;
    this.upperBound = upperBound;
  }
  override check(value: Tensor): Tensor {
    const below = typeof this.upperBound === "number" ? value.lt(this.upperBound) : value.lt(this.upperBound);
    return isAtLeast(value, this.lowerBound).bitwiseAnd(below);
  }
  override toString(): string {
    return `HalfOpenInterval(lowerBound=${bound(this.lowerBound)}, upperBound=${bound(this.upperBound)})`;
  }
}
/** Vectors of numbers ≥ 0 whose sum is 1, to 1e-6. */
export class Simplex extends Constraint {
  override get eventDim(): number {
    return 1;
  }
  override check(value: Tensor): Tensor {
    return value.ge(0).all(-1).bitwiseAnd(value.sum(-1).sub(1).abs().lt(1e-6));
  }
}
/** Vectors of counts whose sum is at most a bound. */
export class MultinomialCounts extends Constraint {
  readonly upperBound: ParameterLike;
  constructor(...given: UpperCall) {
    super();
    this.upperBound = readUpper(given, new.target.name).upperBound;
  }
  override get isDiscrete(): boolean {
    return true;
  }
  override get eventDim(): number {
    return 1;
  }
  override check(value: Tensor): Tensor {
    return value
      .ge(0)
      .all(-1)
      .bitwiseAnd(isAtMost(value.sum(-1), this.upperBound));
  }
}
const isLower = (value: Tensor): Tensor =>
  value
    .tril()
    .eq(value)
    .reshape([...value.shape.slice(0, -2), -1])
    .all(-1);
export class LowerTriangular extends Constraint {
  override get eventDim(): number {
    return 2;
  }
  override check(value: Tensor): Tensor {
    return isLower(value);
  }
}
/** Lower triangular matrices with a positive diagonal. */
export class LowerCholesky extends Constraint {
  override get eventDim(): number {
    return 2;
  }
  override check(value: Tensor): Tensor {
    return isLower(value).bitwiseAnd(diagonal(value).gt(0).all(-1));
  }
}
/** Cholesky factors of correlation matrices: each row has length 1. */
export class CorrCholesky extends LowerCholesky {
  override check(value: Tensor): Tensor {
    const tolerance = finfo(value.dtype).eps * value.size(-1) * 10;
    const length = linalg.norm(value.detach(), null, -1);
    return super.check(value).bitwiseAnd(length.sub(1).abs().le(tolerance).all(-1));
  }
}
export class Square extends Constraint {
  override get eventDim(): number {
    return 2;
  }
  override check(value: Tensor): Tensor {
    return full(value.shape.slice(0, -2), value.size(-2) === value.size(-1), { device: value.device });
  }
}
export class Symmetric extends Square {
  override check(value: Tensor): Tensor {
    if (value.size(-2) !== value.size(-1)) return super.check(value);
    return isclose(value, mT(value), { atol: 1e-6 }).all(-2).all(-1);
  }
}
const isTrue = (t: Tensor): boolean => t.all().item() !== 0;
export class PositiveSemidefinite extends Symmetric {
  override check(value: Tensor): Tensor {
    const symmetric = super.check(value);
    return isTrue(symmetric) ? linalg.eigvalsh(value).ge(0).all(-1) : symmetric;
  }
}
export class PositiveDefinite extends Symmetric {
  override check(value: Tensor): Tensor {
    const symmetric = super.check(value);
    return isTrue(symmetric) ? linalg.choleskyEx(value).info.eq(0) : symmetric;
  }
}

function checkDim(value: Tensor, dim: number): void {
  if (dim < -value.ndim || dim >= value.ndim)
    throw new ArgumentError("check", `a value that has dimension ${dim}`, value);
}
const aList: Kind<readonly Constraint[]> = listOf(aConstraint);
const readCat = signature("Cat", {
  cseq: aList,
  dim: byDefault(0, whole()),
  lengths: byDefault(null, orNull(listOf(whole("[0, ∞)")))),
});
export type CatConstraintCall = Call<
  { readonly cseq: readonly Constraint[]; readonly dim?: number; readonly lengths?: readonly number[] | null },
  ["cseq", "dim", "lengths"],
  [cseq: readonly Constraint[], dim?: number, lengths?: readonly number[] | null]
>;
/** Pieces along a dimension, each with its own constraint, of `lengths` each. */
export class Cat extends Constraint {
  readonly lengths: readonly number[];
  readonly cseq: readonly Constraint[];
  readonly dim: number;
  constructor(...given: CatConstraintCall) {
    super();
    const { cseq, dim, lengths } = readCat(given);
    this.cseq = cseq;
    this.dim = dim;
    this.lengths = lengths ?? cseq.map(() => 1);
    checkArguments("Cat", { lengths: this.lengths }, { lengths: listOf(whole("[0, ∞)"), cseq.length) });
  }
  override get isDiscrete(): boolean {
    return this.cseq.some((c) => c.isDiscrete);
  }
  override get eventDim(): number {
    return Math.max(...this.cseq.map((c) => c.eventDim));
  }
  override check(value: Tensor): Tensor {
    checkDim(value, this.dim);
    let start = 0;
    const checks = this.cseq.map((c, i) => {
      const length = this.lengths[i] as number;
      const piece = value.narrow(this.dim, start, length);
      start += length;
      return c.check(piece);
    });
    return concatenate(checks, this.dim);
  }
}
const readStack = signature("Stack", { cseq: aList, dim: byDefault(0, whole()) });
export type StackConstraintCall = Call<
  { readonly cseq: readonly Constraint[]; readonly dim?: number },
  ["cseq", "dim"],
  [cseq: readonly Constraint[], dim?: number]
>;
/** Slices along a dimension, each with its own constraint. */
export class Stack extends Constraint {
  readonly cseq: readonly Constraint[];
  readonly dim: number;
  constructor(...given: StackConstraintCall) {
    super();
    const { cseq, dim } = readStack(given);
    this.cseq = cseq;
    this.dim = dim;
  }
  override get isDiscrete(): boolean {
    return this.cseq.some((c) => c.isDiscrete);
  }
  override get eventDim(): number {
    const dim = Math.max(...this.cseq.map((c) => c.eventDim));
    return this.dim + dim < 0 ? dim + 1 : dim;
  }
  override check(value: Tensor): Tensor {
    checkDim(value, this.dim);
    return stackTensors(
      this.cseq.map((c, i) => c.check(value.select(this.dim, i))),
      this.dim,
    );
  }
}

/** What makes constraints of a class, and stands for the class in {@link bijectTo} and {@link transformTo}. */
export type ConstraintFactory<C extends Constraint, A extends readonly unknown[]> = ((...args: A) => C) & {
  readonly constraint: ConstraintType<C, A>;
};
type ConstraintType<C extends Constraint, A extends readonly unknown[]> = (new (...args: A) => C) & {
  readonly name: string;
  readonly prototype: C;
};
const factory = <C extends Constraint, A extends readonly unknown[]>(
  constraint: ConstraintType<C, A>,
): ConstraintFactory<C, A> => Object.assign((...args: A) => new constraint(...args), { constraint });

export const dependent = new Dependent();
export const independent = factory(IndependentConstraint);
export const boolean = new BooleanValues();
export const oneHot = new OneHot();
export const nonnegativeInteger = new IntegerGreaterThan(0);
export const positiveInteger = new IntegerGreaterThan(1);
export const integerInterval = factory(IntegerInterval);
export const real = new Real();
export const realVector = independent(real, 1);
export const positive = new GreaterThan(0);
export const nonnegative = new GreaterThanEq(0);
export const greaterThan = factory(GreaterThan);
export const greaterThanEq = factory(GreaterThanEq);
export const lessThan = factory(LessThan);
export const multinomial = factory(MultinomialCounts);
export const unitInterval = new Interval(0, 1);
export const interval = factory(Interval);
export const halfOpenInterval = factory(HalfOpenInterval);
export const simplex = new Simplex();
export const lowerTriangular = new LowerTriangular();
export const lowerCholesky = new LowerCholesky();
export const corrCholesky = new CorrCholesky();
export const square = new Square();
export const symmetric = new Symmetric();
export const positiveSemidefinite = new PositiveSemidefinite();
export const positiveDefinite = new PositiveDefinite();
export const cat = factory(Cat);
export const stack = factory(Stack);

/** Whether a constraint can only be known from a distribution's parameters. */
export function isDependent(constraint: Constraint): constraint is Dependent {
  atMost("isDependent", arguments, 1);
  return constraint instanceof Dependent;
}
