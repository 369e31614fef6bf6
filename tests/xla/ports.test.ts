/** Training steps of programs that were moved from PyTorch: five by XLA beside five by libtorch. */
import { test } from "node:test";
import { isAsEager } from "./as-eager.js";
import { fiveSteps } from "./five-steps.js";
import { needsCpu } from "./harness.js";
import { PORTS } from "./ports.js";

/** RMSprop makes steps of one size of whatever gradient: of those that are roundings, in other directions. */
const LIMITS: Readonly<Record<string, number>> = { unet: 1e-3 };

for (const [name, task] of Object.entries(PORTS))
  test(name, needsCpu, async () => isAsEager(await fiveSteps(task), "32", undefined, LIMITS[name]));
