/**
 * Float8 trains a GPT and a ResNet to the loss of float32. The accelerator is a parameter: the same runs on the CPU
 * and, where there is one with float8, on a GPU.
 */
import assert from "node:assert/strict";
import { Float8Precision, type LightningModule, type TrainerOptions } from "@nbit/lightning";
import { convertToFloat8, FLOAT8_RECIPES, type Float8RecipeName } from "@nbit/lowbit";
import type { Tensor } from "@nbit/torch";
import { SmallGpt, SmallResNet, train } from "../gpu/support.js";

export interface Model {
  readonly name: string;
  make(): LightningModule;
  batches(steps: number, device: "cpu" | "cuda"): Tensor[][];
  /** What float8 converts, and why it leaves the rest. */
  readonly layers: readonly (readonly [path: string, converted: boolean, reason: RegExp])[];
}
const LINEAR_ONLY = /only linear layers have a float8 form/;
export const MODELS: readonly Model[] = [
  {
    name: "GPT",
    make: () => new SmallGpt(),
    batches: (steps, device) => SmallGpt.batches(steps, device),
    layers: [
      ["net.wte", false, LINEAR_ONLY],
      ...["attn", "proj", "fc", "out"].map(
        (name) => [`net.${name}`, true, /^(tensorwise|delayed|rowwise|rowwise-gw-hp)$/] as const,
      ),
    ],
  },
  {
    // Its convolutions stay: float8 products take matrices. Sixteen classes, so that its one linear layer has sides
    // that are multiples of 16.
    name: "ResNet",
    make: () => new SmallResNet(undefined, 16),
    batches: (steps, device) => SmallResNet.batches(steps, device, 16),
    layers: [
      ["net.stem", false, LINEAR_ONLY],
      ...[0, 1].flatMap((i) =>
        ["conv1", "conv2"].map((name) => [`net.blocks.${i}.${name}`, false, LINEAR_ONLY] as const),
      ),
      ["net.fc", true, /./],
    ],
  },
];

/**
 * Of float32's fall of the loss this share must be reached: with float32 parameters beside bfloat16 autocast, and with
 * all else in bfloat16, whose parameters keep 8 bits.
 */
const SHARE = { mixed: 0.95, true: 0.85 } as const;

export async function reachesFloat32(
  model: Model,
  accelerator: "cpu" | "gpu",
  steps: number,
  recipes = Object.keys(FLOAT8_RECIPES) as Float8RecipeName[],
): Promise<void> {
  const batches = model.batches(steps, accelerator === "gpu" ? "cuda" : "cpu");
  const run = async (
    make: () => LightningModule,
    settings: TrainerOptions,
  ): Promise<{ readonly first: number; readonly last: number }> => {
    const { losses } = await train(make, batches, { accelerator, ...settings });
    return { first: losses[0] ?? NaN, last: losses[steps - 1] ?? NaN };
  };
  const full = await run(() => model.make(), { precision: 32 });
  assert.ok(full.last < 0.5 * full.first, `float32: ${full.first} → ${full.last}`);
  const reaches = (
    { first, last }: { readonly first: number; readonly last: number },
    share: number,
    what: string,
  ): void =>
    assert.ok(
      first - last >= share * (full.first - full.last) && first !== full.first,
      `${model.name}, ${what}: ${first} → ${last}; float32 ${full.first} → ${full.last}`,
    );
  for (const recipe of recipes) {
    const plugin = new Float8Precision({ recipe });
    reaches(await run(() => model.make(), { plugins: plugin }), SHARE.true, `float8, ${recipe}`);
    const report = plugin.conversion?.layers ?? [];
    assert.deepEqual(
      report.map((l) => [l.path, l.converted]),
      model.layers.map(([path, converted]) => [path, converted]),
    );
    report.forEach((l, i) => assert.match(l.reason, model.layers[i]?.[2] ?? /^$/, l.path));
    const mixed = (): LightningModule => {
      const made = model.make();
      assert.equal(
        convertToFloat8(made, { recipe }).converted.length,
        model.layers.filter(([, converted]) => converted).length,
      );
      return made;
    };
    reaches(await run(mixed, { precision: "bf16" }), SHARE.mixed, `float8 beside bf16, ${recipe}`);
  }
}
