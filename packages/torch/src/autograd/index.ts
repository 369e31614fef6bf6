export { noGrad, enableGrad, inferenceMode, isGradEnabled, isInferenceModeEnabled, setGradEnabled } from "./modes.js";
export { backward, grad } from "./backward.js";
export { HeldGradients } from "./held-gradients.js";
export { AutogradFunction, FunctionContext, type AutogradFunctionClass } from "./function.js";
export {
  trace as traceOperators,
  traceMark,
  type Trace,
  type TraceEvent,
  type TraceOptions,
  type TracedTensor,
} from "./trace.js";
export {
  checkpoint,
  checkpointSequential,
  countCheckpoints,
  type CheckpointCounts,
  type CheckpointPart,
} from "./checkpoint.js";
export { savedTensorsHooks, saveOnCpu, type SaveOnCpuOptions } from "./saved-tensors.js";
