/** Distributions that are given probabilities or their logits. */
import { signature, type Call } from "../signature.js";
import type { Tensor } from "../tensor/tensor.js";
import { checkOneGiven, oneOfTwo, VALIDATE, type ParameterLike, type Shape } from "./arguments.js";
import * as constraints from "./constraints.js";
import type { Constraint } from "./constraints.js";
import { Distribution, ExponentialFamily } from "./distribution.js";
import { broadcastOne, ProbsOrLogits } from "./numbers.js";

export interface BinaryArguments {
  /** Probabilities of 1; this or `logits`. */
  readonly probs?: ParameterLike | null;
  /** log(p / (1 − p)). */
  readonly logits?: ParameterLike | null;
  readonly validateArgs?: boolean | null;
}
/** @internal Arguments of which one is given. */
export const ODDS = { probs: oneOfTwo, logits: oneOfTwo };
const readBinary = signature("Bernoulli", { ...ODDS, validateArgs: VALIDATE });
export type BinaryCall = Call<
  BinaryArguments,
  ["probs", "logits", "validateArgs"],
  [probs?: ParameterLike | null, logits?: ParameterLike | null, validateArgs?: boolean | null]
>;
/** @internal */
export const binaryOf = (given: BinaryCall, fn: string): ReturnType<typeof readBinary> => readBinary(given, fn);

/** @internal What was given of the two. */
export function oddsOf(
  fn: string,
  a: { readonly probs: ParameterLike | null; readonly logits: ParameterLike | null },
  clamps = false,
): ProbsOrLogits {
  checkOneGiven(fn, { probs: a.probs, logits: a.logits });
  const given = (a.probs ?? a.logits) as ParameterLike;
  return new ProbsOrLogits(a.probs === null ? "logits" : "probs", broadcastOne(given), true, clamps);
}

/** @internal */
export const BINARY_CONSTRAINTS = { probs: constraints.unitInterval, logits: constraints.real };

/** @internal Distributions that are given probabilities or their logits. */
export abstract class OddsFamily extends Distribution {
  readonly odds: ProbsOrLogits;
  constructor(odds: ProbsOrLogits, batchShape: Shape, validateArgs: boolean | null) {
    super(batchShape, [], validateArgs);
    this.odds = odds;
  }
  protected override expanded(shape: Shape): object {
    return { odds: this.odds.expand(shape) };
  }
  protected override follows(name: string): boolean {
    return isOther(this.odds, name);
  }
  get probs(): Tensor {
    return this.odds.probs;
  }
  get logits(): Tensor {
    return this.odds.logits;
  }
  get paramShape(): Shape {
    return this.odds.param.shape;
  }
}

/** @internal The same of one probability each, where they are an exponential family: a class has but one base. */
export abstract class BinaryFamily extends ExponentialFamily {
  readonly odds: ProbsOrLogits;
  constructor(odds: ProbsOrLogits, validateArgs: boolean | null) {
    super(odds.param.shape, [], validateArgs);
    this.odds = odds;
  }
  protected override expanded(shape: Shape): object {
    return { odds: this.odds.expand(shape) };
  }
  protected override follows(name: string): boolean {
    return isOther(this.odds, name);
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return BINARY_CONSTRAINTS;
  }
  get probs(): Tensor {
    return this.odds.probs;
  }
  get logits(): Tensor {
    return this.odds.logits;
  }
  get paramShape(): Shape {
    return this.odds.param.shape;
  }
}
/** Whether `name` is that of the two which was not given. */
const isOther = (odds: ProbsOrLogits, name: string): boolean =>
  (name === "probs" || name === "logits") && name !== odds.given;
