/**
 * A recurrent network on handwritten digits.
 *
 *     node examples/dist/mnist-rnn/main.js [--precision 32|bf16|16] [--steps 240]
 */
import { runOptions } from "../shared/options.js";
import { train } from "./train.js";

train(runOptions());
