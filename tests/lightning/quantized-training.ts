/**
 * Fine-tuning of quantized weights, with the accelerator as a parameter: run on the CPU and, where there is one, on a
 * GPU.
 */
import assert from "node:assert/strict";
import {
  LightningModule,
  QuantizedPrecision,
  Trainer,
  type CheckpointContents,
  type TrainerOptions,
} from "@nbit/lightning";
import {
  addLora,
  loraParameters,
  loraStateDict,
  QuantizedLinear,
  quantizeWeights,
  WEIGHT_FORMATS,
  weightMemory,
  type WeightFormat,
} from "@nbit/lowbit";
import { nn, optim, randn, seedEverything, type Tensor } from "@nbit/torch";
import { SILENT } from "../helpers/training.js";

export class Tuned extends LightningModule {
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
    const loss = this.second
      .forward(this.first.forward(x).tanh())
      .sub(x.flip([1]))
      .float()
      .square()
      .mean();
    this.losses.push(loss.item());
    return loss;
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.AdamW(loraParameters(this), { lr: 1e-2 });
  }
  override onSaveCheckpoint(checkpoint: CheckpointContents): void {
    if (this.small) checkpoint.stateDict = Object.fromEntries(loraStateDict(this));
  }
}
export const data = (n: number): Tensor[] => {
  seedEverything(1);
  const x = randn([64, 64]);
  return Array.from({ length: n }, () => x);
};
export const make = (format: WeightFormat | null): Tuned => {
  seedEverything(2);
  return new Tuned(format);
};

/** Adapters on quantized weights learn in float32, bfloat16 and through the plugin, near those on wide weights. */
export async function learnsNearWide(accelerator: "cpu" | "gpu"): Promise<void> {
  const run = async (format: WeightFormat | null, options: TrainerOptions): Promise<Tuned> => {
    const net = make(format);
    await new Trainer({ ...SILENT, accelerator, devices: 1, maxEpochs: 1, ...options }).fit(net, {
      trainDataloaders: data(40),
    });
    return net;
  };
  const wide = await run(null, { precision: 32 });
  const [first = NaN, last = NaN] = [wide.losses[0], wide.losses.at(-1)];
  assert.ok(last < 0.8 * first, `${first} → ${last}`);
  const near = (net: Tuned, what: string): void =>
    assert.ok(
      Math.abs((net.losses.at(-1) ?? NaN) - last) < 0.15 * first,
      `${what}: ${net.losses.at(-1)}, wide ${last}`,
    );
  for (const format of WEIGHT_FORMATS) near(await run(format, { precision: 32 }), format);
  for (const precision of ["bf16", "bf16-true"] as const) near(await run("nf4", { precision }), precision);
  const plugin = new QuantizedPrecision("nf4-dq", { filter: (_, path) => path !== "second.base", dtype: "float32" });
  const net = await run(null, { plugins: plugin });
  near(net, "plugin");
  assert.deepEqual(
    plugin.conversion?.layers.map((l) => [l.path, l.reason]),
    [
      ["first.base", "nf4-dq"],
      ["second.base", "the filter refused it"],
    ],
  );
  assert.ok((net.first as unknown as { base: unknown }).base instanceof QuantizedLinear);
  const explanation = plugin.explain({ print: false });
  assert.match(explanation.toString(), /weights of 1 of 2 linear layers frozen in nf4-dq/);
  assert.equal(explanation.memory?.parameters, weightMemory(net).bytes);
}
