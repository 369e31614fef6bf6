/**
 * A policy that learns to balance a pole, by REINFORCE.
 *
 *     node examples/dist/reinforce/main.js [--precision 32|bf16|16] [--steps 200]
 */
import { runOptions } from "../shared/options.js";
import { train } from "./train.js";

train(runOptions());
