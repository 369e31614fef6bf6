/** What GradScaler does to losses, gradients and steps. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "../index.js";
import { make, values, fails } from "../testing/scaled-parameter.js";

const { GradScaler, amp, nn, optim, tensor, zeros } = torch;
type Tensor = torch.Tensor;

test("a 16-bit loss is scaled in float32, whatever its shape", () => {
  const scaler = new GradScaler();
  for (const dtype of ["float16", "bfloat16"] as const) {
    for (const shape of [[], [1], [3], [2, 2]]) {
      const scaled = scaler.scale(torch.full(shape, 2, { dtype }));
      assert.equal(scaled.dtype, "float32");
      assert.deepEqual(scaled.shape, shape);
      assert.equal(scaled.max().item(), 131072); // infinity in float16
    }
  }
  assert.equal(scaler.scale(tensor(2, { dtype: "float64" })).dtype, "float64");
  const [a, b] = scaler.scale([tensor(1), tensor(2)]);
  assert.deepEqual([a?.item(), b?.item()], [65536, 131072]);
  const w = new nn.Parameter(torch.ones([1]));
  const scaled = new GradScaler({ initScale: 32768 }).scale(w.mul(4).half()); // 131,072: more than float16 holds
  assert.deepEqual(values(scaled), [131072]);
  scaled.backward();
  assert.deepEqual(values(w.grad as Tensor), [131072]);
});

test("float64 and bfloat16 gradients, and parameters without any, in one optimizer", () => {
  const scaler = new GradScaler({ initScale: 8 });
  const [wide, narrow, unused] = [make(1, { dtype: "float64" }).w, make(1, { dtype: "bfloat16" }).w, make().w];
  const optimizer = new optim.SGD([wide, unused, narrow], { lr: 0.5 });
  scaler.scale(wide.sum().add(narrow.sum().double())).backward();
  assert.equal(scaler.step(optimizer).stepped, true);
  scaler.update();
  assert.deepEqual(
    [values(wide), values(narrow), values(unused)],
    [
      [0.5, 0.5, 0.5, 0.5],
      [0.5, 0.5, 0.5, 0.5],
      [1, 1, 1, 1],
    ],
  );
});

test("sparse gradients are unscaled, and checked", () => {
  const weight = new nn.Parameter(torch.ones([5, 2]));
  const optimizer = new optim.SGD([weight], { lr: 0.5 });
  const scaler = new GradScaler({ initScale: 16 });
  const index = tensor([1, 3, 1], { dtype: "int64" });
  const run = (factor: number): void => {
    optimizer.zeroGrad();
    scaler.scale(torch.embedding(weight, index, { sparse: true }).sum().mul(factor)).backward();
  };
  run(1);
  assert.equal((weight.grad as Tensor).isSparse, true);
  scaler.unscale_(optimizer);
  assert.deepEqual((weight.grad as Tensor).toDense().tolist(), [
    [0, 0],
    [2, 2],
    [0, 0],
    [1, 1],
    [0, 0],
  ]);
  optimizer.zeroGrad();
  scaler.update();
  run(Infinity);
  scaler.unscale_(optimizer);
  scaler.update();
  assert.equal(scaler.latestSkipped, true);
  assert.equal(scaler.getScale(), 8);
});

for (const fused of [false, true]) {
  test(`a skipped step changes neither weights nor state, ${fused ? "fused" : "plain"}`, () => {
    const w = new nn.Parameter(torch.ones([4]));
    const other = new nn.Parameter(torch.ones([2]));
    const optimizer = new optim.AdamW([{ params: [other] }, { params: [w] }], { lr: 0.1, fused });
    const scaler = new GradScaler({ initScale: 4 });
    const outcomes: unknown[] = [];
    const steps: unknown[] = [];
    for (const factor of [1, NaN, 1]) {
      optimizer.zeroGrad();
      scaler.scale(w.mul(factor).sum().add(other.sum())).backward();
      const before = [
        values(w),
        values(other),
        values((optimizer.state.get(w)?.["expAvg"] as Tensor | undefined) ?? zeros([1])),
      ];
      const step = scaler.step(optimizer);
      const { stepped, lossScale, nonFiniteIndices } = step;
      outcomes.push({ stepped, lossScale, nonFiniteIndices });
      const after = [values(w), values(other), values(optimizer.state.get(w)?.["expAvg"] as Tensor)];
      if (!stepped) assert.deepEqual(after, before);
      else assert.notDeepEqual(after, before);
      scaler.update();
      steps.push((optimizer.state.get(w)?.["step"] as Tensor).item());
    }
    assert.deepEqual(outcomes, [
      { stepped: true, lossScale: 4, nonFiniteIndices: [] },
      { stepped: false, lossScale: 4, nonFiniteIndices: [1] },
      { stepped: true, lossScale: 2, nonFiniteIndices: [] },
    ]);
    assert.deepEqual(steps, [1, 1, 2]);
    assert.equal(scaler.skippedUpdates, 1);
  });
}

test("one optimizer overflows: it alone is skipped, and the one update backs off", () => {
  const scaler = new GradScaler({ initScale: 8, growthInterval: 1 });
  const [a, b] = [make(), make(Infinity)];
  scaler.scale(a.loss()).backward();
  scaler.scale(b.loss()).backward();
  assert.deepEqual([scaler.step(a.optimizer).stepped, scaler.step(b.optimizer).stepped], [true, false]);
  scaler.update();
  assert.deepEqual([values(a.w)[0], values(b.w)[0], scaler.getScale(), scaler.skippedUpdates], [0.75, 1, 4, 1]);
});

test("a lazy scaler leaves the floor to checkFloor, which is sure after the next update", () => {
  const scaler = new GradScaler({ initScale: 4, minScale: 1, lazy: true });
  assert.deepEqual([scaler.lazy, new GradScaler().lazy], [true, false]);
  const bad = make(NaN);
  const good = make();
  const once = ({ optimizer, loss }: typeof bad): void => {
    optimizer.zeroGrad();
    scaler.scale(loss()).backward();
    const step = scaler.step(optimizer);
    scaler.update();
    assert.equal(step.stepped, optimizer === good.optimizer);
  };
  once(bad);
  assert.equal(scaler.checkFloor([bad.optimizer]), false, "2 is not the floor");
  once(bad);
  assert.equal(scaler.checkFloor([bad.optimizer]), true, "this overflow led to the floor");
  once(good);
  assert.equal(scaler.checkFloor([good.optimizer]), false);
  once(bad);
  assert.equal(scaler.checkFloor([bad.optimizer]), true, "at the floor, but it is not known yet");
  once(bad);
  fails(
    () => scaler.checkFloor([bad.optimizer]),
    "LOSS_SCALE_FLOOR",
    "GradScaler.update: expected finite gradients at the smallest loss scale. Received: gradients that are not finite at scale 1, of parameters 0. The loss or a layer yields NaN or infinity: look there, or lower minScale.",
  );
  assert.equal(
    new GradScaler({ initScale: 1, minScale: 1 }).checkFloor([]),
    false,
    "of a scaler that is not lazy update tells",
  );
});

test("at minScale an error names the parameters' positions; at maxScale the scale stops growing", () => {
  const scaler = new GradScaler({ initScale: 4, minScale: 1 });
  const { optimizer, loss } = make(NaN);
  const once = (): void => {
    optimizer.zeroGrad();
    scaler.scale(loss()).backward();
    scaler.step(optimizer);
    scaler.update();
  };
  once();
  once();
  assert.equal(scaler.getScale(), 1);
  fails(
    once,
    "LOSS_SCALE_FLOOR",
    "GradScaler.update: expected finite gradients at the smallest loss scale. Received: gradients that are not finite at scale 1, of parameters 0. The loss or a layer yields NaN or infinity: look there, or lower minScale.",
  );
  assert.throws(
    once,
    (error) => error instanceof amp.LossScaleError && error.parameters.length === 1 && error.parameters[0] === 0,
  );
  assert.equal(scaler.getScale(), 1);

  const high = new GradScaler({ initScale: 4, maxScale: 10, growthInterval: 1 });
  const good = make();
  for (const expected of [8, 10, 10]) {
    high.scale(good.loss()).backward();
    high.step(good.optimizer);
    high.update();
    assert.equal(high.getScale(), expected);
  }
  // PyTorch's has no floor: at 0 every gradient is NaN.
  assert.equal(new GradScaler({ minScale: 0 }).options.minScale, 0);
  for (const fused of [false, true]) {
    const none = new GradScaler({ initScale: 2 ** -130, minScale: 0 });
    const { w, optimizer, loss } = make(1, { fused });
    none.scale(loss()).backward();
    assert.equal(none.step(optimizer).stepped, false, "one divided by this scale is infinity in float32");
    none.update();
    assert.deepEqual(values(w), [1, 1, 1, 1]);
  }
});
