/** Recorded steps: programs of operators below autograd. */
export { isRecording, RecordedStep, refuseRecording, type RecordedStepOptions } from "./recorded-step.js";
export { FollowedStep, type FollowedSteps, type StepEnd } from "./followed-step.js";
export type { ReplayPlan } from "./plan.js";
export { Transcript, type TranscriptOptions } from "./transcript.js";
export { print } from "./print.js";
export { fromData } from "./check.js";
export type {
  Constant,
  StepArgument,
  StepBuffer,
  StepOperator,
  StepProgram,
  StepValue,
  ValueArgument,
} from "./format.js";
