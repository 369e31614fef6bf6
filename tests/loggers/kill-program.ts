/** Logs 25 values, each saved as the Trainer does, and kills itself: contract.test.ts. */
import { CASES } from "./cases.js";

const [, , name, folder = "", address = ""] = process.argv;
const logger = CASES.find((each) => each.name === name)?.make(folder, address);
await logger?.start();
for (let step = 0; step < 25; step++) {
  await logger?.logMetrics({ loss: step / 4 }, step);
  await logger?.save();
}
process.kill(process.pid, "SIGKILL");
