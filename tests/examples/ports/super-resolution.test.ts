import { comparesWithTwin, runs } from "./check.js";
import { train } from "nbit-examples/super-resolution/train";

comparesWithTwin({ name: "super-resolution", train, steps: 12, steps16: 8 });
runs("super-resolution", /^step 1: loss /);
