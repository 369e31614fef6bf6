/**
 * Graph networks that find the field of a paper from its words and its links: convolutions (GCN) and attention (GAT).
 *
 *     node examples/dist/graphs/main.js [--precision 32|bf16|16] [--steps 100]
 */
import { runOptions } from "../shared/options.js";
import { train } from "./train.js";

const options = runOptions();
for (const network of ["gcn", "gat"] as const) {
  console.log(network.toUpperCase());
  train(network, options);
}
