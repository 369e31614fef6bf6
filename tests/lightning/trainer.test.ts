import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Callback, LightningOptimizer, MixedPrecision, Trainer } from "@nbit/lightning";
import type { TrainerOptions } from "@nbit/lightning";
import {
  DataLoader,
  getDefaultDtype,
  isGradEnabled,
  manualSeed,
  memory,
  nn,
  optim,
  randn,
  setNumThreads,
  tensor,
} from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { Line } from "../helpers/modules.js";
import { QUIET } from "../helpers/training.js";

setNumThreads(1); // tiny tensors
beforeEach(() => void manualSeed(1)); // batches and weights are the same in every run

const OPTIONS: TrainerOptions = { ...QUIET, maxEpochs: 1 };
const batches = (n: number): Tensor[] => Array.from({ length: n }, () => randn([4, 2]));

/** When validation ran, as epoch.batch. */
async function validations(options: TrainerOptions, loader: Iterable<unknown> = batches(6)): Promise<string[]> {
  const seen: string[] = [];
  class Validated extends Line {
    override validationStep(batch: Tensor): void {
      this.forward(batch);
    }
    override onValidationStart(): void {
      if (!this.trainer.sanityChecking) seen.push(`${this.currentEpoch}.${this.trainer.batchIdx}`);
      assert.equal(this.training, false);
      assert.equal(isGradEnabled(), false);
    }
    override onValidationEnd(): void {
      assert.equal(this.trainer.state.stage, this.trainer.sanityChecking ? "sanity_check" : "validate");
    }
    override onTrainEpochEnd(): void {
      assert.equal(this.training, true);
      assert.equal(isGradEnabled(), true);
    }
  }
  await new Trainer({ ...OPTIONS, maxEpochs: 4, ...options }).fit(new Validated(), {
    trainDataloaders: loader,
    valDataloaders: batches(1),
  });
  return seen;
}

test("validation runs when valCheckInterval and checkValEveryNEpoch say", async () => {
  assert.deepEqual(await validations({}), ["0.5", "1.5", "2.5", "3.5"]);
  assert.deepEqual(await validations({ checkValEveryNEpoch: 2 }), ["1.5", "3.5"]);
  assert.deepEqual(await validations({ valCheckInterval: 4, maxEpochs: 2 }), ["0.3", "1.3"]);
  assert.deepEqual(await validations({ valCheckInterval: 0.5, maxEpochs: 1 }), ["0.2", "0.5"]);
  assert.deepEqual(await validations({ valCheckInterval: 4, checkValEveryNEpoch: null, maxEpochs: 2 }), [
    "0.3",
    "1.1",
    "1.5",
  ]);
  assert.deepEqual(await validations({ limitValBatches: 0 }), []);
  // A loader without a length: only its end says that a batch was the last.
  assert.deepEqual(
    await validations(
      { maxEpochs: 2 },
      {
        *[Symbol.iterator]() {
          yield* batches(3);
        },
      },
    ),
    ["0.2", "1.2"],
  );
  await assert.rejects(validations({ valCheckInterval: 7 }), { code: "ERR_VAL_CHECK_INTERVAL" });
});

test("training ends at maxSteps, maxEpochs and the limits on batches", async () => {
  const run = async (options: TrainerOptions): Promise<number[]> => {
    const trainer = new Trainer({ ...OPTIONS, ...options });
    await trainer.fit(new Line(), { trainDataloaders: batches(10) });
    return [trainer.currentEpoch, trainer.globalStep];
  };
  assert.deepEqual(await run({ maxEpochs: 2 }), [2, 20]);
  assert.deepEqual(await run({ maxEpochs: 3, limitTrainBatches: 4 }), [3, 12]);
  assert.deepEqual(await run({ maxEpochs: 2, limitTrainBatches: 0.25 }), [2, 4]);
  assert.deepEqual(await run({ maxEpochs: -1, maxSteps: 15 }), [2, 15]);
  assert.deepEqual(await run({ maxEpochs: 2, accumulateGradBatches: 4 }), [2, 6]);
  assert.deepEqual(await run({ fastDevRun: true, maxEpochs: 7 }), [1, 1]);
  assert.deepEqual(await run({ fastDevRun: 3 }), [1, 3]);
  assert.deepEqual(await run({ maxEpochs: 0 }), [0, 0]);
  await assert.rejects(run({ limitTrainBatches: 0.01 }), { code: "ERR_LIMIT" });
});

test("when the last batch of an accumulation window returns null, the step is of the others' gradients", async () => {
  const gradients: number[] = [];
  class Skipping extends Line {
    override trainingStep(batch: Tensor, i: number): Tensor | null {
      return i === 1
        ? null
        : this.layer.weight
            .sum()
            .mul(i + 1)
            .add(this.forward(batch).mul(0).sum());
    }
    override onBeforeOptimizerStep(): void {
      gradients.push(Number(this.layer.weight.grad?.flatten().at(0).item()));
    }
  }
  const trainer = new Trainer({ ...OPTIONS, accumulateGradBatches: 2 });
  await trainer.fit(new Skipping(), { trainDataloaders: batches(6) });
  // Windows: (1, null), (3, 4), (5, 6), halved.
  assert.deepEqual(gradients, [1 / 2, (3 + 4) / 2, (5 + 6) / 2]);
  assert.equal(trainer.globalStep, 3);
});

test("onSkippedStep says whether schedulers advance on a skipped step", async () => {
  for (const onSkippedStep of ["advance", "hold"] as const) {
    class Scheduled extends Line {
      override trainingStep(batch: Tensor, i: number): Tensor | null {
        const loss = super.trainingStep(batch, i);
        return i === 1 ? (loss?.mul(Infinity) ?? null) : loss;
      }
      override configureOptimizers(): never {
        const optimizer = new optim.SGD(this.parameters(), { lr: 1 });
        return {
          optimizer,
          lrScheduler: { scheduler: new optim.StepLR(optimizer, 1, 0.5), interval: "step" },
        } as never;
      }
    }
    const trainer = new Trainer({
      ...OPTIONS,
      onSkippedStep,
      plugins: new MixedPrecision({ scaler: { initScale: 16 } }),
    });
    await trainer.fit(new Scheduled(), { trainDataloaders: batches(3) });
    assert.equal(trainer.skippedSteps, 1);
    assert.equal(trainer.optimizers[0]?.paramGroups[0]?.lr, onSkippedStep === "advance" ? 0.125 : 0.25);
  }
});

test("the error at minScale names the parameters that overflow", async () => {
  class Broken extends Line {
    override trainingStep(batch: Tensor, i: number): Tensor | null {
      return super.trainingStep(batch, i)?.mul(NaN) ?? null;
    }
  }
  const trainer = new Trainer({ ...OPTIONS, plugins: new MixedPrecision({ scaler: { initScale: 4, minScale: 1 } }) });
  await assert.rejects(trainer.fit(new Broken(), { trainDataloaders: batches(9) }), {
    code: "LOSS_SCALE_FLOOR",
    message: /gradients that are not finite at scale 1, of layer\.weight, layer\.bias\./,
  });
});

test("optimizerStep may be overridden, and must call its closure", async () => {
  const order: string[] = [];
  class Warm extends Line {
    override trainingStep(batch: Tensor, i: number): Tensor | null {
      order.push("forward");
      return super.trainingStep(batch, i);
    }
    override optimizerStep(
      epoch: number,
      batchIdx: number,
      optimizer: LightningOptimizer,
      closure: () => Tensor | null,
    ): void {
      order.push(`before ${epoch}.${batchIdx} ${optimizer instanceof LightningOptimizer}`);
      optimizer.step(closure);
      for (const group of optimizer.paramGroups) group.lr *= 0.5;
      order.push("after");
    }
  }
  const trainer = new Trainer(OPTIONS);
  await trainer.fit(new Warm(), { trainDataloaders: batches(2) });
  assert.deepEqual(order, ["before 0.0 true", "forward", "after", "before 0.1 true", "forward", "after"]);
  assert.equal(trainer.globalStep, 2);
  assert.equal(trainer.optimizers[0]?.paramGroups[0]?.lr, 0.025);
});

test("manual optimization toggles optimizers, clips unscaled gradients and refuses automatic options", async () => {
  class Manual extends Line {
    readonly other = new nn.Linear(2, 1);
    override automaticOptimization = false;
    norms: number[] = [];
    override trainingStep(batch: Tensor): Tensor {
      const [a, b] = [this.optimizers()].flat();
      assert.ok(a !== undefined && b !== undefined);
      const loss = a.toggled(() => {
        assert.deepEqual([this.layer.weight.requiresGrad, this.other.weight.requiresGrad], [true, false]);
        const value = this.forward(batch).float().square().mean().mul(100);
        a.zeroGrad();
        this.manualBackward(value);
        this.clipGradients(a, { gradientClipVal: 0.25 });
        this.norms.push(
          Math.hypot(...this.layer.parameters().flatMap((p) => Array.from(p.grad?.toTypedArray() ?? [], Number))),
        );
        a.step();
        return value;
      });
      assert.equal(this.other.weight.requiresGrad, true);
      return loss;
    }
    override configureOptimizers(): never {
      return [
        new optim.SGD(this.layer.parameters(), { lr: 0.1 }),
        new optim.SGD(this.other.parameters(), { lr: 0.1 }),
      ] as never;
    }
  }
  const net = new Manual();
  await new Trainer({ ...OPTIONS, plugins: new MixedPrecision({ scaler: { initScale: 64 } }) }).fit(net, {
    trainDataloaders: batches(2),
  });
  assert.equal(net.norms.length, 2);
  for (const norm of net.norms) assert.ok(Math.abs(norm - 0.25) < 1e-4, String(norm));

  await assert.rejects(
    new Trainer({ ...OPTIONS, accumulateGradBatches: 2 }).fit(new Manual(), { trainDataloaders: batches(1) }),
    { code: "ERR_MANUAL_OPTIMIZATION" },
  );
  await assert.rejects(
    new Trainer({ ...OPTIONS, gradientClipVal: 1 }).fit(new Manual(), { trainDataloaders: batches(1) }),
    { code: "ERR_MANUAL_OPTIMIZATION" },
  );
  class Automatic extends Line {
    override configureOptimizers(): never {
      return [new optim.SGD(this.parameters()), new optim.SGD(this.parameters())] as never;
    }
  }
  await assert.rejects(new Trainer(OPTIONS).fit(new Automatic(), { trainDataloaders: batches(1) }), {
    code: "ERR_SEVERAL_OPTIMIZERS",
  });
});

test("an error inside a step restores modes, default dtype and the trainer", async () => {
  for (const precision of [32, "bf16-true", "bf16"] as const) {
    class Failing extends Line {
      override trainingStep(batch: Tensor, i: number): Tensor | null {
        if (i === 1) throw new RangeError("on purpose");
        return super.trainingStep(batch, i);
      }
      override validationStep(): void {
        throw new RangeError("in validation");
      }
    }
    const errors: unknown[] = [];
    class Watch extends Callback {
      override onException(_trainer: unknown, _module: unknown, error: unknown): void {
        errors.push(error);
      }
    }
    const trainer = new Trainer({ ...OPTIONS, precision, callbacks: [new Watch()] });
    const net = new Failing();
    await assert.rejects(trainer.fit(net, { trainDataloaders: batches(3) }), RangeError);
    assert.equal(errors.length, 1);
    assert.deepEqual(trainer.state, { fn: "fit", status: "interrupted", stage: null });
    await assert.rejects(trainer.validate(net, { dataloaders: batches(3) }), /in validation/);
    assert.equal(getDefaultDtype(), "float32");
    assert.equal(isGradEnabled(), true);
    assert.equal(process.listenerCount("SIGINT"), 0);
  }
});

test("a step method that returns a promise is an error that says why", async () => {
  class Asynchronous extends Line {
    override trainingStep(batch: Tensor, i: number): never {
      return Promise.resolve(super.trainingStep(batch, i)) as never;
    }
    override testStep(): unknown {
      return Promise.reject(new Error("unheard"));
    }
  }
  for (const precision of [32, "bf16"] as const) {
    const trainer = new Trainer({ ...OPTIONS, precision });
    await assert.rejects(trainer.fit(new Asynchronous(), { trainDataloaders: batches(1) }), {
      code: "ERR_ASYNC_STEP",
      message:
        /^trainingStep: expected a step that ends when it returns\. Received: a promise\. Autocast and tensor scopes end/,
    });
    await assert.rejects(trainer.test(new Asynchronous(), { dataloaders: batches(1) }), { code: "ERR_ASYNC_STEP" });
  }
});

test("training takes asynchronous loaders, and batches of any shape", async () => {
  const seen: string[] = [];
  class Shapes extends Line {
    override trainingStep(batch: unknown, i: number): Tensor | null {
      const { x, rest } = batch as { x: Tensor; rest: [Map<string, Tensor>, string] };
      seen.push(
        `${x.dtype} ${rest[0].get("y")?.dtype} ${rest[1]} ${this.trainer.numTrainingBatches} ${this.trainer.isLastBatch}`,
      );
      return super.trainingStep(x, i);
    }
  }
  async function* loader(): AsyncGenerator<unknown> {
    for (let i = 0; i < 2; i++) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      yield { x: randn([4, 2]), rest: [new Map([["y", randn([1])]]), "name"] };
    }
  }
  await new Trainer({ ...OPTIONS, precision: 64, maxEpochs: 1 }).fit(new Shapes(), {
    trainDataloaders: { [Symbol.asyncIterator]: loader },
  });
  assert.deepEqual(seen, ["float64 float64 name Infinity false", "float64 float64 name Infinity true"]);
});

test("ten thousand steps hold no more tensors than ten", async () => {
  const counts: number[] = [];
  class Counted extends Line {
    override trainingStep(batch: Tensor, i: number): Tensor | null {
      if (i === 10 || i === 9_999) counts.push(memory().unreleased);
      const loss = super.trainingStep(batch, i);
      if (loss !== null) this.log("loss", loss, { onStep: true, onEpoch: true });
      return loss;
    }
  }
  const data = new DataLoader<Tensor, Tensor>(
    Array.from({ length: 20_000 }, () => 0).map(() => SHARED),
    { batchSize: 2, shuffle: true },
  );
  await new Trainer(OPTIONS).fit(new Counted(), { trainDataloaders: data });
  assert.equal(counts.length, 2);
  assert.ok((counts[1] ?? 0) <= (counts[0] ?? 0), counts.join(" "));
});
const SHARED = tensor([0.5, -0.25]); // small: ten thousand steps must not diverge
