/**
 * A generative adversarial network that draws digits: two optimizers under manual optimization.
 *
 *     node examples/dist/dcgan/main.js [--precision 32|bf16|16] [--steps 100]
 */
import { runOptions } from "../shared/options.js";
import { train } from "./train.js";

await train(runOptions());
