/** The base of learning rate schedulers: chainable, as PyTorch's. */
import { ArgumentError } from "../../errors.js";
import { atMost } from "../../options.js";
import { Optimizer } from "../optimizer.js";
import type { ParamGroup } from "../state.js";
import { savedRates, savedState, whole } from "./arguments.js";

/**
 * Base of schedulers that set the learning rate of every group as a function of the last one and of the number of
 * steps.
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

  /**
   * @param lastEpoch - Steps that were made before, less one; the groups then have the `initialLr` of that time.
   * Default -1: a new schedule.
   */
  constructor(optimizer: Optimizer, lastEpoch = -1) {
    atMost(new.target.name, arguments, 2);
    if (!(optimizer instanceof Optimizer)) throw new ArgumentError(new.target.name, "an optimizer", optimizer);
    whole(new.target.name, "lastEpoch", lastEpoch, -1);
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
  }
  /** Subclasses call this last in their constructors: the first learning rate. */
  protected start(): void {
    this.step();
  }
  /** The new learning rate of a group. */
  protected abstract next(group: ParamGroup, base: number, index: number): number;

  /**
   * The next learning rate of every group; all or none. @throws {ArgumentError} when one would not be a finite number.
   */
  step(): void {
    atMost(`${this.constructor.name}.step`, arguments, 0);
    const groups = this.optimizer.paramGroups;
    const last = this.lastEpoch;
    let rates: number[];
    this.lastEpoch = last + 1;
    try {
      rates = groups.map((g, i) => {
        const rate: unknown = this.next(g, this.baseLrs[i] ?? g.initialLr ?? g.lr, i);
        if (typeof rate !== "number" || !Number.isFinite(rate))
          throw new ArgumentError(
            this.constructor.name,
            `a finite learning rate for group ${i} at step ${this.lastEpoch}`,
            rate,
          );
        return rate;
      });
    } catch (error) {
      this.lastEpoch = last;
      throw error;
    }
    groups.forEach((g, i) => {
      this.baseLrs[i] ??= g.initialLr ?? g.lr;
      g.initialLr ??= g.lr;
      g.lr = rates[i] as number;
    });
  }
  getLastLr(): number[] {
    atMost(`${this.constructor.name}.getLastLr`, arguments, 0);
    return this.optimizer.paramGroups.map((g) => g.lr);
  }
  /** Everything but the optimizer and what the scheduler was made with. */
  stateDict(): Record<string, unknown> {
    atMost(`${this.constructor.name}.stateDict`, arguments, 0);
    return { lastEpoch: this.lastEpoch, baseLrs: [...this.baseLrs], lrs: this.getLastLr() };
  }
  /**
   * Load what {@link stateDict}, or PyTorch's `state_dict`, returned, learning rates of the groups included. @throws {ArgumentError} before anything
   * changes, when it is not such a state.
   */
  loadStateDict(state: Record<string, unknown>): void {
    atMost(`${this.constructor.name}.loadStateDict`, arguments, 1);
    const fn = `${this.constructor.name}.loadStateDict`;
    const { lastEpoch, baseLrs, lrs } = savedState(fn, state);
    const groups = this.optimizer.paramGroups;
    whole(fn, "lastEpoch", lastEpoch, 0);
    const bases = savedRates(fn, "baseLrs", baseLrs, 1, groups.length);
    const rates = lrs === undefined ? null : savedRates(fn, "lrs", lrs, groups.length, groups.length);
    this.lastEpoch = lastEpoch as number;
    this.baseLrs.splice(0, Infinity, ...bases);
    rates?.forEach((rate, i) => {
      (groups[i] as ParamGroup).lr = rate;
    });
  }
}
