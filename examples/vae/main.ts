/**
 * A variational autoencoder on handwritten digits.
 *
 *     node examples/dist/vae/main.js [--precision 32|bf16|16] [--steps 300]
 */
import { runOptions } from "../shared/options.js";
import { train } from "./train.js";

train(runOptions());
