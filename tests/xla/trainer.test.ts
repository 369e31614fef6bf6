/** Whole fits on an XLA device, beside the same fits on the host. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Callback, EarlyStopping, Trainer, type TrainerOptions } from "@nbit/lightning";
import {
  crossEntropyLoss,
  eye,
  isTensor,
  linalg,
  type nn,
  noGrad,
  optim,
  randint,
  randn,
  type Tensor,
} from "@nbit/torch";
import { digestOf } from "../helpers/digest.js";
import { SILENT, warningsOf } from "../helpers/training.js";
import { CERTAIN_KINDS, Classifier, KINDS, type Batch, type Kind } from "../replay/models.js";
import { needsPlugin, train, updateError, worstLossError, type Given } from "./train.js";

type MakeOptimizer = (parameters: Iterable<nn.Parameter>) => optim.Optimizer;
const sgd: MakeOptimizer = (p) => new optim.SGD(p, { lr: 0.05, momentum: 0.9 });
const kindOf = (name: string): Kind => CERTAIN_KINDS[name] as Kind;
const of =
  (kind: Kind, optimizer: MakeOptimizer = sgd, count = 7) =>
  (): Given => ({ module: new Classifier(kind, optimizer), batches: Array.from({ length: count }, kind.batch) });

for (const name of Object.keys(CERTAIN_KINDS))
  for (const [precision, losses, update] of [
    [32, 1e-5, 1e-4],
    ["bf16", 1e-3, 0.1],
    ["bf16-true", 2e-2, 0.2],
  ] as const)
    test(`${name} in ${precision}: losses and updates are those of the host`, needsPlugin, async () => {
      const make = of(kindOf(name));
      const host = await train(make, { accelerator: "cpu", precision });
      const device = await train(make, { accelerator: "xla", precision });
      assert.equal(device.trainer.replayedBatches, 6);
      assert.equal(device.losses.length, 7);
      assert.ok(worstLossError(device, host) <= losses, `losses differ by ${worstLossError(device, host)}`);
      assert.ok(updateError(device, host) <= update, `updates differ by ${updateError(device, host)}`);
    });

const OPTIMIZERS: Readonly<Record<string, MakeOptimizer>> = {
  "AdamW, not fused": (p) => new optim.AdamW(p, { lr: 1e-2 }),
  "Adam, fused": (p) => new optim.Adam(p, { lr: 1e-2, fused: true, weightDecay: 0.01 }),
  "SGD with nesterov": (p) => new optim.SGD(p, { lr: 0.05, momentum: 0.9, nesterov: true, weightDecay: 0.01 }),
  "SGD without momentum": (p) => new optim.SGD(p, { lr: 0.1 }),
};
for (const [name, optimizer] of Object.entries(OPTIMIZERS))
  test(`optimizer ${name}`, needsPlugin, async () => {
    const make = of(kindOf("mlp"), optimizer);
    const host = await train(make, { accelerator: "cpu" });
    const device = await train(make, { accelerator: "xla" });
    assert.ok(device.trainer.replayedBatches >= 5);
    assert.ok(updateError(device, host) <= 1e-4, `${updateError(device, host)}`);
  });

const SETTINGS: Readonly<Record<string, TrainerOptions>> = {
  "windows of three batches": { accumulateGradBatches: 3 },
  "clipped by norm": { gradientClipVal: 0.05 },
  "clipped by value": { gradientClipVal: 0.01, gradientClipAlgorithm: "value" },
  "windows, clipped": { accumulateGradBatches: 2, gradientClipVal: 0.05 },
};
for (const [name, options] of Object.entries(SETTINGS))
  test(name, needsPlugin, async () => {
    const make = of(kindOf("cnn"), sgd, 12);
    const host = await train(make, { accelerator: "cpu", ...options });
    const device = await train(make, { accelerator: "xla", ...options });
    assert.ok(device.trainer.replayedBatches >= 5, String(device.trainer.replayedBatches));
    assert.equal(device.trainer.globalStep, host.trainer.globalStep);
    assert.ok(worstLossError(device, host) <= 1e-5);
    assert.ok(updateError(device, host) <= 1e-4, `${updateError(device, host)}`);
  });

test("a schedule changes the rate of steps that are compiled already", needsPlugin, async () => {
  class Scheduled extends Classifier {
    override configureOptimizers() {
      const optimizer = new optim.SGD(this.parameters(), { lr: 0.1 });
      return { optimizer, lrScheduler: { scheduler: new optim.StepLR(optimizer, 2), interval: "step" } } as never;
    }
  }
  const kind = kindOf("mlp");
  const make = (): Given => ({ module: new Scheduled(kind, sgd), batches: Array.from({ length: 9 }, kind.batch) });
  const host = await train(make, { accelerator: "cpu" });
  const device = await train(make, { accelerator: "xla" });
  assert.ok(updateError(device, host) <= 1e-4);
});

test("a callback reads weights as they are, and what it writes counts", needsPlugin, async () => {
  class Halves extends Callback {
    readonly norms: number[] = [];
    override onTrainBatchEnd(
      _trainer: Trainer,
      module: Classifier,
      _outputs: unknown,
      _batch: unknown,
      i: number,
    ): void {
      const first = [...module.parameters()][0] as Tensor;
      this.norms.push(first.norm().item());
      if (i === 4) noGrad(() => first.mul_(0.5));
    }
  }
  const [onHost, onDevice] = [new Halves(), new Halves()];
  const host = await train(of(kindOf("mlp")), { accelerator: "cpu", callbacks: onHost });
  const device = await train(of(kindOf("mlp")), { accelerator: "xla", callbacks: onDevice });
  onHost.norms.forEach((norm, i) => assert.ok(Math.abs((onDevice.norms[i] ?? NaN) - norm) < 1e-5 * norm));
  assert.ok(updateError(device, host) <= 1e-4);
});

test("what a step returns has its values when somebody looks", needsPlugin, async () => {
  class Looks extends Callback {
    readonly losses: number[] = [];
    override onTrainBatchEnd(_trainer: Trainer, _module: Classifier, outputs: { loss?: Tensor }): void {
      this.losses.push(outputs.loss?.item() ?? NaN);
    }
  }
  const looks = new Looks();
  const { losses } = await train(of(kindOf("mlp")), { accelerator: "xla", callbacks: looks as never });
  assert.deepEqual(looks.losses, losses);
});

test("batches of several shapes have a program each, and many are worth a warning", needsPlugin, async () => {
  const sizes = [4, 4, 3, 4, 3, 5, 4, 6, 7, 8, 9, 10];
  const make = (): Given => ({
    module: new Classifier(kindOf("mlp"), sgd),
    batches: sizes.map((n): Batch => [randn([n, 12]), randint(0, 5, [n])]),
  });
  const host = await train(make, { accelerator: "cpu" });
  let device = host;
  const warnings = await warningsOf(async () => {
    device = await train(make, { accelerator: "xla" });
  });
  assert.ok(updateError(device, host) <= 1e-4);
  assert.deepEqual(
    warnings.map((w) => w.code),
    ["WARN_XLA_SHAPES"],
  );
});

test("checkpoints, validation, early stopping and prediction work as on the host", needsPlugin, async () => {
  class Validated extends Classifier {
    override validationStep([x, y]: Batch): void {
      this.log("val_loss", crossEntropyLoss(this.net.forward(x), y));
    }
    override predictStep([x]: Batch): Tensor {
      return this.net.forward(x).argmax(-1);
    }
  }
  const folder = mkdtempSync(join(tmpdir(), "nbit-xla-"));
  try {
    const kind = kindOf("cnn");
    const run = async (accelerator: string) => {
      const { seedEverything } = await import("@nbit/torch");
      seedEverything(3);
      const module = new Validated(kind, sgd);
      const batches = Array.from({ length: 6 }, kind.batch);
      const validation = Array.from({ length: 2 }, kind.batch);
      const stop = new EarlyStopping({ monitor: "val_loss", patience: 1, minDelta: 10 });
      const trainer = new Trainer({ ...SILENT, accelerator, maxEpochs: 9, callbacks: stop });
      await trainer.fit(module, { trainDataloaders: batches, valDataloaders: validation });
      const path = join(folder, `${accelerator}.ckpt`);
      trainer.saveCheckpoint(path);
      const predictions = await trainer.predict(module, { dataloaders: validation });
      return { epochs: trainer.currentEpoch, metrics: { ...trainer.callbackMetrics }, path, predictions };
    };
    const [host, device] = [await run("cpu"), await run("xla")];
    assert.equal(device.epochs, host.epochs);
    assert.equal(device.epochs, 2);
    assert.deepEqual(Object.keys(device.metrics), Object.keys(host.metrics));
    for (const [name, value] of Object.entries(host.metrics))
      assert.ok(Math.abs((device.metrics[name] ?? NaN) - value) < 1e-4, name);
    assert.deepEqual(digestOf(device.predictions), digestOf(host.predictions));
    // Each goes on from the other's file.
    for (const [accelerator, ckptPath] of [
      ["cpu", device.path],
      ["xla", host.path],
    ] as const) {
      const module = new Validated(kind, sgd);
      const trainer = new Trainer({ ...SILENT, accelerator, maxEpochs: 3 });
      await trainer.fit(module, { trainDataloaders: Array.from({ length: 6 }, kind.batch), ckptPath });
      assert.equal(trainer.globalStep, 18);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("a run that resumes goes on exactly, dropout included", needsPlugin, async () => {
  const folder = mkdtempSync(join(tmpdir(), "nbit-xla-"));
  try {
    const kind = KINDS["mlp"] as Kind;
    const { seedEverything } = await import("@nbit/torch");
    const run = async (maxEpochs: number, ckptPath: string | null) => {
      seedEverything(5);
      const module = new Classifier(kind, (p) => new optim.AdamW(p, { lr: 1e-2 }));
      const batches = Array.from({ length: 6 }, kind.batch);
      const trainer = new Trainer({ ...SILENT, accelerator: "xla", maxEpochs });
      await trainer.fit(module, { trainDataloaders: batches, ckptPath });
      const path = join(folder, `${maxEpochs}.ckpt`);
      trainer.saveCheckpoint(path);
      return { path, digest: digestOf(module.stateDict()) };
    };
    const whole = await run(4, null);
    const half = await run(2, null);
    const resumed = await run(4, half.path);
    assert.equal(resumed.digest, whole.digest);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("dropout is drawn anew in every step, and again from the same seed", needsPlugin, async () => {
  const kind = KINDS["mlp"] as Kind;
  const batch = kind.batch();
  const make = (): Given => ({
    module: new Classifier(kind, (p) => new optim.SGD(p, { lr: 0 })),
    batches: Array.from({ length: 8 }, () => batch),
  });
  const first = await train(make, { accelerator: "xla" });
  const again = await train(make, { accelerator: "xla" });
  assert.deepEqual(again.losses, first.losses);
  assert.ok(new Set(first.losses.slice(2)).size > 3, String(first.losses));
});

test("a loss that is not finite ends the run", needsPlugin, async () => {
  const kind = kindOf("mlp");
  const make = (): Given => ({
    module: new Classifier(kind, sgd),
    batches: Array.from({ length: 8 }, (_, i): Batch => {
      const [x, y] = kind.batch();
      return [i === 4 ? x.mul(NaN) : x, y];
    }),
  });
  await assert.rejects(train(make, { accelerator: "xla" }), {
    code: "ERR_NON_FINITE",
    message: /expected finite losses\. Received: NaN at step 5/,
  });
  await assert.doesNotReject(train(make, { accelerator: "xla", detectNonFinite: false }));
  // Of the last step, too, which nothing comes after.
  const last = (): Given => ({ ...make(), batches: make().batches.slice(0, 5) });
  await assert.rejects(train(last, { accelerator: "xla" }), { code: "ERR_NON_FINITE" });
});

test("what JavaScript reads in a step is named with its line", needsPlugin, async () => {
  class Reads extends Classifier {
    override trainingStep(batch: Batch): Tensor {
      const loss = super.trainingStep(batch);
      return loss.item() > 0 ? loss : loss.mul(2);
    }
  }
  const make = (): Given => ({
    module: new Reads(kindOf("mlp"), sgd),
    batches: Array.from({ length: 4 }, kindOf("mlp").batch),
  });
  await assert.rejects(train(make, { accelerator: "xla" }), (error: Error & { code?: string }) => {
    assert.equal(error.code, "ERR_XLA_STEP");
    assert.match(error.message, /_local_scalar_dense reads a number.*trainer\.test\.ts:\d+:\d+/s);
    return true;
  });
});

test("an operator without a lowering is named with its line", needsPlugin, async () => {
  class Factors extends Classifier {
    override trainingStep(batch: Batch): Tensor {
      const loss = super.trainingStep(batch);
      return loss.add(linalg.cholesky(eye(3).mul(batch[0].square().sum())).sum().mul(0));
    }
  }
  const make = (): Given => ({
    module: new Factors(kindOf("mlp"), sgd),
    batches: Array.from({ length: 4 }, kindOf("mlp").batch),
  });
  await assert.rejects(train(make, { accelerator: "xla" }), (error: Error & { code?: string }) => {
    assert.equal(error.code, "XLA_NO_LOWERING");
    assert.match(error.message, /aten::linalg_cholesky_ex.*trainer\.test\.ts:\d+:\d+/s);
    return true;
  });
});

const THAWING: Readonly<Record<string, MakeOptimizer>> = {
  SGD: (p) => new optim.SGD(p, { lr: 0.05 }),
  // What it remembers of a parameter begins where that thaws, and stays.
  Adam: (p) => new optim.Adam(p, { lr: 0.005 }),
};
for (const [name, optimizer] of Object.entries(THAWING))
  test(`layers that freeze and thaw have programs of their own: ${name}`, needsPlugin, async () => {
    const steps: unknown[][] = [];
    class Thaws extends Classifier {
      override onTrainBatchStart(_batch: unknown, i: number): void {
        const [first] = [...this.parameters()];
        if (i === 0) first?.requiresGrad_(false);
        if (i === 4) first?.requiresGrad_(true);
      }
      override onTrainEnd(): void {
        const { state } = this.trainer.optimizers[0] ?? {};
        const counts = [...this.parameters()].map((p): unknown => state?.get(p)?.["step"] ?? 0);
        steps.push(counts.map((count) => (isTensor(count) ? count.item() : count)));
      }
    }
    const make = (): Given => ({
      module: new Thaws(kindOf("mlp"), optimizer),
      batches: Array.from({ length: 9 }, kindOf("mlp").batch),
    });
    const host = await train(make, { accelerator: "cpu" });
    const device = await train(make, { accelerator: "xla" });
    assert.ok(device.trainer.replayedBatches >= 7);
    assert.ok(updateError(device, host) <= 1e-4, `${updateError(device, host)}`);
    assert.deepEqual(steps[1], steps[0]);
    assert.deepEqual([...new Set(steps.flat())], name === "Adam" ? [5, 9] : [0]);
  });

test("windows that end early, and options of optimizers that change, are as on the host", needsPlugin, async () => {
  class Decays extends Classifier {
    override onTrainBatchEnd(): void {
      for (const group of this.trainer.optimizers[0]?.paramGroups ?? [])
        group["weightDecay"] = 0.1 * this.trainer.globalStep;
    }
  }
  const make = (): Given => ({
    module: new Decays(kindOf("mlp"), sgd),
    batches: Array.from({ length: 10 }, kindOf("mlp").batch),
  });
  const host = await train(make, { accelerator: "cpu", accumulateGradBatches: 3 });
  const device = await train(make, { accelerator: "xla", accumulateGradBatches: 3 });
  assert.ok(device.trainer.replayedBatches >= 7, String(device.trainer.replayedBatches));
  assert.ok(updateError(device, host) <= 1e-4, `${updateError(device, host)}`);
});

test("a step without a loss cannot be compiled, and says so", needsPlugin, async () => {
  class Rests extends Classifier {
    #steps = 0;
    override trainingStep(batch: Batch): Tensor {
      const loss = super.trainingStep(batch);
      return this.#steps++ === 0 ? loss : (null as unknown as Tensor);
    }
  }
  const batches = Array.from({ length: 4 }, kindOf("mlp").batch);
  await assert.rejects(
    train(() => ({ module: new Rests(kindOf("mlp"), sgd), batches }), { accelerator: "xla" }),
    { code: "ERR_XLA_STEP", message: /returned no loss/ },
  );
});

test("a tensor that a step writes must be the module's", needsPlugin, async () => {
  class Counts extends Classifier {
    readonly #seen = randn([1]);
    override trainingStep(batch: Batch): Tensor {
      noGrad(() => this.#seen.add_(1));
      return super.trainingStep(batch);
    }
  }
  const make = (): Given => ({
    module: new Counts(kindOf("mlp"), sgd),
    batches: Array.from({ length: 4 }, kindOf("mlp").batch),
  });
  await assert.rejects(train(make, { accelerator: "xla" }), { code: "XLA_STATE", message: /registerBuffer/ });
});

const REFUSED: readonly (readonly [what: string, options: TrainerOptions, code: string])[] = [
  ["float64", { precision: 64 }, "ERR_PRECISION_TPU_DOUBLE"],
  ["a strategy of processes", { strategy: "ddp_find_unused_parameters_true" }, "ERR_XLA_STRATEGY"],
];
for (const [what, options, code] of REFUSED)
  test(`${what} is refused when the Trainer is made`, needsPlugin, () => {
    assert.throws(() => new Trainer({ ...SILENT, accelerator: "xla", ...options }), { code });
  });

test(
  "hooks in the middle of a step, and options for the host, are refused before anything runs",
  needsPlugin,
  async () => {
    class Hooked extends Classifier {
      override onAfterBackward(): void {}
    }
    const batches = Array.from({ length: 4 }, kindOf("mlp").batch);
    await assert.rejects(
      train(() => ({ module: new Hooked(kindOf("mlp"), sgd), batches }), { accelerator: "xla" }),
      { code: "ERR_XLA_STEP" },
    );
    for (const options of [{ detectNonFinite: "gradients" }, { activationOffloading: true }] as const)
      await assert.rejects(train(of(kindOf("mlp")), { accelerator: "xla", ...options }), { code: "ERR_XLA_OPTION" });
  },
);
