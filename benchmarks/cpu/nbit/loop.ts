/** Training steps as a plain loop. */
import { autocast, optim, scope, seedEverything, type Tensor } from "@nbit/torch";
import type { OptimizerSpec, StepJob } from "../job.js";
import { build, type Workload } from "../models/index.js";
import { Meter } from "./meter.js";

export function optimizerOf({ net }: Workload, { name, fused, lr }: OptimizerSpec): optim.Optimizer {
  const how = fused ? { lr, fused } : { lr };
  if (name === "SGD") return new optim.SGD(net.parameters(), { momentum: 0.9, ...how });
  return new optim[name](net.parameters(), how);
}

export function loopSteps(job: StepJob): object {
  seedEverything(42);
  const workload = build(job.model);
  const opt = optimizerOf(workload, job.optimizer);
  const meter = new Meter(job);
  const forward = (): Tensor => workload.loss(workload.net.forward(workload.x), workload.y);
  for (let i = 0; i < meter.plan.total; i++) {
    scope(() => {
      opt.zeroGrad();
      const loss = job.precision === "bf16" ? autocast({ deviceType: "cpu", dtype: "bfloat16" }, forward) : forward();
      if (i < meter.plan.checked) meter.losses.push(loss.item());
      loss.backward();
      opt.step();
    });
    meter.tick(i + 1);
  }
  return meter.result();
}
