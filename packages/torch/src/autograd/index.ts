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
