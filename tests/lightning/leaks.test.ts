import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Callback, LightningModule, Trainer } from "@nbit/lightning";
import type { PrecisionInput, TrainerOptions, TrainerView } from "@nbit/lightning";
import {
  crossEntropyLoss,
  DataLoader,
  manualSeed,
  memory,
  nn,
  optim,
  randint,
  randn,
  relu,
  setNumThreads,
  TensorDataset,
} from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { QUIET } from "../helpers/training.js";

setNumThreads(1); // tiny tensors
beforeEach(() => void manualSeed(1)); // batches and weights are the same in every run

type Pair = [Tensor, Tensor];

class Net extends LightningModule {
  readonly hidden = new nn.Linear(8, 16);
  readonly head = new nn.Linear(16, 4);
  override forward(x: Tensor): Tensor {
    return this.head.forward(relu(this.hidden.forward(x)));
  }
  override trainingStep([x, y]: Pair): { loss: Tensor; out: Tensor } {
    const out = this.forward(x);
    const loss = crossEntropyLoss(out, y);
    this.log("loss", loss, { onStep: true, onEpoch: true, progBar: true });
    return { loss, out };
  }
  override validationStep([x, y]: Pair): Tensor {
    const loss = crossEntropyLoss(this.forward(x), y);
    this.log("val_loss", loss);
    return loss;
  }
  override configureOptimizers() {
    return new optim.AdamW(this.parameters(), { lr: 0.01 });
  }
}

/** Live tensors at the starts of epochs, and after validations. */
class Counter extends Callback {
  readonly training: number[] = [];
  readonly validation: number[] = [];
  override onTrainEpochStart(): void {
    this.training.push(memory().unreleased);
  }
  override onTrainBatchEnd(_trainer: TrainerView, _module: LightningModule, outputs: Record<string, unknown>): void {
    assert.ok(!(outputs["loss"] as Tensor).disposed);
  }
  override onValidationEpochEnd(): void {
    this.validation.push(memory().unreleased);
  }
}

const CASES: readonly (readonly [PrecisionInput, TrainerOptions])[] = [
  [32, {}],
  [64, { gradientClipVal: 1 }],
  [16, { gradientClipVal: 1, accumulateGradBatches: 2 }],
  ["bf16", { accumulateGradBatches: 3, gradientClipAlgorithm: "value", gradientClipVal: 1 }],
  ["bf16-true", {}],
];

for (const [precision, options] of CASES) {
  test(`equal epochs end with equal numbers of live tensors: precision ${precision}`, async () => {
    const x = randn([48, 8]);
    const y = randint(0, 4, [48]);
    const loader = (): DataLoader<unknown, unknown> =>
      new DataLoader<unknown, unknown>(new TensorDataset(x, y), { batchSize: 8, shuffle: true });
    const counter = new Counter();
    const trainer = new Trainer({ ...QUIET, precision, maxEpochs: 6, callbacks: [counter], ...options });
    await trainer.fit(new Net(), { trainDataloaders: loader(), valDataloaders: loader() });
    assert.equal(new Set(counter.training.slice(2)).size, 1, counter.training.join(" "));
    assert.equal(new Set(counter.validation.slice(2)).size, 1, counter.validation.join(" "));
  });
}
