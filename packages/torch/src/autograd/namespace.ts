/** As in torch.autograd. The names stand at the top level, too, but for what is of its own here. */
export { backward, grad } from "./backward.js";
export { enableGrad, inferenceMode, isGradEnabled, noGrad, setGradEnabled } from "./modes.js";
export { AutogradFunction as Function, FunctionContext } from "./function.js";
export { AnomalyError, detectAnomaly, isAnomalyEnabled, setDetectAnomaly } from "./anomaly.js";
export { gradcheck, GradcheckError, gradgradcheck } from "./gradcheck.js";
export * as functional from "./functional.js";
export * as graph from "./graph.js";
export * as profiler from "../profiler/autograd-profiler.js";
