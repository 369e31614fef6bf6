/**
 * Pictures three times as large, by a convolution whose channels become pixels.
 *
 *     node examples/dist/super-resolution/main.js [--precision 32|bf16|16] [--steps 100]
 */
import { runOptions } from "../shared/options.js";
import { train } from "./train.js";

train(runOptions());
