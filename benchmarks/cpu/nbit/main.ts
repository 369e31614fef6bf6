/**
 * One measurement of nbit, in a process of its own: `node main.js '<job as JSON>'` prints one line of JSON.
 *
 * What a job does not use is not imported, so that its start-up and memory are those of such a program.
 */
import { setNumThreads, ones } from "@nbit/torch";
import type { Job } from "../job.js";
import { sinceStart, usage } from "./meter.js";

async function measure(job: Job): Promise<object> {
  switch (job.kind) {
    case "step":
      setNumThreads(job.threads);
      return job.side !== "loop"
        ? await (await import("./trainer.js")).trainerSteps(job)
        : (await import("./loop.js")).loopSteps(job);
    case "add":
      setNumThreads(job.threads);
      return (await import("./others.js")).smallAdd();
    case "optimizer":
      setNumThreads(job.threads);
      return await (await import("./others.js")).optimizerSteps(job.reference === true);
    case "mnist":
      setNumThreads(job.threads);
      return (await import("./mnist.js")).readMnist(job);
    case "overhead":
      setNumThreads(job.threads);
      return await (await import("./overhead.js")).overhead(job);
    case "memory":
      setNumThreads(1);
      return await (await import("./trainer.js")).memoryOfSteps(job);
    case "start":
      await import("@nbit/lightning");
      ones([1]).item();
      return { us: sinceStart() * 1e6, losses: [] };
    default:
      throw new Error(`expected a job for nbit. Received: ${job.kind}.`);
  }
}

process.on("warning", () => undefined); // emulated bfloat16 is said in the report
const result = await measure(JSON.parse(process.argv[2] ?? "{}") as Job);
console.log(JSON.stringify({ ...result, ...usage() }));
