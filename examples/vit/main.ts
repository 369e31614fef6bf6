/**
 * A vision transformer on handwritten digits.
 *
 *     node examples/dist/vit/main.js [--precision 32|bf16|16] [--steps 240]
 */
import { runOptions } from "../shared/options.js";
import { train } from "./train.js";

await train(runOptions());
