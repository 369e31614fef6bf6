/** The base of learning rate schedulers: chainable, as PyTorch's. */
import { ArgumentError, NbitError } from "../../errors.js";
import type { HookHandle } from "../../hooks.js";
import { atMost } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import type { Optimizer } from "../optimizer.js";
import type { ParamGroup } from "../state.js";
import { LAST_EPOCH, OPTIMIZER, savedRates, savedState, whole } from "./arguments.js";

export interface SchedulerArguments {
  readonly optimizer: Optimizer;
  /**
   * Steps that were made before, less one; the groups then have the `initialLr` of that time. Default -1: a new
   * schedule.
   */
  readonly lastEpoch?: number;
}
const read = signature("LRScheduler", { optimizer: OPTIMIZER, lastEpoch: LAST_EPOCH });
export type SchedulerCall = Call<
  SchedulerArguments,
  ["optimizer", "lastEpoch"],
  [optimizer: Optimizer, lastEpoch?: number]
>;

/**
 * Base of schedulers that set the learning rate of every group at each step. Classes of one's own override
 * {@link getLr}; it is first called at the first `step` of the scheduler or the optimizer, or when the constructor calls
 * `start()` last.
 * @example
 * class Halving extends optim.LRScheduler {
 *   override getLr(): number[] { return this.baseLrs.map((lr) => lr * 0.5 ** this.lastEpoch); }
 * }
 */
export abstract class LRScheduler {
  readonly optimizer: Optimizer;
  /** Number of `step()`s so far. */
  lastEpoch: number;
  /**
   * Learning rates of the groups before any scheduling. A group that is added later enters with its own at the next
   * step.
   */
  readonly baseLrs: number[];
  /** Calls of `step`, that of the constructor among them. */
  protected stepCount = 0;
  /** While the constructor's step is made. */
  protected isInitial = false;
  #begun = false;
  readonly #beforeStep: HookHandle;

  constructor(...given: SchedulerCall) {
    const { optimizer, lastEpoch } = read(given, new.target.name);
    this.optimizer = optimizer;
    this.lastEpoch = lastEpoch;
    // Of several schedules the first says where all began.
    this.baseLrs = optimizer.paramGroups.map((g, i) => {
      if (lastEpoch !== -1 && g.initialLr === undefined)
        throw new ArgumentError(
          new.target.name,
          `initialLr in group ${i} with lastEpoch ${lastEpoch}`,
          g,
          "Load the optimizer's state first.",
        );
      return g.initialLr ?? g.lr;
    });
    this.#beforeStep = optimizer.registerStepPreHook(() => this.begin());
  }
  /** The first learning rate: for the end of constructors. */
  protected start(): void {
    this.begin();
  }
  /** @internal The first step, unless it was made. */
  protected begin(): void {
    this.beginOnce(() => this.initialStep());
  }
  /** @internal */
  protected beginOnce(first: () => void): void {
    if (this.#begun) return;
    this.#begun = true;
    this.#beforeStep.remove();
    first();
  }
  /** @internal What a schedule begins with, also when another one has it begin anew. */
  protected initialStep(): void {
    this.stepCount = 0;
    this.isInitial = true;
    try {
      this.step();
    } finally {
      this.isInitial = false;
    }
  }

  /** The new learning rate of each group, at step `lastEpoch`. */
  getLr(): number[] {
    atMost(`${this.constructor.name}.getLr`, arguments, 0);
    return this.optimizer.paramGroups.map((g, i) => this.next(g, this.#baseOf(g, i), i));
  }
  /** The new learning rate of one group: what {@link getLr} asks, where it is not overridden. */
  protected next(_group: ParamGroup, _base: number, _index: number): number {
    throw new NbitError(
      `${this.constructor.name}: expected a schedule of one's own to override getLr. Received: one that does not.`,
      "SCHEDULER_RATES",
    );
  }
  /** The learning rate of a group at step `lastEpoch`, by a formula that needs no steps before it; null: there is none. */
  protected closedForm(_base: number): number | null {
    return null;
  }
  /** The momentum of each group that goes with the new rates; null: it stays. */
  protected momenta(): readonly (number | null)[] | null {
    return null;
  }
  #baseOf(g: ParamGroup, i: number): number {
    return this.baseLrs[i] ?? g.initialLr ?? g.lr;
  }

  /**
   * The next learning rate of every group; all or none. Does not synchronize.
   * @param epoch - The step to go to, by the schedule's formula of the step alone where it has one. PyTorch deprecates
   * it, but for warm restarts.
   * @throws {ArgumentError} when one would not be a finite number.
   */
  step(epoch?: number): void {
    atMost(`${this.constructor.name}.step`, arguments, 1);
    if (epoch !== undefined) whole(`${this.constructor.name}.step`, "epoch", epoch, 0);
    this.begin();
    this.stepCount++;
    try {
      this.update(epoch);
    } catch (error) {
      this.stepCount--;
      throw error;
    }
  }
  /** @internal Go to a step, or to the next. */
  protected update(epoch?: number): void {
    const last = this.lastEpoch;
    this.lastEpoch = epoch ?? last + 1;
    try {
      const closed = epoch === undefined ? null : this.#closedForms();
      this.assign(closed ?? this.getLr(), this.momenta());
    } catch (error) {
      this.lastEpoch = last;
      throw error;
    }
  }
  #closedForms(): number[] | null {
    const made = this.optimizer.paramGroups.map((g, i) => this.closedForm(this.#baseOf(g, i)));
    return made.every((lr) => lr !== null) ? made : null;
  }
  /** @internal Rates, checked, and momenta into the groups. */
  protected assign(rates: unknown, momenta: readonly (number | null)[] | null): void {
    const groups = this.optimizer.paramGroups;
    const fn = this.constructor.name;
    if (!Array.isArray(rates) || rates.length !== groups.length)
      throw new ArgumentError(fn, `getLr to return a learning rate for each of ${groups.length} groups`, rates);
    rates.forEach((rate: unknown, i) => {
      if (typeof rate !== "number" || !Number.isFinite(rate))
        throw new ArgumentError(fn, `a finite learning rate for group ${i} at step ${this.lastEpoch}`, rate);
    });
    groups.forEach((g, i) => {
      this.baseLrs[i] ??= g.initialLr ?? g.lr;
      g.initialLr ??= g.lr;
      g.lr = rates[i] as number;
      const momentum = momenta?.[i] ?? null;
      if (momentum !== null) setMomentum(this.optimizer, g, momentum);
    });
  }
  /** @internal Have another schedule go to a step by its formula of the step alone. */
  protected static goTo(schedule: LRScheduler, epoch: number): void {
    schedule.update(epoch);
  }
  /** @internal Have another schedule begin anew. */
  protected static beginAnew(schedule: LRScheduler): void {
    schedule.initialStep();
  }

  /** Learning rates of the groups, as they are. */
  getLastLr(): number[] {
    atMost(`${this.constructor.name}.getLastLr`, arguments, 0);
    this.begin();
    return this.optimizer.paramGroups.map((g) => g.lr);
  }
  /** Everything but the optimizer and what the scheduler was made with. */
  stateDict(): Record<string, unknown> {
    atMost(`${this.constructor.name}.stateDict`, arguments, 0);
    const lrs = this.getLastLr();
    return { lastEpoch: this.lastEpoch, stepCount: this.stepCount, baseLrs: [...this.baseLrs], lrs };
  }
  /**
   * Load what {@link stateDict}, or PyTorch's `state_dict`, returned, learning rates of the groups included.
   * @throws {ArgumentError} before anything changes, when it is not such a state.
   */
  loadStateDict(state: Record<string, unknown>): void {
    atMost(`${this.constructor.name}.loadStateDict`, arguments, 1);
    const fn = `${this.constructor.name}.loadStateDict`;
    const given = savedState(fn, state);
    const { lastEpoch, baseLrs, lrs, stepCount } = given;
    const groups = this.optimizer.paramGroups;
    if (stepCount !== undefined) whole(fn, "stepCount", stepCount, 0);
    // Of a sequence, those that are yet to begin are before their first step.
    whole(fn, "lastEpoch", lastEpoch, typeof stepCount === "number" && stepCount < 2 ? -16 : 0);
    const bases = savedRates(fn, "baseLrs", baseLrs, 1, groups.length);
    const rates = lrs === undefined ? null : savedRates(fn, "lrs", lrs, groups.length, groups.length);
    this.begin();
    this.lastEpoch = lastEpoch as number;
    this.stepCount = (stepCount as number | undefined) ?? (lastEpoch as number) + 1;
    this.baseLrs.splice(0, Infinity, ...bases);
    rates?.forEach((rate, i) => {
      (groups[i] as ParamGroup).lr = rate;
    });
  }
}

/** @internal Whether an optimizer has a momentum that schedules may cycle. */
export function hasMomentum({ defaults }: Optimizer): boolean {
  return "momentum" in defaults || "betas" in defaults;
}
/** @internal The first beta of Adam and its kin, or momentum. */
export function setMomentum({ defaults }: Optimizer, group: ParamGroup, momentum: number): void {
  if (!("betas" in defaults)) group["momentum"] = momentum;
  else group["betas"] = [momentum, ...(group["betas"] as readonly number[]).slice(1)];
}
