/** A checkpoint of Lightning's own Trainer; see make_torch_fixtures.py. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { LightningModule } from "@nbit/lightning";
import { load, nn, type Tensor } from "@nbit/torch";

const theirs = (name: string): string => fileURLToPath(new URL(`../../io/fixtures/torch/${name}`, import.meta.url));

class Net extends LightningModule {
  readonly net: nn.Sequential;
  constructor(hparams: { readonly width: number; readonly lr: number }) {
    super();
    this.saveHyperparameters(hparams);
    this.net = new nn.Sequential(
      new nn.Linear(2, hparams.width),
      new nn.BatchNorm1d(hparams.width),
      new nn.Linear(hparams.width, 1),
    );
  }
}

test("loadFromCheckpoint takes weights and hyperparameters of Lightning's own file", () => {
  const state = load<{ state_dict: ReadonlyMap<string, Tensor> }>(theirs("lightning.ckpt")).state_dict;
  const net = Net.loadFromCheckpoint(theirs("lightning.ckpt"));
  assert.deepEqual(net.hparams, { width: 3, lr: 0.05 });
  const own = net.stateDict();
  assert.deepEqual([...own.keys()], [...state.keys()]);
  for (const [key, value] of own) assert.deepEqual(value.tolist(), state.get(key)?.tolist(), key);
  assert.equal(Net.loadFromCheckpoint(theirs("lightning.ckpt"), { lr: 1 }, { dtype: "float64" }).hparams["lr"], 1);
  assert.throws(() => Net.loadFromCheckpoint(theirs("plain.pt")), { code: "ERR_CHECKPOINT_FORMAT" });
  assert.throws(() => Net.loadFromCheckpoint(theirs("runs.pt")), { code: "TORCH_FILE_GLOBAL" });
});
