/** @nbit/xla: recorded steps as StableHLO, compiled and run through PJRT plugins. */
export { XlaError } from "./errors.js";
