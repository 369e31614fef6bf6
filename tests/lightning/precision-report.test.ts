import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  LightningModule,
  measureRange,
  mergeRanges,
  PrecisionReport,
  sharesIn,
  StepPrecision,
  Trainer,
} from "@nbit/lightning";
import type { StepPrecisionData, TrainerOptions } from "@nbit/lightning";
import {
  crossEntropyLoss,
  getRngState,
  memory,
  nn,
  optim,
  randint,
  randn,
  seedEverything,
  setNumThreads,
  tensor,
} from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { QUIET } from "../helpers/training.js";

setNumThreads(1); // tiny tensors
const folder = temporaryFolder("report");
const OPTIONS: TrainerOptions = { ...QUIET, maxEpochs: 1 };

class Net extends LightningModule {
  readonly layers = new nn.Sequential(new nn.Linear(8, 16), new nn.BatchNorm1d(16), new nn.ReLU(), new nn.Dropout(0.5));
  readonly head = new nn.Linear(16, 4);
  override forward(x: Tensor): Tensor {
    return this.head.forward(this.layers.forward(x));
  }
  override trainingStep([x, y]: [Tensor, Tensor]): Tensor {
    const loss = crossEntropyLoss(this.forward(x), y);
    this.log("loss", loss);
    return loss;
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}
const batches = (n = 3): [Tensor, Tensor][] => Array.from({ length: n }, () => [randn([6, 8]), randint(4, [6])]);

test("magnitudes are counted by powers of two, and held against what a dtype can keep", () => {
  const range = measureRange(tensor([0, 1, -1.5, 65536, 2 ** -20, 2 ** -25, 2 ** -27, Infinity, NaN, -Infinity]));
  assert.deepEqual(
    { ...range, counts: undefined },
    {
      count: 10,
      zeros: 1,
      infinities: 2,
      nans: 1,
      smallest: 2 ** -27,
      largest: 65536,
      exponent: -27,
      counts: undefined,
    },
  );
  assert.equal(range.counts.length, 16 + 27 + 1);
  assert.equal(range.counts[27], 2); // 1 and 1.5
  assert.equal(
    range.counts.reduce((a, b) => a + b, 0),
    6,
  );
  // float16: 2^-27 becomes 0, 2^-20 and 2^-25 lose digits, 65536 and what is not finite overflow.
  assert.deepEqual(sharesIn(range, "float16"), { lost: 0.1, subnormal: 0.2, overflow: 0.4 });
  assert.deepEqual(sharesIn(range, "bfloat16"), { lost: 0, subnormal: 0, overflow: 0.3 });
  assert.equal(sharesIn(range, "float16", 3).lost, 0, "eight times as large, nothing is lost");
  // The count agrees with what the cast does.
  const small = measureRange(randn([4000]).mul(2 ** -25));
  const cast = randn([4000]);
  const kept = measureRange(cast.mul(2 ** -25).half());
  assert.ok(small.count === 4000 && kept.zeros > 0);
});

test("the share that is lost is the share that a cast makes zero", () => {
  seedEverything(3);
  const x = randn([5000]).mul(2 ** -25);
  const lost = sharesIn(measureRange(x), "float16").lost;
  const zeros = measureRange(x.half()).zeros / 5000;
  assert.ok(lost > 0.3 && lost < 0.9);
  assert.equal(lost, zeros);
});

test("an operator that casts within itself is put down to what autocast did with its inputs", async () => {
  class Attending extends LightningModule {
    readonly queries = new nn.Linear(8, 8);
    override trainingStep(x: Tensor): Tensor {
      const q = this.queries.forward(x);
      return nn.functional.scaledDotProductAttention(q, q, q).float().mean();
    }
    override configureOptimizers(): optim.Optimizer {
      return new optim.SGD(this.parameters(), { lr: 0.1 });
    }
  }
  const report = new PrecisionReport({ print: false });
  const trainer = new Trainer({ ...OPTIONS, precision: "bf16", callbacks: report });
  await trainer.fit(new Attending(), { trainDataloaders: [randn([2, 6, 8])] });
  const used = report.latest?.module("")?.operators.find((o) => o.name === "scaled_dot_product_attention");
  assert.deepEqual([used?.dtype, used?.reason], ["bfloat16", "lower"]);
});

test("ranges of several tensors add up", () => {
  const parts = [tensor([1, 2, 0]), tensor([1e-30, NaN]), tensor([4096])].map((t) => measureRange(t));
  const whole = measureRange(tensor([1, 2, 0, 1e-30, NaN, 4096]));
  assert.deepEqual(parts.reduce(mergeRanges), whole);
  assert.deepEqual(mergeRanges(whole, measureRange(tensor([]))), whole);
});

for (const [precision, compute] of [
  ["bf16", "bfloat16"],
  [16, "float16"],
] as const) {
  test(`precision ${precision}: each module's operators, with dtype, reason and casts`, async () => {
    seedEverything(1);
    const report = new PrecisionReport({ print: false });
    await new Trainer({ ...OPTIONS, precision, callbacks: report }).fit(new Net(), { trainDataloaders: batches() });
    const { latest } = report;
    assert.ok(latest !== null);
    assert.deepEqual(
      latest.modules.map((m) => `${m.name}: ${m.type}`),
      [
        ": Net",
        "layers: Sequential",
        "layers.0: Linear",
        "layers.1: BatchNorm1d",
        "layers.2: ReLU",
        "layers.3: Dropout",
        "head: Linear",
      ],
    );
    const operator = (module: string, name: string) => latest.module(module)?.operators.find((o) => o.name === name);
    // A matrix product: input, weight and bias are cast to 16 bits.
    const linear = operator("layers.0", "linear");
    assert.deepEqual(
      { ...linear, seconds: 0, castSeconds: 0 },
      {
        name: "linear",
        phase: "forward",
        dtype: compute,
        reason: "lower",
        calls: 1,
        seconds: 0,
        casts: 3,
        castSeconds: 0,
      },
    );
    // Its input is 16-bit already.
    assert.equal(operator("head", "linear")?.casts, 2);
    assert.deepEqual(
      [operator("layers.2", "relu")?.dtype, operator("layers.2", "relu")?.reason, operator("layers.2", "relu")?.casts],
      [compute, "input", 0],
    );
    // The loss belongs to the step itself, and autocast computes it in float32.
    const loss = operator("", "cross_entropy_loss") ?? operator("", "cross_entropy");
    assert.equal(loss?.dtype, "float32", JSON.stringify(latest.module("")?.operators));
    // Backward nodes belong to the modules whose forward they differentiate.
    assert.equal(operator("head", "AddmmBackward0")?.dtype, compute);
    assert.ok((operator("layers.0", "ToCopyBackward0")?.casts ?? 0) >= 2);
    assert.ok(
      latest.module("layers.1")?.operators.some((o) => o.name === "NativeBatchNormBackward0" && o.phase === "backward"),
    );
    // Times are parts of a whole.
    const all = latest.totals();
    assert.ok(all.seconds > 0 && all.castSeconds < all.seconds && all.casts > 5);
    assert.equal(latest.totals("forward").casts + latest.totals("backward").casts, all.casts);
    assert.equal(latest.module("layers.0")?.activations?.count, 6 * 16);
    assert.equal(latest.module("layers.0")?.parameterGradients?.count, 8 * 16 + 16);
    assert.equal(latest.lossScale, precision === 16 ? 65536 : 1);
    assert.match(
      new StepPrecision({ ...latest.toJSON(), device: "cuda:0" }).toString(),
      /launch ms fwd \+ bwd[^]*\n time of launching, while the device works by itself: [\d.]+ % /,
    );
    assert.doesNotMatch(latest.toString(), /launch/);
    assert.match(latest.toString(), new RegExp(` layers\\.0 +Linear +${compute} +${compute} .*\n[^]*time: [\\d.]+ % `));
  });
}

test("float32 has no casts, and true precisions compute in their dtype", async () => {
  for (const [precision, dtype] of [
    [32, "float32"],
    ["bf16-true", "bfloat16"],
    [64, "float64"],
  ] as const) {
    const report = new PrecisionReport({ print: false });
    await new Trainer({ ...OPTIONS, precision, callbacks: report }).fit(new Net(), { trainDataloaders: batches(1) });
    const linear = report.latest?.module("head")?.operators.find((o) => o.name === "linear");
    assert.deepEqual([linear?.dtype, linear?.reason, linear?.casts], [dtype, "input", 0]);
    if (dtype === "float32") assert.equal(report.latest?.totals().casts, 0);
  }
});

test("overflow and underflow are reported at the module where they happen", async () => {
  class Loud extends Net {
    override forward(x: Tensor): Tensor {
      return super.forward(x).mul(1e-6);
    }
  }
  seedEverything(2);
  const net = new Loud();
  net.layers[0]?.parameters()[0]?.detach().mul_(1e6);
  const report = new PrecisionReport({ print: false });
  await new Trainer({ ...OPTIONS, precision: 32, callbacks: report }).fit(net, { trainDataloaders: batches(1) });
  const first = report.latest?.module("layers.0")?.activations;
  assert.ok(
    first !== null &&
      first !== undefined &&
      sharesIn(first, "float16").overflow > 0.5 &&
      sharesIn(first, "bfloat16").overflow === 0,
  );
  const gradients = report.latest?.module("head")?.activationGradients;
  assert.ok(
    gradients !== null &&
      gradients !== undefined &&
      sharesIn(gradients, "float16").subnormal + sharesIn(gradients, "float16").lost > 0.5,
  );
});

test("the report does not change training", async () => {
  const run = async (callbacks: PrecisionReport[]): Promise<unknown[]> => {
    seedEverything(7);
    const net = new Net();
    await new Trainer({ ...OPTIONS, precision: 16, maxEpochs: 2, accumulateGradBatches: 2, callbacks }).fit(net, {
      trainDataloaders: batches(5),
    });
    return [...[...net.stateDict().values()].map((t) => t.tolist()), getRngState().tolist()];
  };
  const report = new PrecisionReport({ step: [0, 1, 4], print: false });
  assert.deepEqual(await run([report]), await run([]));
  assert.deepEqual(
    report.reports.map((r) => r.step),
    [0, 1, 4],
  );
});

test("two reports leave as many tensors as one", async () => {
  const trainer = new Trainer({ ...OPTIONS, precision: "bf16" });
  await trainer.fit(new Net(), { trainDataloaders: batches(1) });
  const batch = batches(1)[0];
  trainer.precision.report({ batch, print: false });
  const { unreleased } = memory();
  trainer.precision.report({ batch, print: false });
  assert.equal(memory().unreleased, unreleased);
});

test("report() makes a dry run of a batch, or returns what a callback found, or says what is missing", async () => {
  const trainer = new Trainer({ ...OPTIONS, precision: "bf16" });
  assert.throws(() => trainer.precision.report(), {
    code: "ERR_NO_REPORT",
    message:
      /^report: expected a batch, or a PrecisionReport callback that has run\. Received: neither\. Call trainer\.precision\.report\(\{ batch \}\)/,
  });
  const net = new Net();
  await trainer.fit(net, { trainDataloaders: batches(1) });
  net.eval();
  const made = trainer.precision.report({ batch: batches(1)[0], print: false });
  assert.equal(made.module("head")?.operators.find((o) => o.name === "linear")?.dtype, "bfloat16");
  assert.equal(trainer.precision.report({ print: false }), made);
  assert.equal(net.training, false);
  assert.throws(() => new PrecisionReport({ step: -1 }), {
    message:
      "PrecisionReport: expected step to be a whole number ≥ 0, or an array, every element a whole number ≥ 0. Received: -1.",
  });
});

test("a dry run of manual optimization takes no step", async () => {
  class Manual extends Net {
    override automaticOptimization = false;
    override trainingStep(batch: [Tensor, Tensor]): Tensor {
      const [optimizer] = [this.optimizers()].flat();
      const loss = crossEntropyLoss(this.forward(batch[0]), batch[1]);
      optimizer?.zeroGrad();
      this.manualBackward(loss);
      optimizer?.step();
      return loss;
    }
  }
  const run = async (callbacks: PrecisionReport[]): Promise<unknown[]> => {
    seedEverything(7);
    const net = new Manual();
    await new Trainer({ ...OPTIONS, precision: "bf16", callbacks }).fit(net, { trainDataloaders: batches(3) });
    return [...net.stateDict().values()].map((t) => t.tolist());
  };
  const report = new PrecisionReport({ step: 1, print: false });
  assert.deepEqual(await run([report]), await run([]));
  assert.equal(report.latest?.module("head")?.operators.find((o) => o.name === "AddmmBackward0")?.phase, "backward");
});

test("the report is written as JSON, one file per step", async () => {
  const path = join(folder, "report-{step}.json");
  const report = new PrecisionReport({ print: false, path, step: [0, 1] });
  await new Trainer({ ...OPTIONS, precision: 16, callbacks: report }).fit(new Net(), { trainDataloaders: batches(2) });
  const read = JSON.parse(readFileSync(join(folder, "report-1.json"), "utf8")) as StepPrecisionData;
  assert.deepEqual(read, JSON.parse(JSON.stringify(report.latest)));
  assert.equal(new StepPrecision(read).toString(), report.latest?.toString());
});
