import { comparesWithTwin, runs } from "./check.js";
import { train } from "nbit-examples/ddpm/train";

comparesWithTwin({ name: "ddpm", train, steps: 24, steps16: 6, atEnd: ["samples"] });
runs("ddpm", /^step 1: loss /);
