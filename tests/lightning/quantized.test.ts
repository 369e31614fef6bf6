import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { QuantizedPrecision, Trainer } from "@nbit/lightning";
import { memory, optim, setNumThreads } from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { QUIET } from "../helpers/training.js";
import { data, learnsNearWide, make, Tuned } from "./quantized-training.js";

setNumThreads(1);
const folder = temporaryFolder("quantized");

test("adapters on quantized weights learn in float32, bfloat16 and through the plugin, near those on wide weights", () =>
  learnsNearWide("cpu"));

test("a checkpoint of adapters alone is small, loads into the same base, and a full one resumes to the last bit", async () => {
  const whole = make("nf4");
  const live: number[] = [];
  whole.onTrainBatchEnd = () => void live.push(memory().unreleased);
  await new Trainer({ ...QUIET, maxEpochs: 2 }).fit(whole, { trainDataloaders: data(5) });
  assert.equal(new Set(live.slice(-4)).size, 1, String(live));

  const half = make("nf4");
  const trainer = new Trainer({ ...QUIET, maxEpochs: 1 });
  await trainer.fit(half, { trainDataloaders: data(5) });
  const [full, small] = [join(folder, "full.ckpt"), join(folder, "small.ckpt")];
  trainer.saveCheckpoint(full);
  half.small = true;
  trainer.saveCheckpoint(small);
  assert.ok(statSync(small).size < statSync(full).size);

  const resumed = make("nf4");
  await new Trainer({ ...QUIET, maxEpochs: 2 }).fit(resumed, { trainDataloaders: data(5), ckptPath: full });
  assert.deepEqual(resumed.losses, whole.losses.slice(5));

  const adapted = make("nf4"); // the base comes from elsewhere: here, the seed
  adapted.strictLoading = false;
  await new Trainer({ ...QUIET, maxEpochs: 2 }).fit(adapted, { trainDataloaders: data(5), ckptPath: small });
  assert.deepEqual(adapted.losses, whole.losses.slice(5));
});

test("a quantized module without trainable parameters is an error", async () => {
  class Frozen extends Tuned {
    override configureOptimizers(): optim.Optimizer {
      this.requiresGrad_(false);
      return new optim.AdamW(this.parameters(), { lr: 1e-2 });
    }
  }
  await assert.rejects(
    new Trainer({ ...QUIET, maxEpochs: 1, plugins: new QuantizedPrecision("int8") }).fit(new Frozen(null), {
      trainDataloaders: data(1),
    }),
    { code: "ERR_PRECISION_FROZEN" },
  );
  assert.throws(() => new QuantizedPrecision("nf3" as never), { code: "ERR_PRECISION_PLUGIN" });
});
