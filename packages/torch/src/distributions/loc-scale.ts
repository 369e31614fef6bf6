/** Distributions that stand somewhere and are so wide. */
import { signature, type Call } from "../signature.js";
import type { Tensor } from "../tensor/tensor.js";
import { parameter, VALIDATE, type ParameterLike, type Shape } from "./arguments.js";
import * as constraints from "./constraints.js";
import type { Constraint } from "./constraints.js";
import { Distribution } from "./distribution.js";

/** Where a distribution stands and how wide it is. */
export interface LocScaleArguments {
  readonly loc: ParameterLike;
  /** > 0. */
  readonly scale: ParameterLike;
  /** Look at arguments. Default: `Distribution.setDefaultValidateArgs`. */
  readonly validateArgs?: boolean | null;
}
const readLocScale = signature("Normal", { loc: parameter, scale: parameter, validateArgs: VALIDATE });
/** @internal */
export const locScaleOf = (given: LocScaleCall, fn: string): ReturnType<typeof readLocScale> => readLocScale(given, fn);
export type LocScaleCall = Call<
  LocScaleArguments,
  ["loc", "scale", "validateArgs"],
  [loc: ParameterLike, scale: ParameterLike, validateArgs?: boolean | null]
>;
export interface ScaleArguments {
  /** > 0. */
  readonly scale: ParameterLike;
  readonly validateArgs?: boolean | null;
}
const readScale = signature("HalfNormal", { scale: parameter, validateArgs: VALIDATE });
export type ScaleCall = Call<
  ScaleArguments,
  ["scale", "validateArgs"],
  [scale: ParameterLike, validateArgs?: boolean | null]
>;
/** @internal */
export const scaleOf = (given: ScaleCall, fn: string): ReturnType<typeof readScale> => readScale(given, fn);

/** @internal */
export const LOC_SCALE_CONSTRAINTS = { loc: constraints.real, scale: constraints.positive };

/** @internal Distributions over all numbers, with their mode at `loc`. Normal is no such one: it is an exponential family. */
export abstract class LocScaleFamily extends Distribution {
  readonly loc: Tensor;
  readonly scale: Tensor;
  /** @param loc - Of the same shape as `scale`. */
  constructor(loc: Tensor, scale: Tensor, validateArgs: boolean | null) {
    super(loc.shape, [], validateArgs);
    this.loc = loc;
    this.scale = scale;
  }
  protected override expanded(shape: Shape): object {
    return { loc: this.loc.expand(shape), scale: this.scale.expand(shape) };
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return LOC_SCALE_CONSTRAINTS;
  }
  override get support(): Constraint {
    return constraints.real;
  }
  override get hasRsample(): boolean {
    return true;
  }
  override get mode(): Tensor {
    return this.loc;
  }
}
