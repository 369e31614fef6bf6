import assert from "node:assert/strict";
import { test } from "node:test";
import { getFloat32MatmulPrecision, getSwitch, optim, setFloat32MatmulPrecision } from "@nbit/torch";
import type { LightningModule, TrainerOptions } from "@nbit/lightning";
import { AdamW8bit } from "@nbit/lowbit";
import "@nbit/apex";
import { adamW, options, sgd, SmallGpt, SmallResNet, train, type MakeOptimizer } from "./support.js";

interface Model {
  readonly name: string;
  readonly make: (optimizer: MakeOptimizer) => LightningModule;
  readonly batches: unknown[];
}
const STEPS = 60;
const models = (): Model[] => [
  { name: "GPT", make: (optimizer) => new SmallGpt(optimizer), batches: SmallGpt.batches(STEPS) },
  { name: "ResNet", make: (optimizer) => new SmallResNet(optimizer), batches: SmallResNet.batches(STEPS) },
];

/**
 * Share of float32's fall of the loss that a precision must reach. The true 16-bit types keep 8 or 11 bits of every
 * weight.
 */
const MIXED = 0.95;
const TRUE = 0.85;
interface Setting {
  readonly name: string;
  readonly trainer: TrainerOptions;
  readonly share: number;
  readonly optimizer?: MakeOptimizer;
}
const settings: readonly Setting[] = [
  { name: "64", trainer: { precision: 64 }, share: MIXED },
  { name: "16", trainer: { precision: 16 }, share: MIXED },
  { name: "bf16", trainer: { precision: "bf16" }, share: MIXED },
  { name: "bf16-true", trainer: { precision: "bf16-true" }, share: TRUE },
  { name: "16-true", trainer: { precision: "16-true" }, share: TRUE, optimizer: sgd }, // Adam's second moment underflows in float16
  { name: "APEX O0", trainer: { precision: 16, ampBackend: "apex", ampLevel: "O0" }, share: MIXED },
  { name: "APEX O1", trainer: { precision: 16, ampBackend: "apex", ampLevel: "O1" }, share: MIXED },
  { name: "APEX O2", trainer: { precision: 16, ampBackend: "apex", ampLevel: "O2" }, share: MIXED },
  { name: "APEX O3", trainer: { precision: 16, ampBackend: "apex", ampLevel: "O3" }, share: TRUE, optimizer: sgd },
  {
    name: "AdamW8bit in 32",
    trainer: { precision: 32 },
    share: MIXED,
    optimizer: (p) => new AdamW8bit(p, { lr: 3e-3 }),
  },
  {
    name: "AdamW8bit in bf16",
    trainer: { precision: "bf16" },
    share: MIXED,
    optimizer: (p) => new AdamW8bit(p, { lr: 3e-3 }),
  },
];

for (const model of models()) {
  const full = new Map<MakeOptimizer, Promise<{ readonly first: number; readonly last: number }>>();
  const float32 = (optimizer: MakeOptimizer): Promise<{ readonly first: number; readonly last: number }> => {
    let run = full.get(optimizer);
    if (run === undefined) {
      run = train(() => model.make(optimizer), model.batches, { precision: 32 }).then(({ losses }) => ({
        first: losses[0] as number,
        last: losses[STEPS - 1] as number,
      }));
      full.set(optimizer, run);
    }
    return run;
  };

  test(`${model.name}: float32 learns`, options, async () => {
    for (const optimizer of [adamW, sgd]) {
      const { first, last } = await float32(optimizer);
      assert.ok(last < 0.3 * first, `${first} → ${last}`);
    }
  });

  for (const { name, trainer, share, optimizer } of settings)
    test(`${model.name} trains to the loss of float32: ${name}`, options, async () => {
      const { first, last } = await float32(optimizer === sgd ? sgd : adamW);
      const { losses } = await train(() => model.make(optimizer ?? adamW), model.batches, trainer);
      const end = losses[STEPS - 1] as number;
      assert.ok(first - end >= share * (first - last), `${name}: ${losses[0]} → ${end}; float32 ${first} → ${last}`);
    });
}

test(
  "TF32: float32 with matrix products of 10 bits of mantissa, asked for by name, trains alike and is put back",
  options,
  async () => {
    const batches = SmallGpt.batches(STEPS);
    const { losses: exact } = await train(() => new SmallGpt(), batches, { precision: 32 });
    assert.equal(getFloat32MatmulPrecision(), "highest");
    setFloat32MatmulPrecision("high");
    try {
      assert.equal(getSwitch("tf32Matmul"), true);
      const { losses } = await train(() => new SmallGpt(), batches, { precision: 32 });
      const first = exact[0] as number;
      assert.ok(Math.abs((losses[0] as number) - first) < 2e-3 * first);
      assert.ok(Math.abs((losses[STEPS - 1] as number) - (exact[STEPS - 1] as number)) < 0.05 * first);
    } finally {
      setFloat32MatmulPrecision("highest");
    }
    assert.equal(getSwitch("tf32Matmul"), false);
  },
);

test("the same seed gives the same losses with deterministic algorithms", options, async () => {
  const batches = SmallGpt.batches(20);
  const run = async (): Promise<number[]> =>
    (
      await train(() => new SmallGpt((p) => new optim.AdamW(p, { lr: 3e-3, fused: true })), batches, {
        precision: "bf16",
        deterministic: "warn",
      })
    ).losses;
  assert.deepEqual(await run(), await run());
});
