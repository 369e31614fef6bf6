/** Distributions of events that come at a rate: how many, and how long until the next. */
import { signature, type Call } from "../signature.js";
import type { Tensor } from "../tensor/tensor.js";
import { parameter, VALIDATE, type ParameterLike, type Shape } from "./arguments.js";
import { ExponentialFamily } from "./distribution.js";
import { broadcastOne } from "./numbers.js";

export interface RateArguments {
  readonly rate: ParameterLike;
  readonly validateArgs?: boolean | null;
}
const readRate = signature("Poisson", { rate: parameter, validateArgs: VALIDATE });
export type RateCall = Call<
  RateArguments,
  ["rate", "validateArgs"],
  [rate: ParameterLike, validateArgs?: boolean | null]
>;

/** @internal */
export abstract class RateFamily extends ExponentialFamily {
  readonly rate: Tensor;
  constructor(...given: RateCall) {
    const a = readRate(given, new.target.name);
    const rate = broadcastOne(a.rate);
    super(rate.shape, [], a.validateArgs);
    this.rate = rate;
    this.checkParameters();
  }
  protected override expanded(shape: Shape): object {
    return { rate: this.rate.expand(shape) };
  }
}
