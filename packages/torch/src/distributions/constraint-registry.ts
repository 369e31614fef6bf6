/** Which transform leads from the real line into a constraint. */
import { NbitError, ArgumentError } from "../errors.js";
import { callable } from "../kinds.js";
import { atMost, checkArguments } from "../options.js";
import { isTensor } from "../tensor/handle.js";
import type { ParameterLike } from "./arguments.js";
import * as constraints from "./constraints.js";
import { Constraint } from "./constraints.js";
import { CatTransform, StackTransform } from "./joined-transforms.js";
import { minus } from "./numbers.js";
import { ComposeTransform, IndependentTransform, identityTransform, type Transform } from "./transform.js";
import {
  AffineTransform,
  CorrCholeskyTransform,
  ExpTransform,
  LowerCholeskyTransform,
  PositiveDefiniteTransform,
  SigmoidTransform,
  SoftmaxTransform,
  StickBreakingTransform,
} from "./transforms.js";

/** A class, by what its instances are; whatever its constructor takes. */
interface ConstraintClass<C extends Constraint> {
  readonly name: string;
  readonly prototype: C;
}
/** A constraint, its class, or what makes constraints of that class. */
export type ConstraintOf<C extends Constraint> = C | ConstraintClass<C> | { readonly constraint: ConstraintClass<C> };

/** Transforms by the class of a constraint. */
export interface ConstraintRegistry {
  /**
   * The transform into a constraint.
   * @throws {NbitError} `ERR_NOT_IMPLEMENTED` for a constraint whose class nobody registered.
   */
  (constraint: Constraint): Transform;
  /** Make transforms for a class of constraints. Without `factory`: returns what takes it. */
  register<C extends Constraint>(constraint: ConstraintOf<C>, factory: (constraint: C) => Transform): void;
  register<C extends Constraint>(
    constraint: ConstraintOf<C>,
  ): (factory: (constraint: C) => Transform) => (constraint: C) => Transform;
}

function registry(name: string): ConstraintRegistry {
  const factories = new Map<unknown, (constraint: never) => Transform>();
  const add = <C extends Constraint>(of: ConstraintOf<C>, make: (constraint: C) => Transform): void => {
    checkArguments(`${name}.register`, { factory: make }, { factory: callable });
    const type: unknown = of instanceof Constraint ? of.constructor : "constraint" in of ? of.constraint : of;
    if (typeof type !== "function" || !(type.prototype instanceof Constraint))
      throw new ArgumentError(`${name}.register`, "a constraint or a class of constraints", of);
    factories.set(type, make);
  };
  function register<C extends Constraint>(of: ConstraintOf<C>, make: (constraint: C) => Transform): void;
  function register<C extends Constraint>(
    of: ConstraintOf<C>,
  ): (make: (constraint: C) => Transform) => (constraint: C) => Transform;
  function register<C extends Constraint>(of: ConstraintOf<C>, make?: (constraint: C) => Transform): unknown {
    if (make !== undefined) return add(of, make);
    return (later: (constraint: C) => Transform) => {
      add(of, later);
      return later;
    };
  }
  const find = (constraint: Constraint, ...surplus: readonly unknown[]): Transform => {
    atMost(name, [constraint, ...surplus], 1);
    if (!(constraint instanceof Constraint)) throw new ArgumentError(name, "a constraint", constraint);
    const make = factories.get(constraint.constructor);
    if (make === undefined)
      throw new NbitError(`${name}: no transform is registered for ${constraint.toString()}.`, "ERR_NOT_IMPLEMENTED");
    return make(constraint as never);
  };
  return Object.assign(find, { register });
}

/** Bijections from the real line: what variational inference optimizes in. */
export const bijectTo = registry("bijectTo");
/** Transforms from the real line that need not be bijections, and are cheaper: what gradient descent optimizes in. */
export const transformTo = registry("transformTo");

const difference = (a: ParameterLike, b: ParameterLike): ParameterLike =>
  isTensor(a) ? (isTensor(b) ? a.sub(b) : a.sub(b)) : isTensor(b) ? minus(a, b) : a - b;
const shifted = (loc: ParameterLike, scale: ParameterLike): Transform =>
  new ComposeTransform([new ExpTransform(), new AffineTransform(loc, scale)]);
const between = (c: { readonly lowerBound: ParameterLike; readonly upperBound: ParameterLike }): Transform =>
  c.lowerBound === 0 && c.upperBound === 1
    ? new SigmoidTransform()
    : new ComposeTransform([
        new SigmoidTransform(),
        new AffineTransform(c.lowerBound, difference(c.upperBound, c.lowerBound)),
      ]);

for (const to of [bijectTo, transformTo]) {
  to.register(constraints.real, () => identityTransform);
  to.register(
    constraints.independent,
    (c) => new IndependentTransform(to(c.baseConstraint), c.reinterpretedBatchNdims),
  );
  to.register(constraints.greaterThan, (c) => shifted(c.lowerBound, 1));
  to.register(constraints.greaterThanEq, (c) => shifted(c.lowerBound, 1));
  to.register(constraints.lessThan, (c) => shifted(c.upperBound, -1));
  to.register(constraints.interval, between);
  to.register(constraints.halfOpenInterval, between);
  to.register(constraints.corrCholesky, () => new CorrCholeskyTransform());
  to.register(
    constraints.cat,
    (c: constraints.Cat) =>
      new CatTransform(
        c.cseq.map((part) => to(part)),
        c.dim,
        c.lengths,
      ),
  );
  to.register(
    constraints.stack,
    (c: constraints.Stack) =>
      new StackTransform(
        c.cseq.map((part) => to(part)),
        c.dim,
      ),
  );
}
bijectTo.register(constraints.simplex, () => new StickBreakingTransform());
transformTo.register(constraints.simplex, () => new SoftmaxTransform());
transformTo.register(constraints.lowerCholesky, () => new LowerCholeskyTransform());
transformTo.register(constraints.positiveDefinite, () => new PositiveDefiniteTransform());
transformTo.register(constraints.positiveSemidefinite, () => new PositiveDefiniteTransform());
