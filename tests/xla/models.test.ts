/** Whole steps of small models: five by XLA beside five by libtorch. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { manualSeed, nn, optim, randn, type Tensor } from "@nbit/torch";
import { Adagrad32bit, Lion32bit, RMSprop32bit } from "@nbit/lowbit";
import { coveredOperators } from "@nbit/xla";
import { DeviceStep, difference, needsCpu, recorded } from "./harness.js";
import { TASKS } from "./tasks.js";
import { isAsEager } from "./as-eager.js";
import { fiveSteps, type Training } from "./five-steps.js";

for (const [name, task] of Object.entries(TASKS))
  for (const precision of ["32", "bf16"] as const)
    test(`${name} in ${precision}`, needsCpu, async () =>
      isAsEager(await fiveSteps(task, { precision }), precision, precision === "32" ? undefined : task.bfloat16Loss),
    );
for (const name of ["mlp", "cnn", "gpt"])
  test(`${name} in bf16-true`, needsCpu, async () =>
    isAsEager(await fiveSteps(TASKS[name] as (typeof TASKS)[string], { precision: "bf16-true" }), "bf16-true"),
  );

const OPTIMIZERS: Readonly<Record<string, Training>> = {
  SGD: { optimizer: (p) => new optim.SGD(p, { lr: 0.1, fused: true }) },
  "SGD with momentum": {
    optimizer: (p) => new optim.SGD(p, { momentum: 0.9, nesterov: true, weightDecay: 0.01, fused: true }),
  },
  "SGD with dampening, maximizing": {
    optimizer: (p) => new optim.SGD(p, { momentum: 0.8, dampening: 0.3, maximize: true, fused: true }),
  },
  "SGD by lists": {
    constantRate: true,
    optimizer: (p) => new optim.SGD(p, { lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.01 }),
  },
  Adam: { optimizer: (p) => new optim.Adam(p, { fused: true, weightDecay: 0.1 }) },
  "Adam with amsgrad": { optimizer: (p) => new optim.Adam(p, { fused: true, amsgrad: true, betas: [0.8, 0.9] }) },
  Lion: { constantRate: true, optimizer: (p) => new Lion32bit(p, { lr: 1e-3, weightDecay: 0.1 }) },
  RMSprop: { constantRate: true, optimizer: (p) => new RMSprop32bit(p, { lr: 1e-3 }) },
  Adagrad: { constantRate: true, optimizer: (p) => new Adagrad32bit(p, { lr: 1e-2 }) },
  "clipping by norm": { clip: (p) => optim.clipGradNorm(p, 0.1) },
  "clipping by value": { clip: (p) => optim.clipGradValue(p, 0.01) },
  accumulation: { accumulate: 3 },
};
for (const [name, training] of Object.entries(OPTIMIZERS))
  test(`an mlp with ${name}`, needsCpu, async () =>
    isAsEager(await fiveSteps(TASKS["mlp"] as (typeof TASKS)[string], training)),
  );

test("in evaluation running statistics are read and stay", needsCpu, async () => {
  manualSeed(5);
  const net = new nn.Sequential(new nn.Conv2d(3, 4, 3), new nn.BatchNorm2d(4), new nn.Dropout(0.5), new nn.ReLU());
  const x = randn([2, 3, 6, 6]);
  net.forward(x); // moves the statistics
  net.eval();
  const run = (): Record<string, Tensor> => ({ y: net.forward(x).detach() });
  const step = recorded(run);
  const device = await DeviceStep.of(step);
  assert.equal(device.lowered.random, false);
  await device.run();
  assert.ok(difference((await device.results())["y"] as Tensor, run()["y"] as Tensor) < 2e-6);
});

test("every operator that these models recorded is in the list", needsCpu, async () => {
  const { kinds } = await fiveSteps(TASKS["mlp"] as (typeof TASKS)[string]);
  const known = new Set(coveredOperators());
  assert.deepEqual(
    kinds.filter((kind) => !known.has(kind) && !known.has(kind.replace(/_(\.|$)/, "$1"))),
    [],
  );
});
