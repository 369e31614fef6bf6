/**
 * What is damaged in a checkpoint is found before anything of it is applied: the error has a code, and the module, its
 * callbacks and the random state are as before.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { EarlyStopping, LightningModule, Timer, Trainer, type CheckpointContents } from "@nbit/lightning";
import {
  DataLoader,
  getRngState,
  loadCheckpoint,
  nn,
  optim,
  ones,
  randn,
  saveCheckpoint,
  seedEverything,
  zeros,
  type Tensor,
} from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { QUIET } from "../helpers/training.js";

const folder = temporaryFolder("damaged");

class Net extends LightningModule {
  readonly layer = new nn.Linear(2, 2);
  override trainingStep(batch: unknown): Tensor {
    const loss = this.layer
      .forward(batch as Tensor)
      .square()
      .mean();
    this.log("loss", loss, { onEpoch: true });
    return loss;
  }
  override configureOptimizers() {
    const optimizer = new optim.Adam(this.parameters(), { lr: 0.01 });
    return { optimizer, lrScheduler: { scheduler: new optim.StepLR(optimizer, 2), interval: "step" } };
  }
}
const data = Array.from({ length: 6 }, () => randn([2]));
const callbacks = (): [EarlyStopping, Timer] => [new EarlyStopping({ monitor: "loss", patience: 9 }), new Timer()];

async function fit(
  net: Net,
  maxSteps: number,
  own: readonly (EarlyStopping | Timer)[],
  ckptPath: string | null = null,
): Promise<Trainer> {
  const trainer = new Trainer({
    ...QUIET,
    precision: 16,
    accumulateGradBatches: 2,
    maxEpochs: 4,
    maxSteps,
    callbacks: [...own],
  });
  await trainer.fit(net, { trainDataloaders: new DataLoader(data, { batchSize: 2, shuffle: true }), ckptPath });
  return trainer;
}

type Loose = Record<string, Record<string, Record<string, unknown>>>;
/** From a checkpoint inside an epoch, with a window open. */
async function makeCheckpoint(path: string): Promise<void> {
  class Saves extends Net {
    override onTrainBatchEnd(): void {
      if (this.trainer.batchIdx === 0) this.trainer.saveCheckpoint(path);
    }
  }
  seedEverything(1);
  await fit(new Saves(), 3, callbacks());
}

const squaresBelowZero = { step: 1, expAvg: zeros([2, 2]), expAvgSq: ones([2, 2]).neg() };
const DAMAGE: Readonly<Record<string, (c: Loose & CheckpointContents) => void>> = {
  "an epoch that is NaN": (c) => {
    Object.assign(c["loops"]!["progress"]!, { epoch: NaN });
  },
  "an epoch below 0": (c) => {
    Object.assign(c["loops"]!["progress"]!, { epoch: -1 });
  },
  "a step that is a text": (c) => {
    Object.assign(c["loops"]!["progress"]!, { globalStep: "3" });
  },
  "half a batch": (c) => {
    Object.assign(c["loops"]!["progress"]!, { batchesDone: 0.5 });
  },
  "a number beyond 2^53": (c) => {
    Object.assign(c["loops"]!["progress"]!, { totalBatches: 2 ** 60 });
  },
  "an unknown phase": (c) => {
    Object.assign(c["loops"]!["progress"]!, { phase: "later" });
  },
  "more batches than there were": (c) => {
    Object.assign(c["loops"]!["progress"]!, { batchesDone: 900 });
  },
  "more fetched than done": (c) => {
    Object.assign(c["loops"]!["fetcher"]!, { fetched: 2 ** 50 });
  },
  "no progress": (c) => {
    Object.assign(c["loops"]!, { progress: undefined });
  },
  "a loader's state of another kind": (c) => {
    Object.assign(c["loops"]!["fetcher"]!["loader"] as object, { position: "far" });
  },
  "a metric of an unknown hook": (c) => {
    Object.assign((c["loops"]!["metrics"] as unknown as { meta: object }[])[0]!.meta, { hook: "constructor" });
  },
  "a metric whose sum is a tensor": (c) => {
    Object.assign((c["loops"]!["metrics"] as unknown as object[])[0]!, { sum: ones([2]) });
  },
  "gradients of other shapes": (c) => {
    Object.assign(c["loops"]!["gradients"]!, { "layer.weight": ones([7]) });
  },
  "gradients that are none": (c) => {
    Object.assign(c["loops"]!["gradients"]!, { "layer.weight": 3 });
  },
  "a weight of another shape": (c) => {
    Object.assign(c.stateDict, { "layer.weight": ones([3, 3]) });
  },
  "a weight that is a number": (c) => {
    Object.assign(c.stateDict, { "layer.weight": 1 });
  },
  "random numbers of another size": (c) => {
    Object.assign(c.rng!, { cpu: zeros([10], { dtype: "uint8" }) });
  },
  "random numbers from nowhere": (c) => {
    Object.assign(c.rng!, { cpu: zeros([5056], { dtype: "uint8" }) });
  },
  "optimizers that are no list": (c) => {
    Object.assign(c, { optimizerStates: 7 });
  },
  "no groups of parameters": (c) => {
    Object.assign(c.optimizerStates![0]!, { paramGroups: null });
  },
  "averages of squares below zero": (c) => {
    Object.assign(c.optimizerStates![0]!["state"] as object, { 0: squaresBelowZero });
  },
  "a schedule whose step is NaN": (c) => {
    Object.assign(c.lrSchedulers![0]!, { lastEpoch: NaN });
  },
  "a loss scale of 0": (c) => {
    Object.assign(c.precision!.state!, { scale: 0 });
  },
  "skipped steps that are a text": (c) => {
    Object.assign(c.precision!.state!, { skippedSteps: "many" });
  },
  "patience that is a text": (c) => {
    Object.assign(c.callbacks!["EarlyStopping(loss, min)"]!, { waitCount: "2" });
  },
  "a time that is NaN": (c) => {
    Object.assign(c.callbacks!["Timer"]!, { seconds: NaN });
  },
  "hyper-parameters that are a list": (c) => {
    Object.assign(c, { hyperparameters: [1] });
  },
};

test("a damaged checkpoint is refused before anything of it is applied", async () => {
  const path = join(folder, "a.ckpt");
  await makeCheckpoint(path);
  const net = new Net();
  const own = callbacks();
  const before = {
    weights: net.layer.weight.detach().tolist(),
    bias: net.layer.bias?.detach().tolist(),
    states: JSON.stringify(own.map((c) => c.stateDict())),
    random: getRngState().tolist(),
  };
  for (const [what, damage] of Object.entries(DAMAGE)) {
    const checkpoint = loadCheckpoint(path) as Loose & CheckpointContents;
    damage(checkpoint);
    const bad = join(folder, "bad.ckpt");
    saveCheckpoint(bad, checkpoint);
    await assert.rejects(
      fit(net, 6, own, bad),
      (error: unknown) => {
        assert.ok(
          error instanceof Error &&
            "code" in error &&
            typeof error.code === "string" &&
            /^[A-Z][A-Z0-9_]+$/.test(error.code) &&
            error.constructor !== TypeError,
          `${what}: ${String(error)}`,
        );
        return true;
      },
      what,
    );
    assert.deepEqual(
      {
        weights: net.layer.weight.detach().tolist(),
        bias: net.layer.bias?.detach().tolist(),
        states: JSON.stringify(own.map((c) => c.stateDict())),
        random: getRngState().tolist(),
      },
      before,
      what,
    );
  }
  // And the undamaged one goes on.
  const trainer = await fit(net, 6, own, path);
  assert.equal(trainer.globalStep, 6);
});

test("the error names the file and the part", async () => {
  const [path, bad] = [join(folder, "b.ckpt"), join(folder, "bad-b.ckpt")];
  await makeCheckpoint(path);
  const checkpoint = loadCheckpoint(path) as Loose & CheckpointContents;
  DAMAGE["an epoch that is NaN"]?.(checkpoint);
  saveCheckpoint(bad, checkpoint);
  await assert.rejects(fit(new Net(), 6, [], bad), {
    code: "CHECKPOINT_STATE",
    name: "CheckpointError",
    message: `${bad}: expected loops.progress.epoch to be a whole number from 0 to 2^53 - 1. Received: NaN. The state is damaged, or of another program.`,
  });
});

test("the error about an optimizer's state names the parameter", async () => {
  const [path, bad] = [join(folder, "c.ckpt"), join(folder, "bad-c.ckpt")];
  await makeCheckpoint(path);
  const checkpoint = loadCheckpoint(path) as Loose & CheckpointContents;
  DAMAGE["averages of squares below zero"]?.(checkpoint);
  saveCheckpoint(bad, checkpoint);
  await assert.rejects(fit(new Net(), 6, [], bad), {
    code: "OPTIMIZER_STATE",
    message:
      /^Adam\.loadStateDict: expected expAvgSq of parameter 0 \(layer\.weight\) to be an average of squares, nowhere below zero\. /,
  });
  for (const ampLevel of ["O1", "O2"] as const) {
    const trainer = new Trainer({ ...QUIET, precision: 16, ampBackend: "apex", ampLevel, maxEpochs: 4 });
    await assert.rejects(
      trainer.fit(new Net(), {
        trainDataloaders: new DataLoader(data, { batchSize: 2, shuffle: true }),
        ckptPath: bad,
      }),
      { code: "OPTIMIZER_STATE", message: /parameter 0 \(layer\.weight\)/ },
    );
  }
});
