/** Schedules made of others. */
import { ArgumentError } from "../../errors.js";
import { byDefault, listOf, orNull, such, whole as wholeKind } from "../../kinds.js";
import { atMost, type OptionNames } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import type { Optimizer } from "../optimizer.js";
import { LAST_EPOCH, OPTIMIZER, savedState, whole } from "./arguments.js";
import { bisectRight } from "./numbers.js";
import { LRScheduler, type SchedulerArguments } from "./scheduler.js";

const SCHEDULERS = listOf(
  such<LRScheduler>("a scheduler that is stepped without a metric", (v) => v instanceof LRScheduler),
);

/** Their optimizer, which must be one. */
function check(fn: string, schedulers: readonly LRScheduler[], given: Optimizer | null): Optimizer {
  const [first] = schedulers;
  if (first === undefined) throw new ArgumentError(fn, "at least one scheduler", schedulers);
  const optimizer = given ?? first.optimizer;
  schedulers.forEach((each, i) => {
    if (each.optimizer !== optimizer)
      throw new ArgumentError(
        fn,
        `schedulers of one optimizer, ${optimizer.constructor.name}`,
        each,
        `It is scheduler ${i}.`,
      );
  });
  return optimizer;
}

/** States of the members. */
abstract class Composed extends LRScheduler {
  protected abstract get members(): readonly LRScheduler[];

  override getLr(): number[] {
    atMost(`${this.constructor.name}.getLr`, arguments, 0);
    return this.optimizer.paramGroups.map((g) => g.lr);
  }
  override stateDict(): Record<string, unknown> {
    atMost(`${this.constructor.name}.stateDict`, arguments, 0);
    return { lastEpoch: this.lastEpoch, lrs: this.getLastLr(), schedulers: this.members.map((s) => s.stateDict()) };
  }
  override loadStateDict(state: Record<string, unknown>): void {
    const fn = `${this.constructor.name}.loadStateDict`;
    atMost(fn, arguments, 1);
    const given = savedState(fn, state);
    const { schedulers, lastEpoch } = given;
    const { members } = this;
    if (!Array.isArray(schedulers) || schedulers.length !== members.length)
      throw new ArgumentError(fn, `states of ${members.length} schedulers`, schedulers);
    if (lastEpoch !== undefined) whole(fn, "lastEpoch", lastEpoch, 0);
    const before = members.map((member) => member.stateDict());
    const rates = this.optimizer.paramGroups.map((g) => g.lr);
    try {
      members.forEach((member, i) => member.loadStateDict(schedulers[i] as Record<string, unknown>));
    } catch (error) {
      members.forEach((member, i) => member.loadStateDict(before[i] as Record<string, unknown>));
      this.optimizer.paramGroups.forEach((g, i) => (g.lr = rates[i] as number));
      throw error;
    }
    if (lastEpoch !== undefined) this.lastEpoch = lastEpoch as number;
    const { lrs } = given;
    if (Array.isArray(lrs) && lrs.length === rates.length)
      this.optimizer.paramGroups.forEach((g, i) => (g.lr = lrs[i] as number));
  }
}

export interface SequentialArguments extends SchedulerArguments {
  /** Of this optimizer. */
  readonly schedulers: readonly LRScheduler[];
  /** The steps at which the second scheduler, the third, … begin: rising. */
  readonly milestones: readonly number[];
}
const readSequential = signature("SequentialLR", {
  optimizer: OPTIMIZER,
  schedulers: SCHEDULERS,
  milestones: listOf(wholeKind("[0, ∞)")),
  lastEpoch: LAST_EPOCH,
} satisfies OptionNames<SequentialArguments>);
type SequentialCall = Call<
  SequentialArguments,
  ["optimizer", "schedulers", "milestones", "lastEpoch"],
  [optimizer: Optimizer, schedulers: readonly LRScheduler[], milestones: readonly number[], lastEpoch?: number]
>;

/**
 * One schedule after the other, each from its first step on. They are made before, and begin anew with the rates that
 * groups had before any schedule.
 * @throws {ArgumentError} `SequentialLR: expected 1 milestone for 2 schedulers. Received: [].`
 */
export class SequentialLR extends Composed {
  readonly schedulers: readonly LRScheduler[];
  readonly milestones: readonly number[];

  constructor(...given: SequentialCall) {
    const a = readSequential(given, new.target.name);
    const fn = new.target.name;
    check(fn, a.schedulers, a.optimizer);
    const n = a.schedulers.length - 1;
    if (a.milestones.length !== n)
      throw new ArgumentError(fn, `${n} milestone${n === 1 ? "" : "s"} for ${n + 1} schedulers`, a.milestones);
    super(a.optimizer, a.lastEpoch);
    this.schedulers = [...a.schedulers];
    this.milestones = [...a.milestones];
    this.lastEpoch = a.lastEpoch + 1;
    this.start();
  }
  protected override get members(): readonly LRScheduler[] {
    return this.schedulers;
  }
  protected override begin(): void {
    this.beginOnce(() => {
      for (const member of this.schedulers) member.getLastLr(); // those of one's own begin now at the latest
      for (const g of this.optimizer.paramGroups) g.lr = g.initialLr ?? g.lr;
      undo(this.schedulers);
      LRScheduler.beginAnew(this.#at(0));
    });
  }
  #at(epoch: number): LRScheduler {
    return this.schedulers[bisectRight(this.milestones, epoch)] as LRScheduler;
  }
  override step(): void {
    atMost(`${this.constructor.name}.step`, arguments, 0);
    this.begin();
    const now = this.lastEpoch + 1;
    const i = bisectRight(this.milestones, now);
    const schedule = this.schedulers[i] as LRScheduler;
    if (i > 0 && this.milestones[i - 1] === now) LRScheduler.goTo(schedule, 0);
    else schedule.step();
    this.lastEpoch = now;
  }
}
/** As if the schedules had not begun. */
function undo(schedulers: readonly LRScheduler[]): void {
  for (const each of schedulers)
    if (each instanceof SequentialLR || each instanceof ChainedScheduler) undo(each.schedulers);
    else each.lastEpoch--;
}

export interface ChainedArguments {
  readonly schedulers: readonly LRScheduler[];
  /** Default null: theirs. */
  readonly optimizer?: Optimizer | null;
}
const readChained = signature("ChainedScheduler", {
  schedulers: SCHEDULERS,
  optimizer: byDefault(null, orNull(OPTIMIZER)),
} satisfies OptionNames<ChainedArguments>);
type ChainedCall = Call<
  ChainedArguments,
  ["schedulers", "optimizer"],
  [schedulers: readonly LRScheduler[], optimizer?: Optimizer | null]
>;

/** Several schedules at once: each step is one of all of them, in their order. */
export class ChainedScheduler extends Composed {
  readonly schedulers: readonly LRScheduler[];

  constructor(...given: ChainedCall) {
    const { schedulers, optimizer } = readChained(given, new.target.name);
    super(check(new.target.name, schedulers, optimizer));
    this.schedulers = [...schedulers];
    this.lastEpoch = 0;
    this.start();
  }
  protected override get members(): readonly LRScheduler[] {
    return this.schedulers;
  }
  protected override begin(): void {
    this.beginOnce(() => {
      for (const member of this.schedulers) member.getLastLr();
    });
  }
  override step(): void {
    atMost(`${this.constructor.name}.step`, arguments, 0);
    this.begin();
    for (const member of this.schedulers) member.step();
    this.lastEpoch++;
  }
}
