/** Every rank ends at the same batch, whichever was asked to. */
import assert from "node:assert/strict";
import {
  Callback,
  EarlyStopping,
  InterruptError,
  LightningModule,
  Timer,
  Trainer,
  type TrainerOptions,
  type TrainerView,
} from "@nbit/lightning";
import { DataLoader, nn, optim, tensor, TensorDataset, type Tensor } from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import { testRanks, type RankCase } from "../helpers/ranks.js";
import { SILENT } from "../helpers/training.js";

const everywhere = <T>(mine: T): T[] => dist.allGatherObject(mine);
const data = (n: number): TensorDataset<[Tensor]> =>
  new TensorDataset(tensor([...Array(n).keys()].map((i) => [i / n])).float());

class Net extends LightningModule {
  readonly net = new nn.Linear(1, 1);
  validated = 0;
  constructor(readonly at: (module: Net, batchIdx: number) => void = () => undefined) {
    super();
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.001 });
  }
  override trainingStep([x]: [Tensor], batchIdx: number): Tensor {
    this.at(this, batchIdx);
    return this.net.forward(x).mean();
  }
  override validationStep(): void {
    this.validated++;
  }
}
const trainer = (options: TrainerOptions = {}): Trainer =>
  new Trainer({ accelerator: "cpu", strategy: "ddp", maxEpochs: 50, ...SILENT, numSanityValSteps: 0, ...options });
const loaders = (n = 64): { trainDataloaders: DataLoader<[Tensor]>; valDataloaders: DataLoader<[Tensor]> } => ({
  trainDataloaders: new DataLoader(data(n), { batchSize: 2 }),
  valDataloaders: new DataLoader(data(5)),
});

const cases: Record<string, RankCase> = {
  "shouldStop on one rank ends all, after the same batch and one more validation": async (rank) => {
    const module = new Net((self) => {
      if (rank === 1 && self.globalStep === 5) self.trainer.shouldStop = true;
    });
    const t = trainer();
    await t.fit(module, loaders(4000));
    const [a, b] = everywhere([t.globalStep, t.currentEpoch, t.shouldStop]);
    assert.deepEqual(a, b);
    assert.ok(Number(a?.[0]) > 5 && t.currentEpoch === 1, String(a));
    assert.deepEqual(everywhere(module.validated), [3, 2]);
  },
  "EarlyStopping says why once, or on every rank with logRankZeroOnly: false": async (rank) => {
    const said: string[] = [];
    const log = console.log;
    for (const logRankZeroOnly of [true, false]) {
      console.log = (line) => void said.push(String(line).replace(/,.*/, ""));
      try {
        const stopping = new EarlyStopping({ monitor: "loss", patience: 1, logRankZeroOnly });
        const module = new (class extends Net {
          override trainingStep(batch: [Tensor], batchIdx: number): Tensor {
            this.log("loss", 1, { onEpoch: true, onStep: false });
            return super.trainingStep(batch, batchIdx);
          }
        })();
        await trainer({ callbacks: [stopping] }).fit(module, { trainDataloaders: new DataLoader(data(4)) });
      } finally {
        console.log = log;
      }
    }
    const line = "EarlyStopping: training ends";
    assert.deepEqual(said, rank === 0 ? [line, `[rank 0] ${line}`] : [`[rank 1] ${line}`]);
  },
  "at log steps ranks agree at once": async (rank) => {
    const module = new Net((self) => {
      if (rank === 1 && self.globalStep === 5) self.trainer.shouldStop = true;
    });
    const t = trainer({ logEveryNSteps: 1 });
    await t.fit(module, { trainDataloaders: new DataLoader(data(64), { batchSize: 2 }) });
    assert.deepEqual(everywhere(t.globalStep), [6, 6]);
  },
  "minSteps is waited for": async (rank) => {
    const module = new Net((self) => {
      if (rank === 0) self.trainer.shouldStop = true;
    });
    const t = trainer({ logEveryNSteps: 1, minSteps: 9, minEpochs: 0 });
    await t.fit(module, { trainDataloaders: new DataLoader(data(64), { batchSize: 2 }) });
    assert.deepEqual(everywhere(t.globalStep), [9, 9]);
  },
  "maxTime on one rank's clock": async (rank) => {
    const t = trainer({ callbacks: rank === 1 ? [new Timer({ duration: { seconds: 0.2 } })] : [] });
    await t.fit(new Net(), loaders(64));
    const [a, b] = everywhere(t.globalStep);
    assert.equal(a, b);
    assert.ok((a ?? 0) < 50 * 16);
  },
  "a signal to one rank interrupts all at the same batch": async (rank) => {
    const module = new Net((self) => {
      if (rank === 1 && self.globalStep === 5) process.kill(process.pid, "SIGTERM");
    });
    const t = trainer();
    const error = await t.fit(module, loaders(4000)).catch((reason: unknown) => reason);
    assert.ok(error instanceof InterruptError, String(error));
    assert.equal(error.signal, "SIGTERM");
    const [a, b] = everywhere(t.globalStep);
    assert.equal(a, b);
  },
  "a signal during validation, of which ranks have different numbers of batches": async (rank) => {
    class Ask extends Callback {
      override onValidationBatchStart(_t: TrainerView, _m: unknown, _b: unknown, batchIdx: number): void {
        if (rank === 0 && batchIdx === 0) process.kill(process.pid, "SIGINT");
      }
    }
    const t = trainer({ callbacks: [new Ask()] });
    const error = await t
      .validate(new Net(), { dataloaders: new DataLoader(data(5)) })
      .catch((reason: unknown) => reason);
    assert.ok(error instanceof InterruptError && error.signal === "SIGINT", String(error));
  },
};
testRanks(import.meta.url, 2, cases);
