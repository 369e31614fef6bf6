/** Distributions that are given probabilities or their logits. */
import { signature, type Call } from "../signature.js";
import type { Tensor } from "../tensor/tensor.js";
import { checkOneGiven, isScalar, oneOfTwo, VALIDATE, type ParameterLike, type Shape } from "./arguments.js";
import * as constraints from "./constraints.js";
import type { Constraint } from "./constraints.js";
import { ExponentialFamily } from "./distribution.js";
import { broadcastOne, ProbsOrLogits } from "./numbers.js";

export interface BinaryArguments {
  /** Probabilities of 1; this or `logits`. */
  readonly probs?: ParameterLike | null;
  /** log(p / (1 − p)). */
  readonly logits?: ParameterLike | null;
  readonly validateArgs?: boolean | null;
}
const readBinary = signature("Bernoulli", { probs: oneOfTwo, logits: oneOfTwo, validateArgs: VALIDATE });
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
): { readonly odds: ProbsOrLogits; readonly shape: Shape } {
  checkOneGiven(fn, { probs: a.probs, logits: a.logits });
  const given = (a.probs ?? a.logits) as ParameterLike;
  const odds = new ProbsOrLogits(a.probs === null ? "logits" : "probs", broadcastOne(given), true, clamps);
  return { odds, shape: isScalar(given) ? [] : odds.param.shape };
}

/** @internal Distributions of one probability each. */
export abstract class BinaryFamily extends ExponentialFamily {
  readonly odds: ProbsOrLogits;
  constructor(odds: ProbsOrLogits, shape: Shape, validateArgs: boolean | null) {
    super(shape, [], validateArgs);
    this.odds = odds;
  }
  protected override expanded(shape: Shape): object {
    return { odds: this.odds.expand(shape) };
  }
  protected override follows(name: string): boolean {
    return (name === "probs" || name === "logits") && name !== this.odds.given;
  }
  override get argConstraints(): Readonly<Record<string, Constraint>> {
    return { probs: constraints.unitInterval, logits: constraints.real };
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
