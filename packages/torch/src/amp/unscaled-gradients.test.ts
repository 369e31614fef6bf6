/** Which steps an overflow skips, and how often it counts. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "../index.js";

const { amp, GradScaler, memory, nn, noGrad, optim, scope } = torch;
type Tensor = torch.Tensor;

interface Loop {
  readonly scaler: torch.GradScaler;
  readonly weights: readonly Tensor[];
  readonly optimizers: readonly torch.optim.SGD[];
  /** The gradient of each weight gets `factors`' number; Infinity overflows. */
  backward(...factors: readonly number[]): void;
  /** Whether it stepped. */
  step(optimizer?: number): boolean;
  readonly gradients: torch.amp.UnscaledGradients;
}
const kinds = [{ lazy: false }, { lazy: true }, { lazy: true, fused: true }] as const;

/** Weights `a` of the first optimizer, `b` of the second, `c` of both. */
function make({ lazy, fused = false }: { readonly lazy: boolean; readonly fused?: boolean }): Loop {
  const [a, b, c] = [0, 1, 2].map(() => new nn.Parameter(torch.zeros([2])));
  const optimizers = [
    [a, c],
    [b, c],
  ].map((params) => new optim.SGD(params as Tensor[], { lr: 1, fused }));
  const scaler = new GradScaler({ initScale: 1024, lazy });
  const gradients = new amp.UnscaledGradients(scaler);
  const weights = [a, b, c] as Tensor[];
  return {
    scaler,
    weights,
    optimizers,
    gradients,
    backward: (...factors) => {
      gradients.beforeBackward(optimizers, []);
      scope(() =>
        factors.forEach(
          (factor, i) =>
            void (
              factor !== 0 &&
              scaler.scale((weights[i] as Tensor).mul(factor === Infinity ? 3e38 : factor).sum()).backward()
            ),
        ),
      );
      gradients.settle(optimizers, []);
    },
    step: (i = 0) => gradients.step(optimizers[i] as torch.optim.SGD).stepped,
  };
}
const zero = (loop: Loop, i: number, options: { readonly setToNone?: boolean } = {}): void => {
  loop.optimizers[i]?.zeroGrad(options);
  loop.gradients.cleared(loop.optimizers[i] as torch.optim.SGD);
};
const values = (t: Tensor | null): unknown => t?.tolist() ?? null;

for (const kind of kinds) {
  const name = JSON.stringify(kind);

  test(`${name}: an overflow skips the steps of the optimizers that hold the gradient, and counts once`, () => {
    const loop = make(kind);
    loop.backward(Infinity, 1, 0);
    assert.deepEqual([loop.step(0), loop.step(1)], [false, true]);
    loop.gradients.update();
    assert.equal(loop.scaler.getScale(), 512);
    assert.deepEqual(loop.weights.map(values), [
      [0, 0],
      [-1, -1],
      [0, 0],
    ]);
    // The gradient is still there: so is what it holds.
    assert.equal(loop.step(0), false);
    loop.gradients.update();
    assert.equal(loop.scaler.getScale(), 512, "counted before");
    zero(loop, 0);
    loop.backward(1, 0, 0);
    assert.equal(loop.step(0), true);
    assert.deepEqual(values(loop.weights[0] as Tensor), [-1, -1]);
  });

  test(`${name}: an overflow of a shared parameter skips every optimizer that holds it`, () => {
    const loop = make(kind);
    loop.backward(1, 1, Infinity);
    assert.deepEqual([loop.step(0), loop.step(1)], [false, false]);
    loop.gradients.update();
    assert.equal(loop.scaler.getScale(), 512);
  });

  test(`${name}: an overflow in an accumulation window skips its step, whatever became of the infinity, and whichever optimizer steps first`, () => {
    const loop = make(kind);
    loop.backward(1, Infinity, 0);
    assert.equal(loop.step(0), true);
    loop.gradients.update();
    assert.equal(loop.scaler.getScale(), 512);
    optim.clipGradValue(loop.weights, 2);
    assert.ok(scope(() => loop.weights[1]?.grad?.isfinite().all().item()) !== 0);
    loop.backward(1, 1, 0);
    assert.equal(loop.step(0), true);
    loop.gradients.update();
    assert.equal(loop.scaler.getScale(), 512, "the second optimizer's was counted");
    assert.equal(loop.step(1), false);
    loop.gradients.update();
    assert.equal(loop.scaler.getScale(), 512);
    assert.deepEqual(values(loop.weights[1] as Tensor), [0, 0]);
  });

  test(`${name}: clearing a batch's gradients clears its overflow, which counts all the same`, () => {
    for (const how of ["optimizer", "in place", "by hand"] as const) {
      const loop = make(kind);
      loop.backward(Infinity, 0, Infinity);
      if (how === "by hand") for (const w of loop.weights) w.grad = null;
      else [0, 1].forEach((i) => zero(loop, i, { setToNone: how === "optimizer" }));
      loop.backward(1, 0, 0);
      assert.equal(loop.step(0), true, how);
      loop.gradients.update();
      assert.equal(loop.scaler.getScale(), 512, how);
      assert.deepEqual(values(loop.weights[0] as Tensor), [-1, -1], how);
    }
  });

  test(`${name}: gradients set to zero by hand are checked again after a step`, () => {
    const loop = make(kind);
    loop.backward(Infinity, 0, 0);
    assert.equal(loop.step(0), false);
    loop.gradients.update();
    noGrad(() => loop.weights[0]?.grad?.zero_());
    loop.backward(1, 0, 0);
    assert.equal(loop.step(0), true);
  });

  test(`${name}: without gradients, or with such as were set by hand, a step is a plain one, and updates nothing`, () => {
    const loop = make(kind);
    assert.equal(loop.step(0), true);
    loop.gradients.update();
    (loop.weights[0] as Tensor).grad = torch.ones([2]);
    assert.equal(loop.step(0), true);
    loop.gradients.update();
    assert.deepEqual(
      [loop.scaler.getScale(), loop.scaler.getGrowthTracker(), values(loop.weights[0] as Tensor)],
      [1024, 0, [-1, -1]],
    );
  });

  test(`${name}: sparse gradients, duplicates included, and complex ones`, () => {
    const table = new nn.Embedding(4, 2, { sparse: true });
    const turn = torch.ones([2], { dtype: "complex64" }).requiresGrad_();
    noGrad(() => table.weight.fill_(1));
    const optimizer = new optim.SGD([table.weight, turn], { lr: 1 });
    const scaler = new GradScaler({ initScale: 1024, lazy: kind.lazy });
    const gradients = new amp.UnscaledGradients(scaler);
    const step = (factor: number): boolean => {
      for (let i = 0; i < 2; i++) {
        gradients.beforeBackward([optimizer], []);
        scope(() =>
          scaler
            .scale(
              table
                .forward(torch.tensor([1, 1, 3], { dtype: "int64" }))
                .mul(factor)
                .sum()
                .add(torch.real(turn).sum()),
            )
            .backward(),
        );
        gradients.settle([optimizer], []);
      }
      assert.equal(table.weight.grad?.layout, "sparseCoo");
      const { stepped } = gradients.step(optimizer);
      gradients.update();
      optimizer.zeroGrad();
      gradients.cleared(optimizer);
      return stepped;
    };
    assert.equal(step(0.5), true);
    assert.deepEqual(table.weight.tolist(), [
      [1, 1],
      [-1, -1],
      [1, 1],
      [0, 0],
    ]);
    assert.deepEqual(torch.viewAsReal(turn.detach()).tolist(), [
      [-1, 0],
      [-1, 0],
    ]);
    assert.equal(step(3e38), false);
    assert.deepEqual(
      [scaler.getScale(), table.weight.tolist()],
      [
        512,
        [
          [1, 1],
          [-1, -1],
          [1, 1],
          [0, 0],
        ],
      ],
    );
  });
}

test("a loop holds no more after a thousand iterations", () => {
  for (const kind of kinds) {
    const loop = make(kind);
    const iterate = (i: number): void => {
      if (i % 3 === 0) [0, 1].forEach((k) => zero(loop, k, { setToNone: i % 2 === 0 }));
      loop.backward(i % 7 === 0 ? Infinity : 1, i % 5 === 0 ? 0 : 1, 1);
      loop.gradients.step(loop.optimizers[i % 2] as torch.optim.SGD);
      if (i % 4 === 0) loop.gradients.update();
    };
    for (let i = 1; i < 100; i++) iterate(i);
    const held = memory().unreleased;
    for (let i = 100; i < 1100; i++) iterate(i);
    loop.gradients.update();
    assert.ok(memory().unreleased - held <= 12, `${JSON.stringify(kind)}: ${memory().unreleased - held}`);
  }
});
