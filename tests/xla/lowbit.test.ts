/** Optimizer state in few bits, and products in float8: five steps by XLA beside five by libtorch, and in the Trainer. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { crossEntropyLoss, nn, optim, randint, randn, type Tensor } from "@nbit/torch";
import { Float8Linear, LowBitOptimizer, type Float8RecipeName, type LowBitOptions } from "@nbit/lowbit";
import { Classifier, type Batch, type Kind } from "../replay/models.js";
import { isAsEager } from "./as-eager.js";
import { fiveSteps, taskOf, type Task } from "./five-steps.js";
import { needsCpu } from "./harness.js";
import { TASKS } from "./tasks.js";
import { needsPlugin, train, updateError, worstLossError, type Given } from "./train.js";

type Family = ConstructorParameters<typeof LowBitOptimizer>[1];
type Format = ConstructorParameters<typeof LowBitOptimizer>[2];
const of =
  (family: Family, format: Format, options: LowBitOptions = {}) =>
  (p: Iterable<Tensor>): optim.Optimizer =>
    new LowBitOptimizer(p, family, format, { min8bitSize: 0, blockSize: 64, ...options });

const CASES: Readonly<Record<string, (p: Iterable<Tensor>) => optim.Optimizer>> = {
  "Adam, 8 bits": of("adam", "dynamic8", { weightDecay: 0.1 }),
  "AdamW, 8 bits": of("adamw", "dynamic8", { weightDecay: 0.1, betas: [0.9, 0.95] }),
  "AdamW, 8 bits linear": of("adamw", "linear8"),
  "AdamW, float8": of("adamw", "float8"),
  "AdamW, 4 bits": of("adamw", "moments4", { weightDecay: 0.1 }),
  "AdamW, 32 bits": of("adamw", null, { weightDecay: 0.1 }),
  "SGD, 8 bits": of("momentum", "dynamic8", { nesterov: true, weightDecay: 0.01 }),
  "Lion, 8 bits": of("lion", "dynamic8", { weightDecay: 0.1 }),
  "RMSprop, 8 bits": of("rmsprop", "dynamic8"),
  "Adagrad, 8 bits": of("adagrad", "dynamic8"),
  "LAMB, 8 bits": of("lamb", "dynamic8", { weightDecay: 0.1 }),
  "LARS, 8 bits": of("lars", "dynamic8", { weightDecay: 0.1 }),
  "AdEMAMix, 8 bits": of("ademamix", "dynamic8"),
};
for (const [name, optimizer] of Object.entries(CASES))
  test(`an mlp with ${name}`, needsCpu, async () =>
    isAsEager(await fiveSteps(TASKS["mlp"] as Task, { optimizer }), "32", undefined, 1e-3),
  );

const inFloat8 = (recipe: Float8RecipeName): Task =>
  taskOf({
    net: () =>
      new nn.Sequential(
        new Float8Linear(32, 48, { recipe }),
        new nn.GELU(),
        new Float8Linear(48, 16, { recipe, bias: false }),
      ),
    batch: () => [randn([20, 32]), randint(0, 16, [20])],
    loss: (net, [x, y]) => crossEntropyLoss(net.call(x as Tensor) as Tensor, y as Tensor),
    optimizer: (p) => new optim.SGD(p, { lr: 0.1, momentum: 0.9, fused: true }),
  });
for (const recipe of ["tensorwise", "delayed", "rowwise", "rowwise-gw-hp"] as const)
  for (const precision of ["32", "bf16"] as const)
    test(`float8 layers, ${recipe}, in ${precision}`, needsCpu, async () =>
      isAsEager(await fiveSteps(inFloat8(recipe), { precision }), precision, precision === "32" ? 1e-4 : 1e-2, 1e-2),
    );

const MLP: Kind = {
  net: () => new nn.Sequential(new nn.Linear(32, 64), new nn.ReLU(), new nn.Linear(64, 16)),
  batch: (): Batch => [randn([16, 32]), randint(0, 16, [16])],
} as unknown as Kind;
const of7 = (optimizer: (p: Iterable<nn.Parameter>) => optim.Optimizer) => (): Given => ({
  module: new Classifier(MLP, optimizer),
  batches: Array.from({ length: 7 }, MLP.batch),
});

test("the Trainer keeps 8-bit state on the device", needsPlugin, async () => {
  const make = of7(of("adamw", "dynamic8", { lr: 1e-2 }) as never);
  const host = await train(make, { accelerator: "cpu" });
  const device = await train(make, { accelerator: "xla" });
  assert.equal(device.trainer.replayedBatches, 6);
  assert.ok(worstLossError(device, host) <= 1e-4, `${worstLossError(device, host)}`);
  assert.ok(updateError(device, host) <= 1e-2, `${updateError(device, host)}`);
  const [state] = [...(device.trainer.optimizers[0]?.state.values() ?? [])];
  assert.equal((state?.["step"] as Tensor).item(), 7);
  assert.equal((state?.["state1"] as Tensor).dtype, "uint8");
});

test("precision float8 trains on the device", needsPlugin, async () => {
  const make = of7((p) => new optim.SGD(p, { lr: 0.05, momentum: 0.9 }));
  const host = await train(make, { accelerator: "cpu", precision: "float8" });
  const device = await train(make, { accelerator: "xla", precision: "float8" });
  assert.equal(device.trainer.replayedBatches, 6);
  assert.ok(worstLossError(device, host) <= 3e-2, `${worstLossError(device, host)}`);
});
