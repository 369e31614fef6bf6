import { comparesWithTwin, runs } from "./check.js";
import { train } from "nbit-examples/translation/train";

comparesWithTwin({ name: "translation", train, steps: 24, steps16: 16, falling: ["loss", "unseen"] });
runs("translation", /^step 1: loss /);
