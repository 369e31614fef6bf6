/** Annealing to the constant rate of stochastic weight averaging. */
import { byDefault, oneOf, whole } from "../../kinds.js";
import type { OptionNames } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import type { Optimizer } from "../optimizer.js";
import type { ParamGroup } from "../state.js";
import { EACH, forGroups, LAST_EPOCH, OPTIMIZER } from "./arguments.js";
import { cosine } from "./numbers.js";
import { LRScheduler, type SchedulerArguments } from "./scheduler.js";

export interface SWALRArguments extends SchedulerArguments {
  /** The rate to go to, of all groups or of each. */
  readonly swaLr: number | readonly number[];
  /** Steps until there; 0: at once. Default 10. */
  readonly annealEpochs?: number;
  /** Default "cos". */
  readonly annealStrategy?: "cos" | "linear";
}
const read = signature("SWALR", {
  optimizer: OPTIMIZER,
  swaLr: EACH,
  annealEpochs: byDefault(10, whole("[0, ∞)")),
  annealStrategy: byDefault("cos", oneOf("cos", "linear")),
  lastEpoch: LAST_EPOCH,
} satisfies OptionNames<SWALRArguments>);
type SWALRCall = Call<
  SWALRArguments,
  ["optimizer", "swaLr", "annealEpochs", "annealStrategy", "lastEpoch"],
  [
    optimizer: Optimizer,
    swaLr: number | readonly number[],
    annealEpochs?: number,
    annealStrategy?: "cos" | "linear",
    lastEpoch?: number,
  ]
>;

/**
 * From the rates that groups have to `swaLr` over `annealEpochs` steps, where they stay. It goes on from what another
 * schedule left. Izmailov et al., 2018, arXiv:1803.05407. A group that is added later keeps its own rate.
 */
export class SWALR extends LRScheduler {
  readonly annealEpochs: number;
  readonly #anneal: (t: number) => number;

  constructor(...given: SWALRCall) {
    const a = read(given, new.target.name);
    const rates = forGroups(new.target.name, "swaLr", a.optimizer, a.swaLr);
    super(a.optimizer, a.lastEpoch);
    this.annealEpochs = a.annealEpochs;
    this.#anneal = a.annealStrategy === "cos" ? (t) => (1 - cosine(Math.PI * t)) / 2 : (t) => t;
    a.optimizer.paramGroups.forEach((g, i) => (g["swaLr"] = rates[i]));
    this.start();
  }
  #share(step: number): number {
    return this.#anneal(Math.max(0, Math.min(1, step / Math.max(1, this.annealEpochs))));
  }
  protected override next(g: ParamGroup): number {
    const { swaLr } = g;
    if (typeof swaLr !== "number") return g.lr;
    const step = this.annealEpochs === 0 ? Math.max(1, this.stepCount - 1) : this.stepCount - 1;
    const [before, now] = [this.#share(step - 1), this.#share(step)];
    const initial = before === 1 ? swaLr : (g.lr - before * swaLr) / (1 - before);
    return swaLr * now + initial * (1 - now);
  }
}
