/** What `forecastRank`, and `explain` of a Trainer, say of a rank is what it holds, within 5 %. */
import assert from "node:assert/strict";
import { device, manualSeed, memory, nn, optim, randn, scope, type Tensor } from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import {
  Callback,
  DDPStrategy,
  forecastRank,
  FSDPStrategy,
  LightningModule,
  Trainer,
  type PrecisionInput,
  type RankForecastOptions,
} from "@nbit/lightning";
import { collectGarbage } from "../helpers/collect-garbage.js";
import { testRanks, type RankCase } from "../helpers/ranks.js";
import { SILENT } from "../helpers/training.js";

const WIDTH = 512;
const make = (): nn.Sequential => {
  manualSeed(1);
  return new nn.Sequential(...Array.from({ length: 5 }, () => new nn.Linear(WIDTH, WIDTH)));
};

/** gloo's threads let go of a message a moment after it was waited for. */
async function holds(bytes: number, since: number, what: string): Promise<void> {
  const off = (): number => Math.abs(memory().allocatedBytes - since - bytes) / bytes;
  for (let i = 0; i < 100 && off() > 0.05; i++) await new Promise((done) => setTimeout(done, 20));
  assert.ok(off() <= 0.05, `${what}: ${bytes} bytes forecast, off by ${100 * off()} %`);
}

const cases: Record<string, RankCase> = {};
for (const strategy of ["ddp", "fsdp"] as const)
  for (const stage of strategy === "ddp" ? ([undefined] as const) : ([1, 2, 3] as const))
    cases[`${strategy}${stage === undefined ? "" : `, stage ${stage}`}: before and after the first step`] = async (
      rank,
      worldSize,
    ) => {
      await collectGarbage(); // what cases before this one left
      const since = memory().allocatedBytes;
      const net = make();
      const optimizer = new optim.AdamW(net.parameters());
      const options: RankForecastOptions = { strategy, worldSize, rank, ...(stage === undefined ? {} : { stage }) };
      const forecast = forecastRank(net, [optimizer], options);
      const named = [...net.namedParameters()];
      if (stage !== undefined) {
        dist.fullyShard(net, { stage });
        dist.shardOptimizer(net, optimizer);
      }
      const reducer = stage === undefined ? new dist.Reducer(named) : null;
      if (stage !== undefined) await holds(forecast.parameters, since, "parameters");
      for (let i = 0; i < 3; i++) {
        optimizer.zeroGrad();
        scope(() => {
          reducer?.beforeForward(true);
          const loss = net
            .call(randn([2, WIDTH]))
            .square()
            .mean();
          reducer?.beforeBackward([loss]);
          loss.backward();
          reducer?.afterBackward();
        });
        if (stage !== undefined && i === 0) await holds(forecast.parameters + forecast.gradients, since, "gradients");
        optimizer.step();
      }
      await holds(forecast.total, since, "after steps");
      reducer?.free();
    };

class Net extends LightningModule {
  readonly net = make();
  override configureOptimizers(): optim.Optimizer {
    return new optim.AdamW(this.parameters());
  }
  override trainingStep(x: Tensor): Tensor {
    return this.net.forward(x).square().mean();
  }
}
const STRATEGIES = {
  ddp: () => new DDPStrategy(device("cpu")),
  "ddp without views of buckets": () => new DDPStrategy(device("cpu"), { gradientAsBucketView: false }),
  "fsdp, stage 1": () => new FSDPStrategy(device("cpu"), { stage: 1 }),
  "fsdp, stage 2": () => new FSDPStrategy(device("cpu"), { stage: 2 }),
  "fsdp, stage 3": () => new FSDPStrategy(device("cpu")),
} as const;
for (const [name, strategy] of Object.entries(STRATEGIES))
  for (const precision of [32, "bf16-true"] satisfies PrecisionInput[])
    cases[`explain of a Trainer: ${name}, precision ${precision}`] = async (rank, worldSize) => {
      await collectGarbage();
      const since = memory().allocatedBytes;
      const module = new Net();
      const ended: Promise<void>[] = [];
      class Look extends Callback {
        override onTrainBatchEnd(
          _: unknown,
          __: unknown,
          ___: unknown,
          ____: unknown,
          batchIdx: number,
        ): Promise<void> | void {
          if (batchIdx !== 2) return;
          ended.push(holds(forecast?.total ?? NaN, since, "between backward and step"));
          return ended[0];
        }
      }
      const trainer = new Trainer({
        accelerator: "cpu",
        strategy: strategy(),
        precision,
        maxEpochs: 1,
        useDistributedSampler: false,
        ...SILENT,
        callbacks: [new Look()],
      });
      // Before the module is converted, and before there is anybody to share it with.
      const optimizers = [new optim.AdamW(module.parameters())];
      const explanation = trainer.precision.explain({ module, optimizers, print: false });
      const forecast = explanation.process;
      assert.deepEqual(
        [forecast?.rank, forecast?.worldSize, forecast?.strategy],
        [rank, worldSize, trainer.strategy.name],
      );
      assert.match(explanation.toString(), new RegExp(`each process .* on rank ${rank} of ${worldSize}, strategy "`));
      assert.equal((forecast?.gathered ?? 0) > 0, name === "fsdp, stage 3");
      await trainer.fit(module, { trainDataloaders: [0, 1, 2].map(() => randn([2, WIDTH])) });
      assert.equal(ended.length, 1);
    };
cases["explain of one process has no row of processes"] = () => {
  const module = new Net();
  const trainer = new Trainer({ accelerator: "cpu", strategy: "single_device", ...SILENT });
  const explanation = trainer.precision.explain({ module, print: false });
  assert.equal(explanation.process, null);
  assert.doesNotMatch(explanation.toString(), /each process/);
};

testRanks(import.meta.url, 2, cases);
