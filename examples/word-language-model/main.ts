/**
 * Which word comes next: a long short-term memory, and a transformer, on the first chapters of Moby Dick.
 *
 *     node examples/dist/word-language-model/main.js [--precision 32|bf16|16] [--steps 240]
 */
import { runOptions } from "../shared/options.js";
import { train } from "./train.js";

const options = runOptions();
for (const network of ["LSTM", "Transformer"] as const) {
  console.log(network);
  train(network, options);
}
