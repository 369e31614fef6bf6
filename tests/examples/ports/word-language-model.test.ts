import { comparesWithTwin, runs } from "./check.js";
import { train } from "nbit-examples/word-language-model/train";

for (const network of ["LSTM", "Transformer"] as const)
  comparesWithTwin({
    name: "word-language-model",
    train: (options) => train(network, options),
    steps: 24,
    steps16: 12,
    part: network,
  });
runs("word-language-model", /^LSTM\nstep 1: loss .*\nTransformer\nstep 1: loss /);
