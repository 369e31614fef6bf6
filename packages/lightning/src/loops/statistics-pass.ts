import { noGrad } from "@nbit/torch";
import { isPromise, mustEnd, STEPS_END } from "../promises.js";
import type { Run } from "../run.js";
import { batchNormsOf } from "../callbacks/batch-norms.js";
import { makeTransfer } from "./context.js";
import { BatchScope, waitFor, type MaybePending } from "./pending.js";
import { yieldToEventLoop } from "./yield-to-event-loop.js";

/**
 * The statistics of batch norms, anew: the mean over one pass of the training batches through `trainingStep`, without
 * backward. What it logs goes nowhere; no hooks of batches are called.
 */
export async function computeStatistics(run: Run): Promise<void> {
  const norms = batchNormsOf(run.module).filter((norm) => norm.runningMean !== null && norm.trackRunningStats);
  const momenta = norms.map((norm) => norm.momentum);
  for (const norm of norms) {
    norm.resetRunningStats();
    norm.momentum = null;
  }
  try {
    await passOverTraining(run);
  } finally {
    norms.forEach((norm, i) => (norm.momentum = momenta[i] ?? null));
  }
}

async function passOverTraining(run: Run): Promise<void> {
  const { fit, module, precision } = run;
  if (fit === null) return;
  const { fetcher, progress } = fit;
  const transfer = makeTransfer(run);
  const within = new BatchScope(noGrad);
  const yieldIfDue = yieldToEventLoop();
  let batchIdx = 0;

  const forward = (batch: unknown): true => {
    const step = (): unknown =>
      mustEnd("trainingStep", module.trainingStep(batch, batchIdx), STEPS_END, "ERR_ASYNC_STEP");
    run.logTo(
      () => undefined,
      () => precision.forward(() => run.within("trainingStep", step)),
    );
    return true;
  };
  const moved = (fetched: { readonly batch: unknown } | null): MaybePending<boolean> => {
    if (fetched === null) return false;
    const batch = transfer(fetched.batch, 0);
    return isPromise(batch) ? waitFor(batch, forward) : forward(batch);
  };
  const iterate = (): MaybePending<boolean> => {
    const fetched = fetcher.next();
    return isPromise(fetched) ? waitFor(fetched, moved) : moved(fetched);
  };

  fetcher.start(progress.epoch);
  for (; ; batchIdx++) {
    const went = within.run(iterate);
    if (!(isPromise(went) ? await went : went)) break;
    run.checkInterrupt();
    const turn = yieldIfDue();
    if (turn !== null) await turn;
  }
}
