import { comparesWithTwin, runs } from "./check.js";
import { train } from "nbit-examples/mnist-rnn/train";

comparesWithTwin({ name: "mnist-rnn", train, steps: 24, steps16: 24 });
runs("mnist-rnn", /^step 1: loss /);
