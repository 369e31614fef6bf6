/** The operator behind fused Adam and AdamW on a GPU; here on the CPU, where it is libtorch's own. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { aten, noGrad, operators, randn, scope, seedEverything, tensor, zeros, type Tensor } from "../index.js";

const step = operators("nbit")["fused_adam_"] as (...args: readonly unknown[]) => unknown;
const bytes = (list: readonly Tensor[]): string[] => list.map((t) => Buffer.from(t.detach().toBytes()).toString("hex"));

for (const decoupled of [true, false])
  for (const byTensor of [true, false])
    test(`it is libtorch's: ${decoupled ? "AdamW" : "Adam"}, rate as a ${byTensor ? "tensor" : "number"}`, () =>
      scope(() => {
        seedEverything(5);
        const sides = [0, 1].map(() => {
          seedEverything(6);
          const p = [randn([3, 4]), randn([5])];
          const like = (): Tensor[] => p.map((t) => zeros(t.shape));
          return { p, g: p.map((t) => t.mul(0.3)), m: like(), v: like(), steps: [tensor(3), tensor(1)] };
        });
        const [ours, theirs] = sides as [(typeof sides)[0], (typeof sides)[0]];
        const [gradScale, foundInf] = [tensor(4), tensor(0)];
        const lr = byTensor ? tensor(0.01) : 0.01;
        const { p, g, m, v, steps } = ours;
        step(p, g, m, v, steps, byTensor ? lr : null, 0.01, 0.9, 0.98, 0.1, 1e-7, decoupled, true, gradScale, foundInf);
        aten[decoupled ? "_fused_adamw_" : "_fused_adam_"]?.(theirs.p, theirs.g, theirs.m, theirs.v, [], theirs.steps, {
          lr,
          beta1: 0.9,
          beta2: 0.98,
          weightDecay: 0.1,
          eps: 1e-7,
          amsgrad: false,
          maximize: true,
          gradScale,
          foundInf,
        });
        for (const kind of ["p", "g", "m", "v"] as const)
          assert.deepEqual(bytes(ours[kind]), bytes(theirs[kind]), kind);
      }));

test("it counts as no version, as libtorch's: a graph from before it goes backward after it", () =>
  scope(() => {
    const p = randn([4]).requiresGrad_();
    const loss = p.square().sum();
    const { version } = p;
    noGrad(() =>
      step(
        [p],
        [randn([4])],
        [zeros([4])],
        [zeros([4])],
        [tensor(1)],
        null,
        0.1,
        0.9,
        0.99,
        0,
        1e-8,
        true,
        false,
        null,
        null,
      ),
    );
    assert.equal(p.version, version);
    loss.backward();
  }));

test("lists that do not fit are refused", () => {
  const call = (...[p, g, steps]: readonly Tensor[]): unknown =>
    step([p], [g], [zeros([4])], [zeros([4])], [steps], null, 0.1, 0.9, 0.99, 0, 1e-8, true, false, null, null);
  assert.throws(
    () => call(zeros([4]), zeros([3]), tensor(1)),
    /expected g in one piece of memory, of 4 elements, as p/,
  );
  assert.throws(() => call(zeros([4]), zeros([4]).double(), tensor(1)), /expected g in float/);
  assert.throws(() => call(zeros([4]), zeros([4]), zeros([2])), /expected state_steps of one element/);
});
