import { comparesWithTwin, runs } from "./check.js";
import { train } from "nbit-examples/unet/train";

comparesWithTwin({ name: "unet", train, steps: 24, steps16: 8 });
runs("unet", /^step 1: loss /);
