/** The base of learning rate schedulers: chainable, as PyTorch's. */
import { ArgumentError } from "../../errors.js";
import { Optimizer, type ParamGroup } from "../optimizer.js";

/** Base of schedulers that set the learning rate of every group as a function of the last one and of the number of steps. */
export abstract class LRScheduler {
  readonly optimizer: Optimizer;
  /** Number of `step()`s so far. */
  lastEpoch: number;
  /** Learning rates of the groups before any scheduling. */
  readonly baseLrs: number[];

  constructor(optimizer: Optimizer, lastEpoch = -1) {
    if (!(optimizer instanceof Optimizer)) throw new ArgumentError(new.target.name, "an optimizer", optimizer);
    this.optimizer = optimizer;
    this.lastEpoch = lastEpoch;
    this.baseLrs = optimizer.paramGroups.map((g) => {
      if (lastEpoch === -1 || g.initialLr === undefined) g.initialLr = g.lr;
      return g.initialLr;
    });
  }
  /** Subclasses call this last in their constructors: the first learning rate. */
  protected start(): void {
    this.step();
  }
  /** The new learning rate of a group. */
  protected abstract next(group: ParamGroup, base: number, index: number): number;

  step(): void {
    this.lastEpoch++;
    const rates = this.optimizer.paramGroups.map((g, i) => this.next(g, this.baseLrs[i] as number, i));
    this.optimizer.paramGroups.forEach((g, i) => {
      g.lr = rates[i] as number;
    });
  }
  getLastLr(): number[] {
    return this.optimizer.paramGroups.map((g) => g.lr);
  }
  /** Everything but the optimizer. */
  stateDict(): Record<string, unknown> {
    return { lastEpoch: this.lastEpoch, baseLrs: [...this.baseLrs], lrs: this.getLastLr() };
  }
  loadStateDict(state: Record<string, unknown>): void {
    const { lastEpoch, baseLrs, lrs } = state;
    if (typeof lastEpoch !== "number" || !Array.isArray(baseLrs)) throw new ArgumentError("loadStateDict", "a scheduler's state with lastEpoch and baseLrs", state);
    this.lastEpoch = lastEpoch;
    baseLrs.forEach((b, i) => {
      this.baseLrs[i] = Number(b);
    });
    if (Array.isArray(lrs))
      lrs.forEach((lr, i) => {
        const g = this.optimizer.paramGroups[i];
        if (g !== undefined) g.lr = Number(lr);
      });
  }
}
