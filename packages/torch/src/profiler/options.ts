/** What a profiler is told to do. */
import { callable, flag, listOf, oneOf, such } from "../kinds.js";
import type { OptionNames } from "../options.js";
import { Module } from "../nn/module.js";
import type { Schedule } from "./schedule.js";

/** What a profiler observes. */
export const ProfilerActivity = Object.freeze({
  /** Operators, ranges of the program's own and memory, on the thread that profiles and in its backwards. */
  CPU: "cpu",
  /** Kernels and copies on GPUs, with the calls that launched them. */
  CUDA: "cuda",
} as const);
export type ProfilerActivity = (typeof ProfilerActivity)[keyof typeof ProfilerActivity];
export const ACTIVITY_BITS: Readonly<Record<ProfilerActivity, number>> = { cpu: 1, cuda: 2 };

/** @typeParam P - What is handed to `onTraceReady`: the profiler. */
export interface ProfileOptionsOf<P> {
  /** Default: all that there is. */
  readonly activities?: readonly ProfilerActivity[];
  /** What to do in each step; `step()` begins the next. Default: record from `start` to `stop`. */
  readonly schedule?: Schedule;
  /** Called at the end of each cycle of the schedule, and at `stop` where something was recorded. */
  readonly onTraceReady?: (profile: P) => void;
  /** Shapes and dtypes of the operators' arguments. Default false. */
  readonly recordShapes?: boolean;
  /** Bytes that operators allocate and free; `exportMemoryTimeline` of the profile. Default false. */
  readonly profileMemory?: boolean;
  /** The lines of the program that called the operators. Costs about 20 µs an operator. Default false. */
  readonly withStack?: boolean;
  /** FLOPs of products and convolutions, estimated from shapes. Default false. */
  readonly withFlops?: boolean;
  /** Models whose modules events are told apart by: each call of a module is a range `nn.Module: Net.layers.0`. */
  readonly withModules?: false | Module | readonly Module[];
  /** Keep the events of earlier cycles. Default false. */
  readonly accEvents?: boolean;
}

const models = such<false | Module | readonly Module[]>(
  "the model (or an array of models) whose modules to tell apart, or false",
  (value) =>
    value === false ||
    value instanceof Module ||
    (Array.isArray(value) && value.every((each: unknown) => each instanceof Module)),
);
export const PROFILE: OptionNames<ProfileOptionsOf<never>> = {
  activities: listOf(oneOf<ProfilerActivity>("cpu", "cuda")),
  schedule: callable,
  onTraceReady: callable,
  recordShapes: flag,
  profileMemory: flag,
  withStack: flag,
  withFlops: flag,
  withModules: models,
  accEvents: flag,
};
