import { comparesWithTwin, runs } from "./check.js";
import { train } from "nbit-examples/dcgan/train";

comparesWithTwin({ name: "dcgan", train, steps: 12, steps16: 4, falling: ["discriminator"] });
runs("dcgan", /^step 1: loss /);
