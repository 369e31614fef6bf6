/** Sharded training on two GPUs against one: every stage in every precision, and what each stage holds. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { cuda, device, nn, optim, randn, seedEverything, type Tensor } from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import { FSDPStrategy, LightningModule, Trainer, type FSDPOptions } from "@nbit/lightning";
import { AdamW8bit } from "@nbit/lowbit";
import { SmallGpt } from "./support.js";
import { compare, two } from "./two-gpus.js";
import { testRanks, type RankCase } from "../helpers/ranks.js";
import { SILENT } from "../helpers/training.js";

const STEPS = 24;
const gpt = (): Tensor[][] => SmallGpt.batches(STEPS, "cpu");
const TOLERANCE = { 32: 2e-5, 64: 1e-11, 16: 2e-2, bf16: 2e-2, "bf16-true": 6e-2 } as const;
const STAGES = [1, 2, 3] as const;
const strategy = (options: FSDPOptions): FSDPStrategy => new FSDPStrategy(device(`cuda:${dist.getRank()}`), options);

/** Linear layers of 64 MiB each. */
class Wide extends LightningModule {
  readonly layers = new nn.ModuleList(Array.from({ length: 8 }, () => new nn.Linear(4096, 4096, { bias: false })));
  override trainingStep(batch: unknown): Tensor {
    let x = (batch as readonly Tensor[])[0] as Tensor;
    for (const layer of this.layers) x = layer.call(x);
    return x.pow(2).mean();
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.AdamW(this.parameters(), { lr: 1e-5, fused: true });
  }
}

/** Peak bytes of a few steps, on this rank. */
async function peak(options: FSDPOptions | null): Promise<number> {
  const where = device(`cuda:${dist.getRank()}`);
  seedEverything(3);
  const module = new Wide();
  seedEverything(3 + dist.getRank());
  cuda.emptyCache();
  cuda.resetPeakMemoryStats();
  const trainer = new Trainer({
    accelerator: "gpu",
    strategy: options === null ? "ddp" : strategy(options),
    maxSteps: 4,
    maxEpochs: 1,
    ...SILENT,
  });
  const batch = [randn([64, 4096]).to(where)];
  await trainer.fit(module, { trainDataloaders: [batch, batch, batch, batch] });
  return cuda.memoryStats().peakAllocated;
}

const cases: Record<string, RankCase> = {
  ...Object.fromEntries(
    STAGES.flatMap((stage) =>
      ([32, 64, 16, "bf16", "bf16-true"] as const).map((precision): [string, RankCase] => [
        `stage ${stage}, ${precision}`,
        async () => {
          const settings = { precision, gradientClipVal: 1, strategy: strategy({ stage }) };
          await compare(() => new SmallGpt(), gpt(), settings, TOLERANCE[precision]);
        },
      ]),
    ),
  ),
  ...Object.fromEntries(
    STAGES.map((stage): [string, RankCase] => [
      `stage ${stage}, two batches to a step, 8-bit AdamW, gathers in bfloat16`,
      async () => {
        await compare(
          () => new SmallGpt(),
          gpt(),
          { precision: 64, accumulateGradBatches: 2, strategy: strategy({ stage }) },
          1e-11,
        );
        const eightBit = (): SmallGpt => new SmallGpt((p) => new AdamW8bit(p, { lr: 3e-3 }));
        await compare(eightBit, gpt(), { precision: "bf16", strategy: strategy({ stage }) }, 3e-2);
        await compare(
          () => new SmallGpt(),
          gpt(),
          { precision: "bf16", strategy: strategy({ stage, paramDtype: "bfloat16" }) },
          3e-2,
        );
      },
    ]),
  ),
  "shards on the CPU": async () => {
    await compare(() => new SmallGpt(), gpt(), { precision: 32, strategy: strategy({ cpuOffload: true }) }, 2e-5);
  },
  "each stage holds less": async (rank) => {
    const MIB = 2 ** 20;
    const peaks = [await peak(null)];
    for (const stage of STAGES) peaks.push(await peak({ stage }));
    if (rank === 0)
      console.log(
        `peak MiB of 512 MiB of parameters: ddp ${peaks.map((p) => (p / MIB).toFixed(0)).join(", stages 1 to 3 ")}`,
      );
    for (let i = 1; i < peaks.length; i++)
      assert.ok((peaks[i] ?? NaN) < (peaks[i - 1] ?? NaN), `stage ${i}: ${peaks.join(", ")}`);
    assert.ok((peaks[3] ?? NaN) < 0.62 * (peaks[0] ?? NaN));
  },
};

if (two || process.env["NBIT_TEST_RANK_OF"] !== undefined) testRanks(import.meta.url, 2, cases);
else test("two GPUs", { skip: "needs two CUDA devices" }, () => undefined);
