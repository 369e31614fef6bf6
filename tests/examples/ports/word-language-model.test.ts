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
// oneDNN has an LSTM of 16 bits only: PyTorch trains the others in float32.
for (const network of ["GRU", "RNN_TANH", "RNN_RELU"] as const)
  comparesWithTwin({
    name: "word-language-model",
    train: (options) => train(network, options),
    steps: 24,
    precisions: [32],
    part: network,
  });
runs("word-language-model", /^LSTM\nstep 1: loss .*\nTransformer\nstep 1: loss /);
