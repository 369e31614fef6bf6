import { comparesWithTwin, runs } from "./check.js";
import { train } from "nbit-examples/vae/train";

comparesWithTwin({ name: "vae", train, steps: 24, steps16: 12 });
runs("vae", /^step 1: loss /);
