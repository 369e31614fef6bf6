/** When a profiler records: the phases of a cycle by step. */
import { ArgumentError } from "../errors.js";
import { byDefault, whole } from "../kinds.js";
import { checkOptions, atMost, type OptionNames, withDefaults } from "../options.js";

/** What a profiler does in a step. */
export const ProfilerAction = Object.freeze({
  NONE: "none",
  /** Collectors run, and what they collect is thrown away: first calls of a device are slow. */
  WARMUP: "warmup",
  RECORD: "record",
  /** The last step of a cycle: its trace is ready afterwards. */
  RECORD_AND_SAVE: "recordAndSave",
} as const);
export type ProfilerAction = (typeof ProfilerAction)[keyof typeof ProfilerAction];
export const ACTIONS: readonly ProfilerAction[] = Object.values(ProfilerAction);

/** What to do in a step, by its number from 0. */
export type Schedule = (step: number) => ProfilerAction;

export interface ScheduleOptions {
  /** Steps at the beginning of each cycle without a profiler. */
  readonly wait: number;
  /** Steps after them that warm the collectors up. */
  readonly warmup: number;
  /** Steps after those that are recorded. */
  readonly active: number;
  /** Cycles; 0 (default): for as long as the profiler runs. */
  readonly repeat?: number;
  /** Steps before the first cycle. Default 0. */
  readonly skipFirst?: number;
  /** Not 0: the first cycle has no `wait`. Default 0. */
  readonly skipFirstWait?: number;
}
const STEPS = whole("[0, ∞)");
const ROWS = {
  wait: STEPS,
  warmup: STEPS,
  active: whole("[1, ∞)"),
  repeat: byDefault(0, STEPS),
  skipFirst: byDefault(0, STEPS),
  skipFirstWait: byDefault(0, STEPS),
} satisfies OptionNames<ScheduleOptions>;

/**
 * Cycles of `wait` steps without, `warmup` steps that warm up, and `active` steps that are recorded.
 *
 * @example profile({ schedule: schedule({ wait: 1, warmup: 1, active: 3, repeat: 2 }), onTraceReady: (p) => … })
 * @throws {ArgumentError} `schedule: expected active to be a whole number ≥ 1. Received: 0.`
 */
export function schedule(options: ScheduleOptions): Schedule {
  atMost("schedule", arguments, 1);
  checkOptions("schedule", options, ROWS);
  for (const name of ["wait", "warmup", "active"] as const)
    if (options[name] === undefined)
      throw new ArgumentError("schedule", `${name} to be ${ROWS[name].words}`, undefined);
  const { wait, warmup, active, repeat, skipFirst, skipFirstWait } = withDefaults(options, ROWS);
  const cycle = wait + warmup + active;
  return (step) => {
    if (step < skipFirst) return ProfilerAction.NONE;
    const at = step - skipFirst + (skipFirstWait === 0 ? 0 : wait);
    if (repeat > 0 && at / cycle >= repeat) return ProfilerAction.NONE;
    const inCycle = at % cycle;
    if (inCycle < wait) return ProfilerAction.NONE;
    if (inCycle < wait + warmup) return ProfilerAction.WARMUP;
    return inCycle < cycle - 1 ? ProfilerAction.RECORD : ProfilerAction.RECORD_AND_SAVE;
  };
}
