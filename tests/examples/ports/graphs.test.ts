import { comparesWithTwin, runs } from "./check.js";
import { train } from "nbit-examples/graphs/train";

for (const network of ["gcn", "gat"] as const)
  comparesWithTwin({ name: "graphs", train: (options) => train(network, options), steps: 40, part: network });
runs("graphs", /^GCN\nstep 1: loss .*\nGAT\nstep 1: loss .* right\n$/);
