/** Results that linear layers do not keep, since backward makes them again. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { grad, memory, nn, randn, scope, seedEverything, type Tensor } from "../index.js";

const { addLayerNorm, addRmsNorm, biasGelu, linear } = nn.functional;
const KERNEL = { path: "kernel" } as const;
const bytes = (t: Tensor): string => Buffer.from(t.detach().toBytes()).toString("base64");

interface Setting {
  readonly x: Tensor;
  readonly norm: nn.LayerNorm;
  readonly fc: nn.Linear;
  readonly out: nn.Linear;
}
function setting(): Setting {
  seedEverything(21);
  const x = randn([2, 64, 32]).requiresGrad_();
  return { x, norm: new nn.LayerNorm(32), fc: new nn.Linear(32, 128), out: new nn.Linear(128, 32) };
}
const leavesOf = ({ x, norm, fc, out }: Setting): Tensor[] => [
  x,
  ...norm.parameters(),
  ...fc.parameters(),
  ...out.parameters(),
];
interface How {
  readonly recompute: boolean;
  readonly rms?: boolean;
  readonly changed?: (h: Tensor) => void;
}
function forward({ x, norm, fc, out }: Setting, { recompute, rms = false, changed }: How): Tensor {
  return scope(() => {
    const how = { ...KERNEL, recompute };
    const [sum, normed] = rms
      ? addRmsNorm(x, x, [32], norm.weight, how)
      : addLayerNorm(x, x, [32], norm.weight, norm.bias, how);
    const h = biasGelu(linear(normed, fc.weight), fc.bias, how);
    changed?.(h);
    return out.forward(h).add(sum).square().mean();
  });
}
function gradients(how: How): string[] {
  return scope(() => {
    const s = setting();
    const wanted = leavesOf(s).filter((t) => how.rms !== true || t !== s.norm.bias);
    return grad(forward(s, how), wanted).map((g) => bytes(g as Tensor));
  });
}

for (const rms of [false, true])
  test(`gradients are the same to the last bit${rms ? ", RMS" : ""}`, () =>
    assert.deepEqual(gradients({ recompute: true, rms }), gradients({ recompute: false, rms })));

test("less is held between forward and backward, and nothing after it", () => {
  const heldBy = (recompute: boolean): number =>
    scope(() => {
      const s = setting();
      const before = memory().allocatedBytes;
      const loss = forward(s, { recompute });
      const held = memory().allocatedBytes - before;
      loss.backward();
      return held;
    });
  heldBy(true);
  const [again, kept] = [heldBy(true), heldBy(false)];
  // Not the normalised rows (16 KiB), nor what GELU makes (64 KiB).
  assert.ok(again <= kept - 75_000, `${again} of ${kept}`);
});

test("what changes a result or its gradient is heard", () => {
  for (const changed of [
    (h: Tensor): void => void h.mul_(0.5),
    (h: Tensor): void => void h.registerHook((g) => g.mul(2)),
    (h: Tensor): void => void h.registerHook((g) => void g.mul_(2)),
  ])
    assert.deepEqual(gradients({ recompute: true, changed }), gradients({ recompute: false, changed }));
});

test("what a result is made from may not be written meanwhile, and a graph is walked once", () =>
  scope(() => {
    const s = setting();
    const loss = forward(s, { recompute: true });
    s.fc.bias?.detach().add_(1);
    assert.throws(() => grad(loss, [s.out.weight]), /modified by an inplace operation/);
    const once = forward(s, { recompute: true });
    grad(once, [s.out.weight]);
    assert.throws(() => grad(once, [s.out.weight]), /second time|already been freed/);
    const twice = forward(s, { recompute: true });
    const first = grad(twice, leavesOf(s), { retainGraph: true }).map((g) => bytes(g as Tensor));
    assert.deepEqual(
      grad(twice, leavesOf(s)).map((g) => bytes(g as Tensor)),
      first,
    );
    assert.throws(
      () => grad(forward(s, { recompute: true }), [s.out.weight], { createGraph: true }),
      /recompute: false/,
    );
  }));
