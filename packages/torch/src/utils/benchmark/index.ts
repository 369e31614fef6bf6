/** As in torch.utils.benchmark: measuring functions, and comparing what was measured. */
export { Compare } from "./compare.js";
export { Measurement, selectUnit, trimSigfig, type TaskSpec } from "./measurement.js";
export { Timer, type AdaptiveOptions, type AutorangeOptions, type TimerOptions } from "./timer.js";
