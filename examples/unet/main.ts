/**
 * A U-Net that finds discs before waves, with autocast, a loss scaler and clipped gradients.
 *
 *     node examples/dist/unet/main.js [--precision 32|bf16|16] [--steps 60]
 */
import { runOptions } from "../shared/options.js";
import { train } from "./train.js";

train(runOptions());
