/** What is logged by several ranks: one value for all, whatever each has logged; rank 0 writes. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  Callback,
  CSVLogger,
  EarlyStopping,
  LightningModule,
  ModelCheckpoint,
  rankZeroOnly,
  rankZeroWarn,
  Trainer,
  type LogOptions,
  type TrainerOptions,
  type TrainerView,
} from "@nbit/lightning";
import { MeanSquaredError, SpearmanCorrCoef } from "@nbit/metrics";
import { DataLoader, nn, optim, tensor, TensorDataset, type Tensor } from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import { testRanks, type RankCase } from "../helpers/ranks.js";
import { SILENT } from "../helpers/training.js";

const everywhere = <T>(mine: T): T[] => dist.allGatherObject(mine);
const values = (n: number): TensorDataset<[Tensor]> =>
  new TensorDataset(tensor([...Array(n).keys()].map((i) => [i])).float());
/** Work in a folder that all ranks know, and that is gone afterwards. */
async function inFolder(work: (root: string) => Promise<void>): Promise<void> {
  const root = dist.broadcastObject(dist.getRank() === 0 ? mkdtempSync(join(tmpdir(), "nbit-ranks-")) : "");
  await work(root);
  dist.barrier();
  if (dist.getRank() === 0) rmSync(root, { recursive: true });
}

class Net extends LightningModule {
  readonly net = new nn.Linear(1, 1);
  constructor(
    readonly onTrain: (module: Net, x: Tensor, batchIdx: number) => void = () => undefined,
    readonly onVal: (module: Net, x: Tensor) => void = () => undefined,
  ) {
    super();
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.001 });
  }
  override trainingStep([x]: [Tensor], batchIdx: number): Tensor {
    this.onTrain(this, x, batchIdx);
    return this.net.forward(x).mean();
  }
  override validationStep([x]: [Tensor]): void {
    this.onVal(this, x);
  }
}
const trainer = (options: TrainerOptions = {}): Trainer =>
  new Trainer({ accelerator: "cpu", strategy: "ddp", maxEpochs: 1, ...SILENT, numSanityValSteps: 0, ...options });
/** Rows of the only CSV log below a folder, as numbers by name. */
function rows(root: string): Record<string, number>[] {
  const [version, ...others] = readdirSync(join(root, "nbit_logs"));
  assert.deepEqual(others, [], "one version for all ranks");
  const [head = "", ...lines] = readFileSync(join(root, "nbit_logs", version ?? "", "metrics.csv"), "utf8")
    .trim()
    .split("\n");
  const names = head.split(",");
  return lines.map((line) =>
    Object.fromEntries(line.split(",").flatMap((cell, i) => (cell === "" ? [] : [[names[i] ?? "", Number(cell)]]))),
  );
}

const cases: Record<string, RankCase> = {
  "epoch values are those of one process: weighted by batch size, sums, least, greatest": async () => {
    const kinds: readonly (readonly [string, LogOptions, number])[] = [
      ["mean", {}, 4],
      ["total", { reduceFx: "sum" }, 36],
      ["least", { reduceFx: "min" }, 0],
      ["most", { reduceFx: "max" }, 8],
    ];
    const module = new Net(undefined, (self, x) => {
      for (const [name, options] of kinds)
        self.log(
          name,
          name === "total" ? x.sum() : name === "least" ? x.min() : name === "most" ? x.max() : x.mean(),
          options,
        );
    });
    // 9 elements: 5 here in batches of 2, 2 and 1; 4 there in two.
    const [found] = await trainer().validate(module, { dataloaders: new DataLoader(values(9), { batchSize: 2 }) });
    for (const [name, , expected] of kinds) assert.equal(found?.[name], expected, name);
    const inFit = trainer({ maxEpochs: 1 });
    const trained = new Net((self, x) => {
      self.log("train_mean", x.mean(), { onStep: false, onEpoch: true });
    });
    await inFit.fit(trained, { trainDataloaders: new DataLoader(values(8), { batchSize: 2 }) });
    assert.equal(inFit.callbackMetrics.train_mean, 3.5);
  },
  "metrics that count by themselves are those of one process, also where a rank has no batch": async (rank) => {
    class Counting extends Net {
      readonly mse = new MeanSquaredError();
      readonly order = new SpearmanCorrCoef();
      constructor() {
        super((self, x) => {
          (self as Counting).mse.forward(x, x.mul(x));
          self.log("mse", (self as Counting).mse, { onStep: true, onEpoch: true });
        });
      }
      override validationStep([x]: [Tensor]): void {
        this.mse.update(x, x.mul(x));
        this.order.update(x.flatten(), x.flatten().sin());
        this.log("mse", this.mse);
        this.log("order", this.order);
      }
    }
    const all = values(7).tensors[0];
    const whole = new SpearmanCorrCoef({ syncOnCompute: false });
    whole.update(all.flatten(), all.flatten().sin());
    const mean = all.sub(all.mul(all)).square().mean().item();
    const module = new Counting();
    const mine = rank === 0 ? [[all.narrow(0, 0, 4)], [all.narrow(0, 4, 3)]] : [];
    const [found] = await trainer({ useDistributedSampler: false }).validate(module, { dataloaders: mine });
    assert.deepEqual(found, { mse: mean, order: whole.compute().item() });
    const t = trainer();
    await t.fit(module, { trainDataloaders: new DataLoader(values(8), { batchSize: 2 }) });
    const eight = values(8).tensors[0];
    const expected = eight.sub(eight.mul(eight)).square().mean().item();
    assert.equal(t.callbackMetrics["mse_epoch"], expected);
    assert.deepEqual(new Set(everywhere(t.callbackMetrics["mse_epoch"])), new Set([expected]));
  },
  "names that only some ranks log are reduced over those": async (rank) => {
    const module = new Net(undefined, (self, x) => {
      self.log(`of rank ${rank}`, x.mean());
      if (x.sum().item() > 12) self.log("large", x.mean());
    });
    const [found] = await trainer().validate(module, { dataloaders: new DataLoader(values(8), { batchSize: 4 }) });
    assert.deepEqual(found, { "of rank 0": 3, "of rank 1": 4, large: 4 } satisfies Record<string, number>);
  },
  "steps: this rank's value, or that of all with syncDist; rank 0 writes one file": (rank) =>
    inFolder(async (root) => {
      const seen: number[] = [];
      class Look extends Callback {
        override onTrainEpochEnd(t: TrainerView): void {
          seen.push(t.callbackMetrics["synced"] ?? NaN);
        }
      }
      const module = new Net((self) => {
        self.log("mine", rank + 1);
        self.log("synced", rank + 1, { syncDist: true });
        self.log("only", 7 + rank, { rankZeroOnly: true });
      });
      const t = trainer({ logger: new CSVLogger(root), logEveryNSteps: 2, callbacks: [new Look()] });
      await t.fit(module, { trainDataloaders: new DataLoader(values(16), { batchSize: 2 }) });
      dist.barrier();
      const written = rows(root);
      assert.deepEqual(
        written.map(({ mine, synced, only, step }) => [step, mine, synced, only]),
        [
          [1, 1, 1.5, 7],
          [3, 1, 1.5, 7],
        ],
      );
      assert.deepEqual(seen, [1.5]);
      assert.equal("only" in t.callbackMetrics, rank === 0);
    }),
  "what is monitored is one number: plateaus, early stopping and checkpoints do the same on all ranks": (rank) =>
    inFolder(async (root) => {
      class Plateau extends Net {
        override configureOptimizers(): optim.Optimizer {
          const optimizer = new optim.SGD(this.parameters(), { lr: 0.001 });
          const scheduler = new optim.ReduceLROnPlateau(optimizer, { patience: 0, factor: 0.5 });
          return { optimizer, lrScheduler: { scheduler, monitor: "local", interval: "step" } } as never;
        }
      }
      let epoch = 0;
      const module = new Plateau(
        // Falls on rank 0 and rises on rank 1.
        (self) => self.log("local", (rank === 0 ? -1 : 1) * self.globalStep),
        (self) => self.log("val", rank === 0 ? 1 + epoch : 1),
      );
      class Count extends Callback {
        override onTrainEpochEnd(): void {
          epoch++;
        }
      }
      const best = new ModelCheckpoint({ dirpath: root, monitor: "val", filename: "{epoch}-{val}" });
      const t = trainer({
        maxEpochs: 6,
        enableCheckpointing: true,
        callbacks: [new Count(), new EarlyStopping({ monitor: "val", patience: 2, verbose: false }), best],
      });
      await t.fit(module, {
        trainDataloaders: new DataLoader(values(8), { batchSize: 2 }),
        valDataloaders: new DataLoader(values(4)),
      });
      const mine = { lr: t.optimizers[0]?.paramGroups[0]?.lr, epochs: t.currentEpoch, best: best.bestModelPath };
      const [a, b] = everywhere(mine);
      assert.deepEqual(a, b);
      assert.equal(a?.epochs, 3);
      assert.equal(a?.lr, 0.001);
      assert.match(String(a?.best), /epoch=0-val=1/);
    }),
  "warnings and rankZeroOnly come from rank 0": (rank) => {
    const heard: string[] = [];
    const listen = (warning: Error): void => void heard.push(warning.message);
    process.on("warning", listen);
    rankZeroWarn("once");
    assert.equal(rankZeroOnly(() => 3)(), rank === 0 ? 3 : undefined);
    return new Promise((resolve) => setImmediate(resolve)).then(() => {
      process.off("warning", listen);
      assert.deepEqual(heard, rank === 0 ? ["once"] : []);
    });
  },
  "syncDist and rankZeroOnly do not go together": async () => {
    const module = new Net((self) => self.log("x", 1, { syncDist: true, rankZeroOnly: true }));
    const run = trainer().fit(module, { trainDataloaders: new DataLoader(values(4)) });
    // Whoever looks first has its own error; the other may be told of it.
    await assert.rejects(run, /syncDist or rankZeroOnly/);
  },
};
testRanks(import.meta.url, 2, cases);
