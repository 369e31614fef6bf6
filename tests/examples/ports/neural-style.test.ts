import { comparesWithTwin, runs } from "./check.js";
import { train } from "nbit-examples/neural-style/train";

comparesWithTwin({ name: "neural-style", train, steps: 12, steps16: 6 });
runs("neural-style", /^step 1: content /);
