/**
 * A diffusion model that draws discs before waves, sampled by the moving average of its weights.
 *
 *     node examples/dist/ddpm/main.js [--precision 32|bf16|16] [--steps 200]
 */
import { runOptions } from "../shared/options.js";
import { train } from "./train.js";

train(runOptions());
