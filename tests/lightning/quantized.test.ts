import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { LightningModule, QuantizedPrecision, Trainer, type Checkpoint, type TrainerOptions } from "@nbit/lightning";
import { addLora, loraParameters, loraStateDict, QuantizedLinear, quantizeWeights, WEIGHT_FORMATS, weightMemory, type WeightFormat } from "@nbit/lowbit";
import { memory, nn, optim, randn, seedEverything, setNumThreads, type Tensor } from "@nbit/torch";

setNumThreads(1);
const folder = mkdtempSync(join(tmpdir(), "nbit-quantized-"));
after(() => rmSync(folder, { recursive: true }));
const QUIET: TrainerOptions = { accelerator: "cpu", logger: false, enableCheckpointing: false, enableProgressBar: false, enableModelSummary: false };

class Tuned extends LightningModule {
  readonly first = new nn.Linear(64, 64);
  readonly second = new nn.Linear(64, 64);
  readonly losses: number[] = [];
  small = false;
  constructor(format: WeightFormat | null) {
    super();
    if (format !== null) quantizeWeights(this, { format });
    addLora(this, { rank: 4, alpha: 8 });
  }
  override trainingStep(x: Tensor): Tensor {
    const loss = this.second.forward(this.first.forward(x).tanh()).sub(x.flip([1])).float().square().mean();
    this.losses.push(loss.item());
    return loss;
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.AdamW(loraParameters(this), { lr: 1e-2 });
  }
  override onSaveCheckpoint(checkpoint: Checkpoint): void {
    if (this.small) checkpoint.stateDict = Object.fromEntries(loraStateDict(this));
  }
}
const data = (n: number): Tensor[] => {
  seedEverything(1);
  const x = randn([64, 64]);
  return Array.from({ length: n }, () => x);
};
const make = (format: WeightFormat | null): Tuned => {
  seedEverything(2);
  return new Tuned(format);
};

test("adapters on quantized weights learn in float32, bfloat16 and through the plugin, near those on wide weights", async () => {
  const run = async (format: WeightFormat | null, options: TrainerOptions): Promise<Tuned> => {
    const net = make(format);
    await new Trainer({ ...QUIET, maxEpochs: 1, ...options }).fit(net, { trainDataloaders: data(40) });
    return net;
  };
  const wide = await run(null, { precision: 32 });
  const [first = NaN, last = NaN] = [wide.losses[0], wide.losses.at(-1)];
  assert.ok(last < 0.8 * first, `${first} → ${last}`);
  const near = (net: Tuned, what: string): void => assert.ok(Math.abs((net.losses.at(-1) ?? NaN) - last) < 0.15 * first, `${what}: ${net.losses.at(-1)}, wide ${last}`);
  for (const format of WEIGHT_FORMATS) near(await run(format, { precision: 32 }), format);
  for (const precision of ["bf16", "bf16-true"] as const) near(await run("nf4", { precision }), precision);
  const plugin = new QuantizedPrecision("nf4-dq", { filter: (_, path) => path !== "second.base", dtype: "float32" });
  const net = await run(null, { plugins: plugin });
  near(net, "plugin");
  assert.deepEqual(plugin.conversion?.layers.map((l) => [l.path, l.reason]), [["first.base", "nf4-dq"], ["second.base", "the filter refused it"]]);
  assert.ok((net.first as unknown as { base: unknown }).base instanceof QuantizedLinear);
  const explanation = plugin.explain({ print: false });
  assert.match(explanation.toString(), /weights of 1 of 2 linear layers frozen in nf4-dq/);
  assert.equal(explanation.memory?.parameters, weightMemory(net).bytes);
});

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

test("a plugin with nothing that learns says so", async () => {
  class Frozen extends Tuned {
    override configureOptimizers(): optim.Optimizer {
      this.requiresGrad_(false);
      return new optim.AdamW(this.parameters(), { lr: 1e-2 });
    }
  }
  await assert.rejects(new Trainer({ ...QUIET, maxEpochs: 1, plugins: new QuantizedPrecision("int8") }).fit(new Frozen(null), { trainDataloaders: data(1) }), { code: "ERR_PRECISION_FROZEN" });
  assert.throws(() => new QuantizedPrecision("nf3" as never), { code: "ERR_PRECISION_PLUGIN" });
});
