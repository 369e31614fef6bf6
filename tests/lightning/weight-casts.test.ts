/** `cacheWeightCasts`: a Trainer with cached casts trains as one without, to the last bit. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { AdamW8bit } from "@nbit/lowbit";
import { Callback, LightningModule, MixedPrecision, precisionFor, seedEverything, Trainer } from "@nbit/lightning";
import type { Precision, TrainerOptions } from "@nbit/lightning";
import { nn, noGrad, optim, outsideScopes, randn, relu, scope, setNumThreads } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { QUIET } from "../helpers/training.js";

setNumThreads(1);
const folder = temporaryFolder("weight-casts");

type Plugin = (cacheWeightCasts: boolean) => Precision;
const mixed =
  (precision: "16-mixed" | "bf16-mixed"): Plugin =>
  (cacheWeightCasts) =>
    new MixedPrecision({
      precision,
      cacheWeightCasts,
      ...(precision === "16-mixed" ? { scaler: { initScale: 256 } } : {}),
    });

interface Course {
  readonly plugin: Plugin;
  readonly options?: TrainerOptions;
  /** Called before each training batch: what a user's code may do. */
  readonly meddle?: (net: Net, batch: number) => void;
  readonly optimizer?: (params: Tensor[]) => optim.Optimizer;
  readonly ckptPath?: string;
  readonly manual?: boolean;
  readonly ended?: (trainer: Trainer, net: Net) => void;
}

class Net extends LightningModule {
  readonly first = new nn.Linear(6, 8);
  readonly norm = new nn.LayerNorm([8]);
  readonly frozen = new nn.Linear(8, 8);
  readonly head = new nn.Linear(8, 6);
  readonly losses: number[] = [];
  bytes = 0;
  constructor(readonly course: Course) {
    super();
    this.automaticOptimization = course.manual !== true;
    for (const p of this.frozen.parameters()) p.requiresGrad_(false);
  }
  override forward(x: Tensor): Tensor {
    const y = this.norm.forward(relu(this.first.forward(x)));
    return this.head.forward(relu(this.frozen.forward(y)).add(this.frozen.forward(y.neg())));
  }
  #loss(x: Tensor): Tensor {
    return this.forward(x).float().sub(x).square().mean();
  }
  override trainingStep(x: Tensor, index: number): Tensor | null {
    const loss = this.#loss(x);
    this.losses.push(loss.item());
    if (this.automaticOptimization) return loss;
    const [optimizer] = [this.optimizers()].flat();
    assert.ok(optimizer !== undefined);
    // Two losses from before the step, one of which goes backward after it.
    const late = this.#loss(x.neg());
    this.manualBackward(loss);
    optimizer.step();
    optimizer.zeroGrad();
    this.manualBackward(late);
    if (index % 2 === 1) {
      optimizer.step();
      optimizer.zeroGrad();
    }
    return null;
  }
  override validationStep(x: Tensor): void {
    this.losses.push(this.#loss(x).item());
  }
  override configureOptimizers(): optim.Optimizer {
    return (this.course.optimizer ?? ((p: Tensor[]) => new optim.AdamW(p, { lr: 0.02, fused: true })))([
      ...this.parameters(),
    ]);
  }
}

async function train(course: Course, cached: boolean): Promise<{ net: Net; trace: string[] }> {
  seedEverything(11);
  const net = new Net(course);
  const batches = Array.from({ length: 8 }, () => randn([5, 6]));
  class Meddler extends Callback {
    override onTrainBatchStart(_trainer: unknown, _module: unknown, _batch: unknown, index: number): void {
      course.meddle?.(net, index);
    }
    override onTrainBatchEnd(trainer: { readonly precision: Precision }): void {
      if (trainer.precision instanceof MixedPrecision)
        net.bytes = Math.max(net.bytes, trainer.precision.weightCastBytes);
    }
  }
  const plugin = course.plugin(cached);
  const trainer = new Trainer({
    ...QUIET,
    plugins: plugin,
    maxEpochs: 2,
    callbacks: [new Meddler()],
    ...course.options,
  });
  await trainer.fit(net, {
    trainDataloaders: batches,
    valDataloaders: batches.slice(0, 2),
    ...(course.ckptPath === undefined ? {} : { ckptPath: course.ckptPath }),
  });
  if (plugin instanceof MixedPrecision) assert.equal(plugin.weightCastBytes, 0, "a run that has ended holds none");
  course.ended?.(trainer, net);
  return {
    net,
    trace: [
      ...net.losses.map(String),
      ...[...net.parameters()].map((p) => Buffer.from(p.detach().toBytes()).toString("hex")),
    ],
  };
}

const average = new Map<Net, Tensor[]>();
/** An exponential average that takes the weights' place for a batch, as averaging callbacks do. */
function swapAverage(net: Net, batch: number): void {
  noGrad(() => {
    const held = average.get(net) ?? outsideScopes(() => [...net.parameters()].map((p) => p.detach().clone()));
    average.set(net, held);
    [...net.parameters()].forEach((p, i) => {
      const mean = held[i] as Tensor;
      if (batch === 3 || batch === 4) {
        const own = p.detach().clone();
        p.copy_(mean);
        mean.copy_(own);
        own.dispose();
      } else scope(() => void mean.mul_(0.5).add_(p.detach().mul(0.5)));
    });
  });
}

const COURSES: Readonly<Record<string, Course>> = {
  bf16: { plugin: mixed("bf16-mixed") },
  "16, accumulation 4, clipping": {
    plugin: mixed("16-mixed"),
    options: { accumulateGradBatches: 4, gradientClipVal: 0.5 },
  },
  "16, a step that is skipped": {
    plugin: mixed("16-mixed"),
    meddle: (net, batch) => {
      // The scaled loss overflows once: these weights come back before the next batch.
      if (batch === 2) noGrad(() => void net.head.weight.mul_(2 ** 14));
      if (batch === 3) noGrad(() => void net.head.weight.mul_(2 ** -14));
    },
    ended: (trainer) => assert.ok(trainer.skippedSteps > 0),
  },
  "bf16, validation between the batches of a window": {
    plugin: mixed("bf16-mixed"),
    options: { accumulateGradBatches: 4, valCheckInterval: 2 },
  },
  "bf16, validation in float16 weights": {
    plugin: mixed("bf16-mixed"),
    options: { accumulateGradBatches: 2, valCheckInterval: 3, validationPrecision: "16-true" },
  },
  "bf16, weights written in the middle of a window": {
    plugin: mixed("bf16-mixed"),
    options: { accumulateGradBatches: 4 },
    meddle: (net, batch) => noGrad(() => void (batch % 3 === 1 && net.first.weight.mul_(0.9))),
  },
  "bf16, weights replaced in the middle of a window": {
    plugin: mixed("bf16-mixed"),
    options: { accumulateGradBatches: 4 },
    meddle: (net, batch) => void (batch === 1 && net.frozen.weight.setData(net.frozen.weight.detach().mul(0.5))),
  },
  "bf16, averaged weights in between": {
    plugin: mixed("bf16-mixed"),
    options: { accumulateGradBatches: 2 },
    meddle: swapAverage,
  },
  "bf16, a part that thaws": {
    plugin: mixed("bf16-mixed"),
    meddle: (net, batch) => void (batch === 4 && net.frozen.weight.requiresGrad_(true)),
  },
  "bf16, 8-bit optimizer": {
    plugin: mixed("bf16-mixed"),
    options: { accumulateGradBatches: 2 },
    optimizer: (p) => new AdamW8bit(p, { lr: 0.02, min8bitSize: 16 }),
  },
  "16, manual optimization with a backward after the step": { plugin: mixed("16-mixed"), manual: true },
  precisionFor: {
    plugin: (cacheWeightCasts) => precisionFor({ first: "bf16", frozen: "bf16" }, { cacheWeightCasts }),
    options: { accumulateGradBatches: 4 },
  },
  "precisionFor, one part in another dtype": {
    plugin: (cacheWeightCasts) => precisionFor({ first: "16", head: 32 }, { base: "bf16", cacheWeightCasts }),
    options: { accumulateGradBatches: 2 },
  },
};

for (const [name, course] of Object.entries(COURSES)) {
  test(`the same losses and weights with cached casts: ${name}`, async () => {
    const [kept, plain] = [await train(course, true), await train(course, false)];
    assert.deepEqual(kept.trace, plain.trace);
    assert.equal(plain.net.bytes, 0);
    if (course.plugin(true) instanceof MixedPrecision)
      assert.equal(
        kept.net.bytes,
        2 * (6 * 8 + 8 + 8 * 8 + 8 + 8 * 6 + 6),
        "casts of the three linear layers, and of no norm",
      );
  });
}

test("a resumed run is the same with and without cached casts", async () => {
  const path = join(folder, "half.ckpt");
  const first: Course = {
    plugin: mixed("16-mixed"),
    options: { maxEpochs: 1, accumulateGradBatches: 2 },
    ended: (trainer) => trainer.saveCheckpoint(path),
  };
  await train(first, true);
  const rest: Course = { plugin: mixed("16-mixed"), options: { accumulateGradBatches: 2 }, ckptPath: path };
  assert.deepEqual((await train(rest, true)).trace, (await train(rest, false)).trace);
});

test("explain forecasts what cached casts take", async () => {
  const course: Course = { plugin: mixed("bf16-mixed") };
  const { net } = await train(course, true);
  const forecast = course.plugin(true).explain({ module: net, print: false });
  assert.equal(forecast.memory?.casts, net.bytes);
  assert.match(forecast.toString(), /, cached casts \d+ B; activations/);
  const without = course.plugin(false).explain({ module: net, print: false });
  assert.deepEqual([without.memory?.casts, without.memory?.total], [0, (forecast.memory?.total ?? 0) - net.bytes]);
  assert.doesNotMatch(without.toString(), /cached casts/);
});

test("a wrong value of cacheWeightCasts is refused", () => {
  assert.throws(() => new MixedPrecision({ cacheWeightCasts: "window" as never }), {
    code: "ERR_PRECISION_PLUGIN",
    message: 'MixedPrecision: expected cacheWeightCasts to be true or false. Received: "window".',
  });
  assert.throws(() => precisionFor({ head: 16 }, { cacheWeightCasts: 1 as never }), { code: "ERR_PRECISION_PLUGIN" });
});
