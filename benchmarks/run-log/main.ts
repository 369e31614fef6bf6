/** What a step costs a run log: `node benchmarks/dist/run-log/main.js`. Microseconds a step, the median of nine. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LightningModule, RunLog, type StepResult, type TrainerView } from "@nbit/lightning";
import { nn, optim, zeros } from "@nbit/torch";

const STEPS = 20_000;

class Line extends LightningModule {
  readonly layer = new nn.Linear(3, 1);
}

/** What a log asks of a Trainer in a step, answered by constants: the rest of a step is not the log's. */
function trainerAt(step: () => number, every: number): TrainerView {
  return {
    isGlobalZero: true,
    rootDevice: { type: "cpu", toString: () => "cpu" },
    loggers: [],
    precision: { name: "16-mixed" },
    logEveryNSteps: every,
    ckptPath: null,
    currentEpoch: 0,
    skippedSteps: 0,
    lossScale: 65536,
    lastOutcome: { skipped: false },
    callbackMetrics: { loss: 0.123456789, acc: 0.87654321 },
    optimizers: [new optim.SGD([new nn.Parameter(zeros([1]))], { lr: 0.1 })],
    get globalStep() {
      return step();
    },
  } as unknown as TrainerView;
}

const folder = mkdtempSync(join(tmpdir(), "nbit-run-log-"));
for (const every of [50, 10, 1]) {
  let step = 0;
  const trainer = trainerAt(() => step, every);
  const log = new RunLog({ path: join(folder, `${every}.jsonl`), everyNSteps: every });
  const module = new Line();
  const batch = zeros([4, 3]);
  log.setup(trainer, module, "fit");
  log.onTrainStart(trainer);
  const measured = Array.from({ length: 10 }, () => {
    const start = performance.now();
    for (let i = 0; i < STEPS; i++) {
      step++;
      log.onTrainBatchEnd(trainer, module, {} as StepResult, batch);
    }
    return ((performance.now() - start) * 1000) / STEPS;
  });
  log.teardown();
  const [, ...warm] = measured;
  const median = warm.sort((a, b) => a - b)[4] ?? Number.NaN;
  console.log(`a record every ${every} steps: ${median.toFixed(2)} µs a step`);
}
rmSync(folder, { recursive: true });
