/**
 * A network that paints pictures in the style of one, by a perceptual loss. The features behind the loss are a small
 * network's with drawn weights, in place of VGG16's.
 *
 *     node examples/dist/neural-style/main.js [--precision 32|bf16|16] [--steps 60]
 */
import { runOptions } from "../shared/options.js";
import { train } from "./train.js";

train(runOptions());
