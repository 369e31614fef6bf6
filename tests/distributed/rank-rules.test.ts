/** Rules of precision across ranks that no other test states by itself: in what sums are made, and where shards end. */
import assert from "node:assert/strict";
import {
  DDPStrategy,
  FSDPStrategy,
  LightningModule,
  Trainer,
  type Collectives,
  type DetectNonFinite,
  type PrecisionInput,
  type TrainerOptions,
} from "@nbit/lightning";
import { device, nn, optim, tensor, zeros, type Tensor } from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import { testRanks, type RankCase } from "../helpers/ranks.js";
import { SILENT } from "../helpers/training.js";

/** The gradient of every element is the sum of the batch. */
class Net extends LightningModule {
  readonly weight = new nn.Parameter(zeros([512]));
  gradient: number | null = null;
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0 });
  }
  override trainingStep(batch: Tensor): Tensor {
    return this.weight.mul(batch.sum().to(this.weight.dtype)).sum().float();
  }
  override onBeforeOptimizerStep(optimizer: optim.Optimizer): void {
    const [p] = optimizer.paramGroups[0]?.params ?? [];
    this.gradient = p?.grad?.narrow(0, 0, 1).item() ?? null;
  }
}
const OPTIONS: TrainerOptions = { accelerator: "cpu", maxEpochs: 1, useDistributedSampler: false, ...SILENT };

/** The averaged gradient of ranks whose gradients are these. */
async function averaged(strategy: DDPStrategy | FSDPStrategy, ofRanks: readonly number[]): Promise<number | null> {
  const net = new Net();
  const batch = tensor([ofRanks[dist.getRank()] ?? 0]);
  await new Trainer({ ...OPTIONS, strategy }).fit(net, { trainDataloaders: [batch] });
  return net.gradient;
}
const cpu = device("cpu");

/** Counts what a process asks of the others, gradients aside. */
class Asked {
  calls = 0;
  of(inner: Collectives | null): Collectives | null {
    if (inner === null) return null;
    const count = <A extends readonly unknown[], R>(fn: (...args: A) => R, ...args: A): R => {
      this.calls++;
      return fn(...args);
    };
    return {
      agree: (flag) => count(inner.agree, flag),
      greatest: (value) => count(inner.greatest, value),
      reduce: (values, op) => count(inner.reduce, values, op),
      broadcastObject: (value) => count(inner.broadcastObject<typeof value>, value),
      allGatherObject: (value) => count(inner.allGatherObject<typeof value>, value),
      gatherBytes: (bytes) => count(inner.gatherBytes, bytes),
      barrier: () => count(inner.barrier),
    };
  }
}
class CountingDDP extends DDPStrategy {
  readonly asked = new Asked();
  override get collectives(): Collectives | null {
    return this.asked.of(super.collectives);
  }
}
class CountingFSDP extends FSDPStrategy {
  readonly asked = new Asked();
  override get collectives(): Collectives | null {
    return this.asked.of(super.collectives);
  }
}

const cases: Record<string, RankCase> = {
  "gradients are added up in float32 unless another dtype is asked for": async () => {
    // In bfloat16 the second is less than half the gap of numbers at 1.
    const [ones, mean] = [[1, 2 ** -10], (1 + 2 ** -10) / 2];
    assert.equal(await averaged(new DDPStrategy(cpu), ones), mean);
    assert.equal(await averaged(new DDPStrategy(cpu, { reduceDtype: "bfloat16" }), ones), 0.5);
    for (const stage of [1, 2, 3] as const) {
      // Parameters, and so gradients, are bfloat16 while units run: their sums are not.
      assert.equal(await averaged(new FSDPStrategy(cpu, { stage, paramDtype: "bfloat16" }), ones), mean);
      const both = { paramDtype: "bfloat16", reduceDtype: "bfloat16" } as const;
      assert.equal(await averaged(new FSDPStrategy(cpu, { stage, ...both }), ones), 0.5);
    }
  },
  "float16 sums are divided by √N before and after: they neither overflow nor vanish": async () => {
    const least = 2 ** -24;
    for (const make of [
      () => new DDPStrategy(cpu, { reduceDtype: "float16" }),
      () => new DDPStrategy(cpu, { commHook: "fp16_compress" }),
      () => new FSDPStrategy(cpu, { stage: 2, reduceDtype: "float16" }),
      () => new FSDPStrategy(cpu, { reduceDtype: "float16" }),
    ]) {
      // Added up first, 80,000 is infinite; divided by 2 first, half the least number is 0.
      const large = await averaged(make(), [40_000, 40_000]);
      assert.ok(large !== null && Math.abs(large - 40_000) <= 32, `${large}`);
      const small = await averaged(make(), [least, least]);
      assert.ok(small !== null && small > least / 2 && small <= 2 * least, `${small}`);
    }
  },
  "metrics of a log step travel in one exchange, however many there are": async () => {
    const exchanges = async (metrics: number): Promise<number> => {
      class Logs extends Net {
        override trainingStep(batch: Tensor): Tensor {
          for (let i = 0; i < metrics; i++) this.log(`m${i}`, i, { syncDist: true, onStep: true, onEpoch: true });
          return super.trainingStep(batch);
        }
      }
      const strategy = new CountingDDP(cpu);
      const data = Array.from({ length: 6 }, () => tensor([1 + dist.getRank()]));
      await new Trainer({ ...OPTIONS, strategy, logEveryNSteps: 2 }).fit(new Logs(), { trainDataloaders: data });
      return strategy.asked.calls;
    };
    const one = await exchanges(1);
    assert.equal(await exchanges(40), one);
    assert.ok(one >= 3, "log steps exchange");
  },
  "looking out for NaN sends nothing in steps that are made; gradients of shards are a vote each": async () => {
    const STEPS = 4;
    const asked = async (make: () => CountingDDP | CountingFSDP, options: TrainerOptions): Promise<number> => {
      const strategy = make();
      const data = Array.from({ length: STEPS }, () => tensor([1 + dist.getRank()]));
      // A vote on stopping in every step, and none by the clock.
      await new Trainer({ ...OPTIONS, strategy, logEveryNSteps: 1, ...options }).fit(new Net(), {
        trainDataloaders: data,
      });
      return strategy.asked.calls;
    };
    for (const make of [() => new CountingDDP(cpu), () => new CountingFSDP(cpu)])
      for (const precision of [32, 16] satisfies PrecisionInput[]) {
        const without = await asked(make, { precision, detectNonFinite: false });
        for (const detectNonFinite of [true, "step"] satisfies DetectNonFinite[])
          assert.equal(await asked(make, { precision, detectNonFinite }), without);
        // Under a scale that moves it is the scaler that looks.
        const votes = make() instanceof CountingFSDP && precision === 32 ? STEPS : 0;
        assert.equal(await asked(make, { precision, detectNonFinite: "gradients" }), without + votes);
      }
  },
  "what one rank does alone may call no collective: an error before anything is sent": (rank) => {
    if (rank === 1) {
      const norm = new nn.SyncBatchNorm(2);
      const layer = new nn.Linear(2, 2);
      const refused = { code: "ERR_DIST_ALONE" };
      assert.throws(
        () =>
          dist.withoutCollectives(() =>
            norm.forward(
              tensor([
                [1, 2],
                [3, 5],
              ]),
            ),
          ),
        refused,
      );
      assert.throws(() => dist.withoutCollectives(dist.barrier), refused);
      assert.throws(() => dist.withoutCollectives(() => dist.allGatherObject(1)), refused);
      assert.deepEqual(
        dist.withoutCollectives(() => layer.forward(zeros([1, 2])).shape),
        [1, 2],
      );
    }
    // Nobody waits for it.
    assert.deepEqual(dist.allGatherObject(rank), [0, 1]);
  },
  "shards end at multiples of the low-bit optimizers' block within each parameter": (_, worldSize) => {
    for (const blockSize of [256, 128]) {
      const net = new nn.Sequential(new nn.Linear(65, 77), new nn.Linear(77, 131), new nn.Linear(131, 1));
      const numels = new Map([...net.namedParameters()].map(([name, p]) => [name, p.numel()]));
      dist.fullyShard(net, { stage: 3, blockSize });
      const mine = [...dist.shardedStateDict(net)].map(([name, { start, end }]) => ({ name, start, end }));
      const all = dist.allGatherObject(mine);
      for (const [name, numel] of numels) {
        const ranges = all.flat().filter((range) => range.name === name && range.end > range.start);
        // Smaller ones have their state in 32 bits, in no blocks.
        for (const { start, end } of numel < 4096 ? [] : ranges) {
          assert.equal(start % blockSize, 0, `${name} from ${start}`);
          assert.ok(end % blockSize === 0 || end === numel, `${name} until ${end} of ${numel}`);
        }
        assert.equal(
          ranges.reduce((sum, { start, end }) => sum + end - start, 0),
          numel,
          name,
        );
      }
      assert.ok(
        all.every((ranges) => ranges.some(({ start, end }) => end > start)),
        `all of ${worldSize} have some`,
      );
      dist.unshardModule(net);
    }
  },
};
testRanks(import.meta.url, 2, cases);
