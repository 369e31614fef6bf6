import { comparesWithTwin, runs } from "./check.js";
import { train } from "nbit-examples/vit/train";

comparesWithTwin({ name: "vit", train, steps: 16, steps16: 12 });
runs("vit", /^step 1: loss /m);
