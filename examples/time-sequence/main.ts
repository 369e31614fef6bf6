/**
 * Sine waves foretold by LSTM cells, in float64 by LBFGS.
 *
 *     node examples/dist/time-sequence/main.js [--precision 64|32|bf16|16] [--steps 8]
 */
import { runOptions } from "../shared/options.js";
import { train } from "./train.js";

const chosen = process.argv.some((argument) => argument.startsWith("--precision"));
const { precision, ...options } = runOptions();
train(chosen && precision !== undefined ? { ...options, precision } : options);
