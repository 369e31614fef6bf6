import { comparesWithTwin, runs } from "./check.js";
import { train } from "nbit-examples/reinforce/train";

// The loss of an episode says nothing of the policy. In 16 bits another action follows from another rounding.
comparesWithTwin({ name: "reinforce", train, steps: 12, steps16: 6, falling: [] });
runs("reinforce", /^step 1: \d+ moments/);
