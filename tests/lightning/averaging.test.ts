/** Averages of weights: Lightning's numbers, in every precision, through validation, checkpoints and errors. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import {
  Callback,
  EMAWeightAveraging,
  InterruptError,
  type LightningModule,
  readCheckpoint,
  StochasticWeightAveraging,
  WeightAveraging,
  type PrecisionInput,
  type TrainerOptions,
  type TrainerView,
} from "@nbit/lightning";
import { NbitError, nn, optim, type Tensor } from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { fit, FIXTURE, loaders, near, Net, sameAs, trainerOf, weights, type NetOptions } from "./callback-net.js";

const COUNT = ["norm.num_batches_tracked"];
test("averages are Lightning's", async (t) => {
  const cases: readonly (readonly [string, () => Callback, NetOptions?, TrainerOptions?])[] = [
    ["mean", () => new WeightAveraging()],
    ["mean_norm", () => new WeightAveraging(), { norm: true }],
    ["mean_copied_buffers", () => new WeightAveraging({ useBuffers: false }), { norm: true }],
    ["ema", () => new EMAWeightAveraging({ decay: 0.9 })],
    ["ema_every", () => new EMAWeightAveraging(null, true, 0.8, 3)],
    ["ema_epochs", () => new EMAWeightAveraging({ decay: 0.5, updateEveryNSteps: 0, updateStartingAtEpoch: 0 })],
    ["ema_accumulate", () => new EMAWeightAveraging({ decay: 0.9 }), {}, { accumulateGradBatches: 2 }],
  ];
  for (const [name, callback, net = {}, options = {}] of cases)
    await t.test(name, async () => {
      const model = new Net(net);
      await fit(callback(), model, options);
      const want = FIXTURE.averaging[name];
      assert.ok(want !== undefined);
      // Lightning validates the first weights until there are averages.
      const val = name === "ema_epochs" ? [...model.seen.slice(0, 1), ...want.val.slice(1)] : want.val;
      sameAs(model, { ...want, val }, COUNT);
    });
});

test("stochastic weight averaging is Lightning's", async (t) => {
  const cases: readonly (readonly [string, () => Callback, NetOptions, number])[] = [
    ["share", () => new StochasticWeightAveraging(0.05, 0.5, 2), {}, 6],
    [
      "linear",
      () =>
        new StochasticWeightAveraging([0.02], { swaEpochStart: 3, annealingEpochs: 3, annealingStrategy: "linear" }),
      { scheduler: 0.9 },
      6,
    ],
    [
      "norm",
      () => new StochasticWeightAveraging({ swaLrs: 0.05, swaEpochStart: 2, annealingEpochs: 0 }),
      { norm: true },
      5,
    ],
  ];
  for (const [name, callback, options, maxEpochs] of cases)
    await t.test(name, async () => {
      const model = new Net(options);
      await fit(callback(), model, { maxEpochs });
      const want = FIXTURE.swa[name];
      assert.ok(want !== undefined);
      // Lightning computes statistics in an epoch of its own, which it validates too.
      sameAs(model, { ...want, val: want.val.slice(0, maxEpochs), rates: want.rates.slice(0, maxEpochs) }, []);
    });
});

class Watch extends Callback {
  readonly training: string[] = [];
  readonly validation: string[] = [];
  #of(module: LightningModule): string {
    return JSON.stringify(module.parameters().map((p) => [p.dtype, p.tolist()]));
  }
  override onValidationStart(_trainer: TrainerView, module: LightningModule): void {
    this.training.push(this.#of(module));
  }
  override onValidationBatchStart(_trainer: TrainerView, module: LightningModule): void {
    this.validation.push(this.#of(module));
  }
  override onValidationEnd(_trainer: TrainerView, module: LightningModule): void {
    this.training.push(this.#of(module));
  }
}
const PRECISIONS: readonly {
  readonly precision?: PrecisionInput;
  readonly ampBackend?: string;
  readonly ampLevel?: "O2";
}[] = [
  { precision: 32 },
  { precision: "bf16" },
  { precision: 16 },
  { precision: "bf16-true" },
  { precision: "16-true" },
  { ampBackend: "apex", ampLevel: "O2", precision: 16 },
];
for (const options of PRECISIONS)
  test(`training goes on as without averages: ${JSON.stringify(options)}`, async () => {
    const run = async (callbacks: readonly Callback[]): Promise<Net> => {
      const net = new Net({ norm: true });
      await fit(callbacks, net, { ...options, maxEpochs: 3 });
      return net;
    };
    const watch = new Watch();
    const averaging = new EMAWeightAveraging({ decay: 0.999 });
    const averaged = await run([averaging, watch]);
    const plain = await run([]);
    assert.deepEqual(averaged.losses, plain.losses);
    for (let i = 0; i < watch.training.length; i += 2) {
      assert.equal(watch.training[i], watch.training[i + 1]);
      assert.notEqual(watch.training[i], watch.validation[i / 2]);
    }
    assert.notDeepEqual(weights(averaged), weights(plain));
  });

test("averages of 16 bits move where their own dtype would not, and masters are averaged", async () => {
  for (const options of [{ precision: "bf16-true" }, { ampBackend: "apex", ampLevel: "O2", precision: 16 }] as const) {
    const callback = new EMAWeightAveraging({ decay: 0.9995 });
    let seen: Readonly<Record<string, Tensor>> = {};
    let first: number[] = [];
    class Look extends Callback {
      override onTrainBatchEnd(_trainer: TrainerView, _module: LightningModule): void {
        seen = callback.averages;
        const values = seen["backbone.weight"]?.flatten().tolist() as number[];
        assert.equal(seen["backbone.weight"]?.dtype, "float32");
        if (first.length === 0) first = values;
        else assert.notDeepEqual(values, first);
      }
    }
    await fit([callback, new Look()], new Net(), { ...options, maxEpochs: 2 });
  }
});

/** Stops a run, as SIGINT would, in the middle of validation. */
class InterruptValidation extends Callback {
  constructor(readonly epoch: number) {
    super();
  }
  override onValidationBatchEnd(trainer: TrainerView): void {
    if (trainer.currentEpoch === this.epoch) process.kill(process.pid, "SIGINT");
  }
}

for (const [name, make] of [
  ["ema", () => new EMAWeightAveraging({ decay: 0.9, updateStartingAtStep: 2 })],
  ["mean", () => new WeightAveraging()],
  ["swa", () => new StochasticWeightAveraging({ swaLrs: 0.03, swaEpochStart: 2, annealingEpochs: 3 })],
  [
    "swa-linear",
    () => new StochasticWeightAveraging({ swaLrs: 0.03, swaEpochStart: 0.5, annealingStrategy: "linear" }),
  ],
] as const)
  for (const options of [
    { precision: 64 },
    { precision: "bf16-true" },
    { ampBackend: "apex", ampLevel: "O2", precision: 16 },
  ] as const)
    test(`a run that goes on from a checkpoint is the same: ${name}, ${JSON.stringify(options)}`, async () => {
      const folder = temporaryFolder("averaging");
      class Save extends Callback {
        override onTrainBatchEnd(trainer: TrainerView): void {
          if (trainer.globalStep % 3 === 1) trainer.saveCheckpoint(join(folder, `${trainer.globalStep}.ckpt`));
        }
        override onTrainEpochEnd(trainer: TrainerView): void {
          trainer.saveCheckpoint(join(folder, `epoch${trainer.currentEpoch}.ckpt`));
        }
      }
      const netOptions = { norm: true, shuffle: true, ...(name === "swa" ? { scheduler: 0.9 } : {}) };
      const whole = new Net(netOptions);
      await fit([make(), new Save()], whole, { ...options, maxEpochs: 4 });
      for (const file of ["4.ckpt", "7.ckpt", "13.ckpt", "epoch1.ckpt", "epoch2.ckpt"]) {
        const part = new Net(netOptions);
        const trainer = trainerOf(make(), { ...options, maxEpochs: 4 });
        await trainer.fit(part, { ...loaders(part), ckptPath: join(folder, file) });
        assert.deepEqual(weights(part), weights(whole), file);
        assert.deepEqual(part.seen, whole.seen.slice(-part.seen.length), file);
      }
    });

test("an interrupt in validation saves the weights, and leaves them in the module", async () => {
  const folder = temporaryFolder("averaging");
  const options = { maxEpochs: 3, enableCheckpointing: true, defaultRootDir: folder } as const;
  const make = (): EMAWeightAveraging => new EMAWeightAveraging({ decay: 0.8 });
  const whole = new Net({ norm: true });
  await fit(make(), whole, { maxEpochs: 3 });
  const net = new Net({ norm: true });
  const trainer = trainerOf([make(), new InterruptValidation(1)], options);
  let path = "";
  await assert.rejects(trainer.fit(net, loaders(net)), (error: unknown) => {
    assert.ok(error instanceof InterruptError);
    path = error.checkpointPath ?? "";
    return true;
  });
  const saved = readCheckpoint(path) as unknown as { currentModelState: Record<string, Tensor> };
  near(
    weights(net)["head.weight"] ?? [],
    saved.currentModelState["head.weight"]?.flatten().tolist() as number[],
    "head",
  );
  const part = new Net({ norm: true });
  await trainerOf(make(), { maxEpochs: 3 }).fit(part, { ...loaders(part), ckptPath: path });
  assert.deepEqual(weights(part), weights(whole));
});

test("a checkpoint has averages for those who evaluate", async () => {
  const folder = temporaryFolder("averaging");
  const path = join(folder, "a.ckpt");
  const averaging = new WeightAveraging();
  let averages: unknown = null;
  class Save extends Callback {
    override onTrainEpochEnd(trainer: TrainerView): void {
      trainer.saveCheckpoint(path);
      averages = averaging.averages["head.weight"]?.tolist();
    }
  }
  const net = new Net();
  await fit([averaging, new Save()], net, { maxEpochs: 2 });
  const other = new Net();
  const trainer = trainerOf([], {});
  const [result] = await trainer.validate(other, { dataloaders: other.valDataloader(), ckptPath: path });
  assert.deepEqual(other.head.weight.tolist(), averages);
  near([result?.val_loss ?? NaN], net.seen.slice(-1), "val_loss");
  assert.equal(averaging.nAveraged, 0);
});

test("until the first update the weights themselves are validated, and kept", async () => {
  const plain = new Net();
  await fit([], plain);
  const net = new Net();
  await fit(new EMAWeightAveraging({ updateStartingAtStep: 1000 }), net);
  assert.deepEqual([weights(net), net.seen], [weights(plain), plain.seen]);
});

test("tied and frozen weights", async () => {
  class Tied extends Net {
    readonly other = new nn.Linear(4, 6);
    readonly still = new nn.Linear(2, 2);
    constructor() {
      super();
      this.other.weight = this.backbone.weight;
      this.still.requiresGrad_(false);
    }
    override loss([x, y]: [Tensor, Tensor]): Tensor {
      return this.head
        .forward(this.backbone.forward(x).add(this.other.forward(x)).tanh())
        .sub(y)
        .square()
        .mean();
    }
  }
  const path = join(temporaryFolder("averaging"), "a.ckpt");
  const averaging = new WeightAveraging();
  class Save extends Callback {
    override onTrainEpochEnd(trainer: TrainerView): void {
      assert.equal("still.weight" in averaging.averages, false);
      trainer.saveCheckpoint(path);
    }
  }
  await fit([averaging, new Save()], new Tied(), { maxEpochs: 1 });
  const { stateDict, ...rest } = readCheckpoint(path);
  const { currentModelState } = rest as unknown as { currentModelState: Record<string, Tensor> };
  assert.deepEqual(stateDict["other.weight"]?.tolist(), stateDict["backbone.weight"]?.tolist());
  assert.notDeepEqual(stateDict["other.weight"]?.tolist(), currentModelState["other.weight"]?.tolist());
});

test("wrong settings are errors before training", async () => {
  const code = (wanted: string) => (error: unknown) => error instanceof NbitError && error.code === wanted;
  assert.throws(() => new EMAWeightAveraging({ decay: 2 }), code("ERR_ARGUMENT"));
  const average = optim.swaUtils;
  assert.throws(
    () => new WeightAveraging({ avgFn: average.getSwaAvgFn(), multiAvgFn: average.getSwaMultiAvgFn() }),
    code("ERR_ARGUMENT"),
  );
  assert.throws(() => new StochasticWeightAveraging({ swaLrs: 0 }), code("ERR_ARGUMENT"));
  assert.throws(() => new StochasticWeightAveraging({ swaLrs: 0.1, swaEpochStart: 1.5 }), code("ERR_ARGUMENT"));
  const net = new Net();
  await assert.rejects(fit(new StochasticWeightAveraging(0.1), net, { maxEpochs: -1, maxSteps: 3 }), code("ERR_SWA"));
  class Two extends Net {
    override automaticOptimization = false;
    override configureOptimizers() {
      return [new optim.SGD(this.backbone.parameters()), new optim.SGD(this.head.parameters())] as never;
    }
  }
  await assert.rejects(fit(new StochasticWeightAveraging(0.1), new Two()), code("ERR_SWA"));
  assert.deepEqual(net.losses, []);
});
