import assert from "node:assert/strict";
import { test } from "node:test";
import { ApexPrecision, LightningModule, MixedPrecision, NonFiniteError, Trainer } from "@nbit/lightning";
import type { TrainerOptions } from "@nbit/lightning";
import {
  full,
  memory,
  nn,
  optim,
  randn,
  scaledDotProductAttention,
  seedEverything,
  setNumThreads,
  tensor,
  zeros,
} from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { QUIET } from "../helpers/training.js";

setNumThreads(1);
const OPTIONS: TrainerOptions = { ...QUIET, maxEpochs: 1 };

class Planted extends nn.Module {
  constructor(readonly fault: (x: Tensor) => Tensor) {
    super();
  }
  forward(x: Tensor): Tensor {
    return this.fault(x);
  }
}
class Net extends LightningModule {
  readonly first = new nn.Linear(4, 8);
  readonly drop = new nn.Dropout(0.5);
  readonly middle: Planted;
  readonly last = new nn.Linear(8, 1);
  readonly #from: number;
  calls = 0;
  constructor(fault: (x: Tensor) => Tensor, from = 2) {
    super();
    this.middle = new Planted((x) => (this.batchNow >= from ? fault(x) : x));
    this.#from = from;
  }
  batchNow = 0;
  override trainingStep(batch: Tensor, batchIdx: number): Tensor {
    this.batchNow = batchIdx;
    this.calls++;
    assert.ok(batchIdx <= this.#from + 40);
    return this.last
      .forward(this.middle.forward(this.drop.forward(this.first.forward(batch))))
      .square()
      .mean();
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 1e-3 });
  }
}
const batches = (n: number): Tensor[] => Array.from({ length: n }, () => randn([3, 4]));

async function fails(
  net: LightningModule,
  options: TrainerOptions = {},
  data: readonly unknown[] = batches(6),
): Promise<NonFiniteError> {
  let caught: unknown = null;
  await new Trainer({ ...OPTIONS, ...options })
    .fit(net, { trainDataloaders: data })
    .catch((error: unknown) => (caught = error));
  assert.ok(caught instanceof NonFiniteError, `expected a NonFiniteError. Received: ${String(caught)}`);
  return caught;
}

test("the error names the step, the module and the operator where NaN began, and weights are as before the step", async () => {
  seedEverything(0);
  const net = new Net((x) => x.abs().neg().sub(1).log());
  const error = await fails(net, { precision: 32 });
  assert.equal(error.code, "ERR_NON_FINITE");
  assert.equal(
    error.message,
    'fit: expected a finite loss. Received: NaN, at step 2 (epoch 0, batch 2), precision "32-true". It began in module middle (Planted), in the forward of operator log: its inputs were finite, and what came out (float32) is NaN. It is not defined, or has no gradient, for some of its inputs: add a small eps to them, or clamp them. (detectNonFinite: false goes on regardless.)',
  );
  assert.deepEqual(
    { ...error.origin },
    {
      phase: "forward",
      module: "middle",
      operator: "log",
      inside: null,
      dtype: "float32",
      kind: "nan",
      infinityFrom: null,
    },
  );
  assert.ok(net.first.weight.isfinite().all().item());
  assert.equal(net.calls, 4, "two good steps, the bad one, its replay");
});

test("infinities that became NaN are followed to where they began", async () => {
  seedEverything(0);
  const error = await fails(
    new Net((x) => {
      const big = x.abs().add(1000).exp();
      return big.sub(big);
    }),
  );
  assert.deepEqual(
    [
      error.origin?.operator,
      error.origin?.kind,
      error.origin?.infinityFrom?.operator,
      error.origin?.infinityFrom?.kind,
    ],
    ["sub", "nan", "exp", "inf"],
  );
  assert.match(
    error.message,
    /its inputs were not NaN, .* Infinities among its inputs came from exp in middle\. Its inputs are too large/,
  );
});

test("a cast that overflows is named as such", async () => {
  seedEverything(0);
  const error = await fails(new Net((x) => x.add(1e5).half().float()), { precision: 32 });
  const origin = error.origin?.infinityFrom;
  assert.deepEqual(
    [origin?.module, origin?.kind, origin?.dtype, origin?.inside],
    ["middle", "inf", "float16", "the cast float32 → float16"],
  );
  assert.match(
    error.message,
    /Infinities among its inputs came from the cast float32 → float16 in middle\. float16 ends at 65,504: remove the cast/,
  );
});

test("the search repeats the failing step with the same dropout masks", async () => {
  // log of an element that dropout has zeroed: whether it is there depends on the draw alone.
  const run = async (): Promise<NonFiniteError> => {
    seedEverything(4);
    return fails(
      new Net((x) => x.narrow(0, 0, 1).narrow(1, 0, 1).abs().log().abs().reshape([1, 1]).expand([3, 8]), 0),
      {},
      batches(30),
    );
  };
  const error = await run();
  // The last layer makes NaN of the infinity.
  const origin = error.origin?.infinityFrom ?? error.origin;
  assert.deepEqual([origin?.module, origin?.operator, origin?.kind], ["middle", "log", "inf"]);
  assert.equal((await run()).message, error.message);
});

test("infinities in an attention mask are not reported, NaN after the softmax is", async () => {
  seedEverything(0);
  const mask = full([3, 3], -Infinity).triu(1);
  const attention = (x: Tensor): Tensor =>
    scaledDotProductAttention(x, x, x, mask).add(x.mm(x.t()).add(mask).softmax(-1).mm(x));
  await new Trainer(OPTIONS).fit(new Net(attention), { trainDataloaders: batches(4) });
  const error = await fails(new Net((x) => attention(x).sub(1e3).sqrt()));
  assert.deepEqual([error.origin?.operator, error.origin?.infinityFrom], ["sqrt", null]);
});

test("a gradient that is not finite: found in its own step when asked for, and pointed at otherwise", async () => {
  // sqrt has no gradient at 0: the loss is finite, the gradient is not.
  const fault = (x: Tensor): Tensor => x.mul(0).abs().sqrt().add(x);
  seedEverything(0);
  const exact = await fails(new Net(fault), { detectNonFinite: "gradients" });
  assert.match(
    exact.message,
    /^fit: expected finite gradients\. Received: gradients that are not, of first\.weight, first\.bias, at step 2 /,
  );
  assert.deepEqual(
    [exact.origin?.phase, exact.origin?.module, exact.origin?.operator],
    ["backward", "middle", "SqrtBackward0"],
  );
  seedEverything(0);
  const late = await fails(new Net(fault), {});
  assert.match(
    late.message,
    /Received: NaN, at step 3 .* Before this step already first\.weight, first\.bias were not finite: .* Pass detectNonFinite: "gradients"/,
  );
  assert.deepEqual(late.parameters, ["first.weight", "first.bias"]);
});

test("memory that held NaN before is not taken for the fault", async () => {
  const fault = (x: Tensor): Tensor => {
    for (let n = 1; n <= 64; n++) for (let i = 0; i < 8; i++) full([n], NaN).dispose();
    return x.mul(0).abs().sqrt().add(x);
  };
  seedEverything(0);
  const { origin } = await fails(new Net(fault), { detectNonFinite: "gradients" });
  assert.deepEqual([origin?.phase, origin?.module, origin?.operator], ["backward", "middle", "SqrtBackward0"]);
});

test("a batch that is not finite is the batch's fault", async () => {
  seedEverything(0);
  const error = await fails(new Net((x) => x), {}, [zeros([3, 4]), tensor([[1, NaN, 1, 1]])]);
  assert.match(
    error.message,
    /batch 1\), precision "32-true"\. The batch itself holds NaN or infinity\. Look at the data set/,
  );
});

test("under loss scaling steps are skipped until the floor, whose error names the place too", async () => {
  seedEverything(0);
  const error = await fails(new Net((x) => x.float().mul(0).sub(1).sqrt(), 0), { precision: 16 }, batches(40));
  assert.equal(error.code, "LOSS_SCALE_FLOOR");
  assert.match(
    error.message,
    /^precision "16-mixed": expected finite gradients at the smallest loss scale\. .* It began in module middle \(Planted\), in the forward of operator sqrt: /,
  );
});

test("a lazy scaler, as on a GPU: the floor's error comes at log steps, with the same names and place", async () => {
  const planted = (): Net => new Net((x) => x.float().mul(0).sub(1).sqrt(), 0);
  const plugin = (lazy: boolean): MixedPrecision => new MixedPrecision({ scaler: { initScale: 4, minScale: 1, lazy } });
  const fit = async (lazy: boolean, logEveryNSteps: number): Promise<{ message: string; steps: number }> => {
    seedEverything(0);
    const trainer = new Trainer({ ...OPTIONS, plugins: plugin(lazy), logEveryNSteps });
    const error = await trainer.fit(planted(), { trainDataloaders: batches(40) }).then(
      () => null,
      (e: unknown) => e,
    );
    assert.ok(error instanceof NonFiniteError && error.code === "LOSS_SCALE_FLOOR", String(error));
    return { message: error.message, steps: trainer.globalStep };
  };
  const eager = await fit(false, 10);
  assert.match(
    eager.message,
    /gradients that are not finite at scale 1, of first\.weight, first\.bias.* It began in module middle \(Planted\), in the forward of operator sqrt: /,
  );
  assert.equal(eager.steps, 3, "scales 4, 2, and 1, the floor");
  assert.deepEqual(
    await fit(true, 10),
    { message: eager.message, steps: 11 },
    "the log step finds cause, the next step decides",
  );
  assert.deepEqual(await fit(true, 1), { message: eager.message, steps: 3 }, "no step earlier than at once");
});

test("detectNonFinite can be switched off, and refuses unknown values", async () => {
  seedEverything(0);
  const net = new Net((x) => x.neg().sub(1e3).log());
  await new Trainer({ ...OPTIONS, detectNonFinite: false }).fit(net, { trainDataloaders: batches(6) });
  assert.ok(!net.first.weight.isfinite().all().item());
  assert.throws(() => new Trainer({ ...OPTIONS, detectNonFinite: "loss" as never }), {
    message: 'Trainer: expected detectNonFinite to be one of true, false, "step", "gradients". Received: "loss".',
  });
});

test("detection leaves no tensors and hooks behind", async () => {
  const counts: number[] = [];
  class Counting extends Net {
    override onTrainBatchEnd(): void {
      counts.push(memory().unreleased);
    }
  }
  seedEverything(0);
  await new Trainer({ ...OPTIONS, detectNonFinite: "gradients" }).fit(new Counting((x) => x), {
    trainDataloaders: batches(6),
  });
  assert.equal(counts[5], counts[2]);
});

test("buffers that the replay puts back are not taken for the loss", async () => {
  seedEverything(0);
  class Normed extends Net {
    readonly norm = new nn.BatchNorm1d(4);
    override trainingStep(batch: Tensor, batchIdx: number): Tensor {
      return super.trainingStep(this.norm.forward(batch), batchIdx);
    }
  }
  const { origin } = await fails(new Normed((x) => x.abs().neg().sub(1).log()));
  assert.deepEqual([origin?.module, origin?.operator], ["middle", "log"]);
});

const APEX: readonly (readonly [string, ConstructorParameters<typeof ApexPrecision>[0]])[] = [
  ["O0", { optLevel: "O0" }],
  ["O1 with a static scale", { optLevel: "O1", lossScale: 128 }],
  ["O2 with a static scale", { optLevel: "O2", lossScale: "128.0" }],
  ["O3", { optLevel: "O3" }],
  ["O2 that is switched off", { optLevel: "O2", enabled: false }],
];
/** The loss alone is NaN: its gradients are finite. */
class NanLoss extends Net {
  override trainingStep(batch: Tensor, batchIdx: number): Tensor {
    return super.trainingStep(batch, batchIdx).add(batchIdx >= 2 ? NaN : 0);
  }
}
const nanOf = (x: Tensor): Tensor => x.float().mul(0).sub(1).sqrt().to(x.dtype);
const NETS: readonly (readonly [string, string, () => Net])[] = [
  ["finite gradients", "", () => new NanLoss((x) => x)],
  ["NaN that the program adds", "middle", () => new Net((x) => x.add(NaN))],
  ["gradients that are not finite", "middle", () => new Net(nanOf)],
];
for (const [name, options] of APEX)
  test(`APEX ${name}: nothing skips, so a NaN loss ends the run before the weights have it`, async () => {
    for (const [kind, module, make] of NETS) {
      for (const detectNonFinite of [true, "gradients"] as const) {
        seedEverything(0);
        const net = make();
        const error = await fails(net, { plugins: new ApexPrecision(options), detectNonFinite });
        assert.equal(error.code, "ERR_NON_FINITE", kind);
        assert.match(error.message, /^fit: expected a finite loss\. Received: NaN, at step 2 /, kind);
        assert.equal(error.origin?.module, module, kind);
        assert.ok(net.first.weight.isfinite().all().item(), kind);
      }
    }
  });

test("APEX with a static scale: gradients that are not finite, of a finite loss, are found when asked for, and in the next loss otherwise", async () => {
  const fault = (x: Tensor): Tensor => x.float().mul(0).abs().sqrt().to(x.dtype).add(x);
  for (const optLevel of ["O0", "O3"] as const) {
    seedEverything(0);
    const exact = await fails(new Net(fault), {
      plugins: new ApexPrecision({ optLevel }),
      detectNonFinite: "gradients",
    });
    assert.match(
      exact.message,
      /^fit: expected finite gradients\. Received: gradients that are not, of first\.weight, first\.bias, at step 2 /,
    );
    seedEverything(0);
    assert.match(
      (await fails(new Net(fault), { plugins: new ApexPrecision({ optLevel }) })).message,
      /Received: NaN, at step 3 /,
    );
  }
});

test("APEX with a dynamic scale: a NaN loss with finite gradients ends the run at once, one with others at the smallest scale", async () => {
  for (const optLevel of ["O1", "O2"] as const) {
    seedEverything(0);
    const error = await fails(new NanLoss((x) => x), { plugins: new ApexPrecision({ optLevel }) });
    assert.match(error.message, /^fit: expected a finite loss\. Received: NaN, at step 2 /);
    for (const [minLossScale, last] of [
      [2 ** 15, 2],
      [null, 31],
    ] as const) {
      seedEverything(0);
      const trainer = new Trainer({ ...OPTIONS, plugins: new ApexPrecision({ optLevel, minLossScale }) });
      const floor = await trainer.fit(new Net(nanOf, 0), { trainDataloaders: batches(40) }).then(
        () => null,
        (e: unknown) => e,
      );
      assert.ok(floor instanceof NonFiniteError && floor.code === "LOSS_SCALE_FLOOR", String(floor));
      assert.match(
        floor.message,
        /^ampBackend "apex": expected finite gradients at the smallest loss scale\. Received: gradients that are not finite at scale \S+, of first\.weight, first\.bias.* or lower minLossScale\. It began in module middle \(Planted\), in the forward of operator sqrt: /,
      );
      assert.equal(trainer.globalStep, last);
      assert.ok(trainer.skippedSteps === last);
    }
  }
});

test("APEX that is switched off has no scale", async () => {
  const trainer = new Trainer({ ...OPTIONS, plugins: new ApexPrecision({ optLevel: "O2", enabled: false }) });
  await trainer.fit(new Net((x) => x), { trainDataloaders: batches(2) });
  assert.equal(trainer.lossScale, null);
  assert.equal(trainer.precision.stateDict()?.["dynamic"], false);
  assert.match(trainer.precision.explain({ print: false }).toString(), /loss scaling {2,}none: APEX is not enabled/);
});
