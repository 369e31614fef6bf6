/** What the losses that are modules share. */
import { REDUCTIONS, reductionOf, type Reduction, type ReductionOptions } from "../../ops/losses/reduction.js";
import { signature, type Call } from "../../signature.js";
import { Module } from "../module.js";

type Old = boolean | null;
/** The arguments of a loss that has nothing but its reduction. */
export type PlainCall = Call<
  ReductionOptions,
  ["sizeAverage", "reduce", "reduction"],
  [sizeAverage?: Old, reduce?: Old, reduction?: Reduction]
>;
const read = signature("Loss", REDUCTIONS);

/** A loss whose elements' losses become one, or stay. */
export abstract class Loss extends Module {
  readonly reduction: Reduction;
  constructor(given: Parameters<typeof reductionOf<Reduction>>[0]) {
    super();
    this.reduction = reductionOf(given);
  }
}

/** One without other options. */
export abstract class PlainLoss extends Loss {
  constructor(...given: PlainCall) {
    super(read(given, new.target.name));
  }
}
