import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "../index.js";
import { TensorList } from "../tensor/list.js";
import { countSteps } from "./operators.js";

const { tensor } = torch;

test("step counters of float32 on the CPU are counted at once and read", () => {
  const steps = [tensor(0), tensor(41), tensor(2 ** 24 - 1)];
  assert.deepEqual([...(countSteps(TensorList.of(steps)) ?? [])], [1, 42, 2 ** 24]);
  assert.deepEqual(
    steps.map((t) => t.item()),
    [1, 42, 2 ** 24],
  );
  // Where float32 ends the counter stays, as it does by addition.
  const added = tensor(2 ** 24)
    .add(1)
    .item();
  assert.deepEqual([...(countSteps(TensorList.of(steps)) ?? [])], [2, 43, added]);
});

test("other counters are counted by an operator", () => {
  const steps = [tensor(1), tensor(7, { dtype: "float64" })];
  assert.equal(countSteps(TensorList.of(steps)), null);
  assert.deepEqual(
    steps.map((t) => t.item()),
    [2, 8],
  );
  assert.equal(steps[1]?.dtype, "float64");
});

test("autograd notices a counter that was saved and counted since", () => {
  const counter = tensor(3);
  const x = tensor([2], { dtype: "float32" }).requiresGrad_();
  const y = x.mul(counter).sum();
  countSteps(TensorList.of([counter]));
  assert.throws(() => y.backward(), /modified by an inplace operation/);
});

test("Adam's steps continue from counters of another dtype, as a checkpoint of another program may hold", () => {
  const run = (dtype: "float32" | "float64"): number[] => {
    torch.manualSeed(1);
    const p = new torch.nn.Parameter(torch.randn([5]));
    const adam = new torch.optim.AdamW([p], { lr: 0.1, amsgrad: true });
    for (let i = 0; i < 4; i++) {
      p.grad = torch.ones([5]).mul(i - 1.5);
      adam.step();
      if (i === 1) {
        const { state, paramGroups } = adam.stateDict();
        const first = state["0"] as Record<string, torch.Tensor>;
        adam.loadStateDict({
          paramGroups,
          state: { 0: { ...first, step: (first["step"] as torch.Tensor).to(dtype) } },
        });
      }
    }
    return p.tolist() as number[];
  };
  assert.deepEqual(run("float64"), run("float32"));
});
