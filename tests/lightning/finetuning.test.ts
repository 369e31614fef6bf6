/** Finetuning and pruning: Lightning's numbers, and runs that go on from checkpoints. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import {
  BackboneFinetuning,
  BaseFinetuning,
  Callback,
  ModelPruning,
  readCheckpoint,
  type ModelPruningOptions,
  type TrainerOptions,
  type TrainerView,
} from "@nbit/lightning";
import { NbitError, nn, optim, zeros } from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { warningsOf } from "../helpers/training.js";
import { fit, FIXTURE, loaders, Net, sameAs, trainerOf, weights, type NetOptions } from "./callback-net.js";

const coded =
  (code: string, message = /./) =>
  (error: unknown) => {
    assert.ok(error instanceof NbitError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  };

const FINETUNING: readonly (readonly [string, () => Callback, NetOptions])[] = [
  ["default", () => new BackboneFinetuning({ unfreezeBackboneAtEpoch: 2 }), {}],
  ["slow", () => new BackboneFinetuning(1, () => 1.5, { backboneInitialRatioLr: 0.2, trainBn: false }), {}],
  [
    "unaligned",
    () => new BackboneFinetuning({ unfreezeBackboneAtEpoch: 1, backboneInitialLr: 0.04, shouldAlign: false }),
    { scheduler: 0.9 },
  ],
];
test("the backbone is trained as Lightning does", async (t) => {
  for (const [name, make, options] of FINETUNING)
    for (const replay of ["auto", false] as const)
      await t.test(`${name}, replay: ${replay}`, async () => {
        const net = new Net(options);
        await fit(make(), net, { maxEpochs: 5, replay });
        sameAs(net, FIXTURE.finetuning[name]);
      });
});

/** Saves after some steps, and goes on from each of these in a run that must end like the whole one. */
async function resumes(make: () => Callback, options: NetOptions, more: TrainerOptions = {}): Promise<void> {
  const folder = temporaryFolder("finetuning");
  class Save extends Callback {
    override onTrainBatchEnd(trainer: TrainerView): void {
      trainer.saveCheckpoint(join(folder, `${trainer.globalStep}.ckpt`));
    }
    override onTrainEpochEnd(trainer: TrainerView): void {
      trainer.saveCheckpoint(join(folder, `epoch${trainer.currentEpoch}.ckpt`));
    }
  }
  const whole = new Net({ shuffle: true, ...options });
  await fit([make(), new Save()], whole, { maxEpochs: 4, ...more });
  for (const file of [
    "2.ckpt",
    "4.ckpt",
    "7.ckpt",
    "10.ckpt",
    "13.ckpt",
    "epoch0.ckpt",
    "epoch1.ckpt",
    "epoch2.ckpt",
  ]) {
    const part = new Net({ shuffle: true, ...options });
    await trainerOf(make(), { maxEpochs: 4, ...more }).fit(part, { ...loaders(part), ckptPath: join(folder, file) });
    assert.deepEqual(weights(part), weights(whole), file);
    assert.deepEqual(part.rates, whole.rates.slice(-part.rates.length), file);
  }
}

class NormedBackbone extends BaseFinetuning {
  override freezeBeforeTraining(module: Net): void {
    this.freeze([module.backbone, module.norm], false);
  }
  override finetuneFunction(module: Net, epoch: number, optimizer: optim.Optimizer): void {
    if (epoch === 1) this.unfreezeAndAddParamGroup([module.norm], optimizer, 0.02);
    if (epoch === 2) this.unfreezeAndAddParamGroup(module.backbone, optimizer);
  }
}
test("finetuning goes on from checkpoints", async () => {
  await resumes(() => new BackboneFinetuning({ unfreezeBackboneAtEpoch: 1 }), {});
  await resumes(() => new NormedBackbone(), { norm: true });
  await resumes(() => new NormedBackbone(), { norm: true }, { ampBackend: "apex", ampLevel: "O2", precision: 16 });
});

test("frozen batch norms leave their statistics, and are given them back", async () => {
  const net = new Net({ norm: true });
  const before = weights(net)["norm.running_mean"];
  await fit(new NormedBackbone(), net, { maxEpochs: 1 });
  assert.deepEqual(weights(net)["norm.running_mean"], before);
  await fit(new NormedBackbone(), net, { maxEpochs: 2 });
  assert.notDeepEqual(weights(net)["norm.running_mean"], before);
});

test("helpers of finetuning", async () => {
  const net = new Net({ norm: true });
  assert.deepEqual(
    BaseFinetuning.flattenModules([net, [net.head]]).map((m) => m.constructor.name),
    ["Linear", "BatchNorm1d", "Linear"],
  );
  BaseFinetuning.freeze(net);
  assert.deepEqual(
    net.parameters().map((p) => p.requiresGrad),
    [false, false, true, true, false, false],
  );
  assert.equal(BaseFinetuning.filterParams(net, false, true).length, 0);
  assert.equal(BaseFinetuning.filterParams({ modules: net, requiresGrad: false }).length, 4);
  const optimizer = new optim.SGD(net.head.parameters(), { lr: 1 });
  const warnings = await warningsOf(() => BaseFinetuning.unfreezeAndAddParamGroup(net, optimizer));
  assert.deepEqual(
    warnings.map((w) => w.code),
    ["WARN_FINETUNING"],
  );
  assert.deepEqual(
    optimizer.paramGroups.map((g) => [g.params.length, g.lr]),
    [
      [2, 1],
      [4, 0.1],
    ],
  );
  BaseFinetuning.freeze(net.children(), false); // an iterator, which can be read once
  assert.ok(net.parameters().every((p) => !p.requiresGrad));
  BaseFinetuning.unfreezeAndAddParamGroup(
    [net.head].values(),
    new optim.SGD([new nn.Parameter(zeros([1]))], { lr: 1 }),
  );
  assert.equal(net.head.weight.requiresGrad, true);
  const endless: unknown[] = [];
  endless.push(endless);
  assert.throws(() => BaseFinetuning.freeze(endless as never), coded("ERR_ARGUMENT", /modules to be a module/));
  assert.throws(
    () => BaseFinetuning.freeze(1 as never),
    coded("ERR_ARGUMENT", /modules to be a module, or an iterable/),
  );
});

test("a module without a backbone is an error before training", async () => {
  class Headless extends Net {
    override readonly backbone = null as never;
  }
  const net = new Net();
  Object.assign(net, { backbone: 3 });
  await assert.rejects(
    fit(new BackboneFinetuning(), net),
    coded("ERR_FINETUNING", /a backbone: a Module. Received: 3/),
  );
  assert.ok(Headless);
  assert.deepEqual(net.losses, []);
});

const PRUNING: Readonly<Record<string, ModelPruningOptions>> = {
  global: { pruningFn: "l1_unstructured", amount: 0.3, useLotteryTicketHypothesis: false },
  lottery: { pruningFn: "l1_unstructured", amount: 0.25, applyPruning: (epoch) => epoch === 1 },
  local: {
    pruningFn: "l1_unstructured",
    amount: 2,
    useGlobalUnstructured: false,
    parameterNames: ["weight"],
    useLotteryTicketHypothesis: false,
  },
  slices: {
    pruningFn: "ln_structured",
    amount: 1,
    useGlobalUnstructured: false,
    parameterNames: ["weight"],
    pruningDim: 1,
    pruningNorm: 2,
    applyPruning: (epoch) => epoch % 2 === 0,
    useLotteryTicketHypothesis: false,
  },
};
test("parameters are pruned as Lightning does", async (t) => {
  for (const [name, options] of Object.entries(PRUNING))
    await t.test(name, async () => {
      const net = new Net();
      await fit(new ModelPruning(options), net, { maxEpochs: 3 });
      sameAs(net, FIXTURE.pruning[name]);
    });
});
test("pruning goes on from checkpoints, with masks in them and without", async () => {
  for (const options of [PRUNING.global, { pruningFn: "l1_unstructured", amount: 0.25 }])
    for (const makePruningPermanent of [true, false])
      await resumes(() => new ModelPruning({ ...(options as ModelPruningOptions), makePruningPermanent }), {});
});
test("checkpoints have plain weights unless masks are to stay", async () => {
  const path = join(temporaryFolder("pruning"), "a.ckpt");
  const keys = async (makePruningPermanent: boolean): Promise<string[]> => {
    class Save extends Callback {
      override onTrainEpochEnd(trainer: TrainerView): void {
        trainer.saveCheckpoint(path);
      }
    }
    const net = new Net();
    const pruning = new ModelPruning("l1_unstructured", {
      parametersToPrune: [[net.head, "weight"]],
      makePruningPermanent,
    });
    await fit([pruning, new Save()], net, { maxEpochs: 1 });
    assert.equal(nn.utils.prune.isPruned(net), !makePruningPermanent);
    return Object.keys(readCheckpoint(path).stateDict).filter((name) => name.startsWith("head"));
  };
  assert.deepEqual((await keys(true)).sort(), ["head.bias", "head.weight"]);
  assert.deepEqual((await keys(false)).sort(), ["head.bias", "head.weight_mask", "head.weight_orig"]);
});
test("masters, and values drawn anew", async () => {
  const net = new Net();
  await fit(new ModelPruning("random_unstructured", { amount: 0.5, resampleParameters: true }), net, {
    maxEpochs: 2,
    ampBackend: "apex",
    ampLevel: "O2",
    precision: 16,
  });
  const zeros = Object.values(weights(net))
    .flat()
    .filter((w) => w === 0).length;
  assert.equal(zeros, 28); // of 37, half, and half of what is left
});
test("a class of one's own prunes", async () => {
  class First extends nn.utils.prune.BasePruningMethod {
    readonly PRUNING_TYPE = "unstructured";
    override computeMask(_t: unknown, defaultMask: Parameters<nn.utils.prune.BasePruningMethod["computeMask"]>[1]) {
      const mask = defaultMask.clone();
      mask.slice(0, 0, 3).fill_(0);
      return mask;
    }
  }
  const net = new Net();
  await fit(new ModelPruning(First, { useLotteryTicketHypothesis: false }), net, { maxEpochs: 1 });
  const pruned = weights(net)["backbone.weight"] ?? [];
  assert.deepEqual(
    pruned.slice(0, 5).map((w) => w === 0),
    [true, true, true, false, false],
  );
});
test("wrong settings of pruning are errors before training", async () => {
  const refused = (options: ModelPruningOptions, message: RegExp): void =>
    assert.throws(() => new ModelPruning(options), coded("ERR_PRUNING", message));
  refused({ pruningFn: "l2" }, /pruningFn to be one of ln_structured.*Received: "l2"/);
  refused({ pruningFn: "ln_structured" }, /pruningDim with "ln_structured"/);
  refused({ pruningFn: "ln_structured", pruningDim: 0 }, /pruningNorm with/);
  refused({ pruningFn: "random_structured", pruningDim: 0 }, /useGlobalUnstructured: false with "random_structured"/);
  refused({ pruningFn: Object as never }, /a class that extends nn.utils.prune.BasePruningMethod/);
  refused({ pruningFn: nn.utils.prune.RandomStructured, pruningDim: 0 }, /of type "unstructured"/);
  assert.throws(() => new ModelPruning({ pruningFn: "l1_unstructured", verbose: 3 as never }), coded("ERR_ARGUMENT"));
  const other = new nn.Linear(1, 1);
  const net = new Net();
  await assert.rejects(
    fit(new ModelPruning("l1_unstructured", [[other, "weight"]]), net),
    coded("ERR_PRUNING", /parametersToPrune that the model has. Received: Linear.weight/),
  );
  assert.deepEqual(net.losses, []);
});
