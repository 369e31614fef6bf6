/** Modules from checkpoints: Lightning's arguments, and checkpoints of other classes. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { LightningModule, Trainer, type SaveCheckpointOptions } from "@nbit/lightning";
import { nn, optim, randn, type Tensor } from "@nbit/torch";
import { temporaryFolders } from "../helpers/temporary-folder.js";
import { QUIET, warningsOf } from "../helpers/training.js";

const folder = temporaryFolders("load-from-checkpoint");

class Net extends LightningModule {
  readonly layer: nn.Linear;
  readonly head: nn.Linear | null;
  constructor({ width = 4, withHead = false, strict = true } = {}) {
    super();
    this.saveHyperparameters({ width, withHead, strict });
    this.layer = new nn.Linear(width, 1);
    this.head = withHead ? new nn.Linear(1, 1) : null;
  }
  override trainingStep(x: Tensor): Tensor {
    return this.layer.forward(x).square().mean();
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}
class Derived extends Net {}
class Other extends LightningModule {
  readonly layer: nn.Linear;
  constructor({ width = 2 } = {}) {
    super();
    this.layer = new nn.Linear(width, 1);
  }
}

async function saved(net: LightningModule, width: number, options: SaveCheckpointOptions = {}): Promise<string> {
  const path = join(folder(), "net.ckpt");
  const trainer = new Trainer({ ...QUIET, fastDevRun: true });
  await trainer.fit(net, { trainDataloaders: [randn(2, width)] });
  trainer.saveCheckpoint(path, options);
  return path;
}

for (const format of ["safetensors", "lightning"] as const) {
  test(`${format}: Lightning's arguments stand among hyperparameters, or apart`, async () => {
    const path = await saved(new Net({ width: 3 }), 3, { format });
    const net = Net.loadFromCheckpoint(path, { mapLocation: "cpu", strict: true, weightsOnly: true });
    assert.deepEqual(net.hparams, { width: 3, withHead: false, strict: true });
    assert.equal(net.layer.weight.device.type, "cpu");
    // "meta" is a device that every machine has.
    assert.equal(Net.loadFromCheckpoint(path, {}, { mapLocation: "meta" }).layer.weight.device.type, "meta");
    const warnings = await warningsOf(() => {
      assert.throws(() => Net.loadFromCheckpoint(path, { withHead: true }), { code: "STATE_DICT_MISMATCH" });
      assert.ok(Net.loadFromCheckpoint(path, { withHead: true, strict: false }).head !== null);
    });
    assert.deepEqual(
      warnings.map(({ code }) => code),
      ["WARN_CHECKPOINT_KEYS"],
    );
    assert.match(warnings[0]?.message ?? "", /net\.ckpt lacks head\.weight, head\.bias\.$/);
  });

  test(`${format}: a checkpoint of another class is said; one of a base class is none`, async () => {
    const path = await saved(new Net({ width: 3 }), 3, { format });
    const warnings = await warningsOf(() => {
      assert.ok(Derived.loadFromCheckpoint(path) instanceof Derived);
      assert.equal(Other.loadFromCheckpoint(path).layer.weight.shape[1], 3);
      assert.throws(() => Other.loadFromCheckpoint(path, { width: 5 }), /STATE_DICT|saved of a Net\.$/);
    });
    assert.deepEqual(
      warnings.map(({ code, message }) => [code, message.replace(/\S+net\.ckpt/, "net.ckpt")]),
      Array.from({ length: 2 }, () => [
        "WARN_CHECKPOINT_CLASS",
        "Other.loadFromCheckpoint: net.ckpt was saved of a Net, whose hyperparameters are given to the constructor of Other.",
      ]),
    );
  });
}

test("layers that configureModel makes are there before the weights come", async () => {
  class Late extends Net {
    late: nn.Linear | null = null;
    override configureModel(): void {
      this.late ??= new nn.Linear(2, 2);
    }
  }
  const net = new Late({ width: 3 });
  const path = await saved(net, 3);
  assert.deepEqual(Late.loadFromCheckpoint(path).late?.weight.tolist(), net.late?.weight.tolist());
});

test("what is no argument is refused before the file is looked at", () => {
  const load = (overrides: unknown, options?: unknown): unknown =>
    Reflect.apply(Net.loadFromCheckpoint, Net, [
      "nowhere.ckpt",
      overrides,
      ...(options === undefined ? [] : [options]),
    ]);
  assert.throws(() => load({ hparamsFile: "hparams.yaml" }), { code: "ERR_CHECKPOINT_HPARAMS" });
  assert.throws(() => load({ mapLocation: 3 }), /mapLocation to be/);
  assert.throws(() => load({ strict: "yes" }), /strict to be/);
  assert.throws(() => load({}, { hparams: {} }), /hparams/);
  assert.throws(() => load(3), /overrides to be/);
});
