/** Cosine annealing that begins anew. */
import { ArgumentError } from "../../errors.js";
import { byDefault } from "../../kinds.js";
import { atMost, type OptionNames } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import type { Optimizer } from "../optimizer.js";
import type { ParamGroup } from "../state.js";
import { COUNT, inRange, LAST_EPOCH, NON_NEGATIVE, OPTIMIZER, savedState, whole } from "./arguments.js";
import { cosine } from "./numbers.js";
import { LRScheduler, type SchedulerArguments } from "./scheduler.js";

export interface WarmRestartsArguments extends SchedulerArguments {
  /** Steps until the first restart. */
  readonly T0: number;
  /** How many times as long each run is as the last. Default 1. */
  readonly TMult?: number;
  /** Default 0. */
  readonly etaMin?: number;
}
const read = signature("CosineAnnealingWarmRestarts", {
  optimizer: OPTIMIZER,
  T0: COUNT,
  TMult: byDefault(1, COUNT),
  etaMin: byDefault(0, NON_NEGATIVE),
  lastEpoch: LAST_EPOCH,
} satisfies OptionNames<WarmRestartsArguments>);
type WarmRestartsCall = Call<
  WarmRestartsArguments,
  ["optimizer", "T0", "TMult", "etaMin", "lastEpoch"],
  [optimizer: Optimizer, T0: number, TMult?: number, etaMin?: number, lastEpoch?: number]
>;

/**
 * Half a cosine from base to etaMin over `T0` steps, then from base again, each run `TMult` times as long as the last.
 * Loshchilov and Hutter, 2017, arXiv:1608.03983. `step(epoch)` takes parts of epochs: `step(epoch + batch / batches)`.
 */
export class CosineAnnealingWarmRestarts extends LRScheduler {
  readonly T0: number;
  readonly TMult: number;
  readonly etaMin: number;
  /** Steps since the last restart. */
  TCur: number;
  /** Steps from that restart to the next. */
  TI: number;

  constructor(...given: WarmRestartsCall) {
    const a = read(given, new.target.name);
    super(a.optimizer, a.lastEpoch);
    this.T0 = this.TI = a.T0;
    this.TMult = a.TMult;
    this.etaMin = a.etaMin;
    this.TCur = a.lastEpoch;
    this.start();
  }
  protected override next(_: ParamGroup, base: number): number {
    return this.etaMin + ((base - this.etaMin) * (1 + cosine((Math.PI * this.TCur) / this.TI))) / 2;
  }
  override step(epoch?: number): void {
    const fn = `${this.constructor.name}.step`;
    atMost(fn, arguments, 1);
    if (epoch !== undefined) inRange(fn, "epoch", epoch);
    this.begin();
    const { TCur, TI, stepCount } = this;
    try {
      this.#goTo(epoch ?? (this.lastEpoch < 0 ? 0 : null));
      const at = epoch ?? this.lastEpoch + 1;
      this.stepCount++;
      this.update(Math.floor(at));
    } catch (error) {
      Object.assign(this, { TCur, TI, stepCount });
      throw error;
    }
  }
  /** @param epoch - Null: the next. */
  #goTo(epoch: number | null): void {
    const { T0, TMult } = this;
    if (epoch === null) {
      this.TCur++;
      if (this.TCur < this.TI) return;
      this.TCur %= this.TI;
      this.TI *= TMult;
    } else if (epoch < T0) {
      this.TI = T0;
      this.TCur = epoch;
    } else if (TMult === 1) this.TCur = epoch % T0;
    else {
      const runs = Math.trunc(Math.log((epoch / T0) * (TMult - 1) + 1) / Math.log(TMult));
      this.TCur = epoch - (T0 * (TMult ** runs - 1)) / (TMult - 1);
      this.TI = T0 * TMult ** runs;
    }
  }
  override stateDict(): Record<string, unknown> {
    atMost(`${this.constructor.name}.stateDict`, arguments, 0);
    return { ...super.stateDict(), TCur: this.TCur, TI: this.TI };
  }
  override loadStateDict(state: Record<string, unknown>): void {
    const fn = `${this.constructor.name}.loadStateDict`;
    atMost(fn, arguments, 1);
    const { TCur, TI } = savedState(fn, state);
    inRange(fn, "TCur", TCur);
    whole(fn, "TI", TI);
    if ((TCur as number) > (TI as number)) throw new ArgumentError(fn, `TCur to be at most TI (${TI as number})`, TCur);
    super.loadStateDict(state);
    this.TCur = TCur as number;
    this.TI = TI as number;
  }
}
