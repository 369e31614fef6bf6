import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "../index.js";

const { GradScaler, NbitError, amp, nn, optim, tensor, zeros } = torch;
type Tensor = torch.Tensor;

/** A parameter and its optimizer; its gradient is what a loss of `factor · Σw` gives. */
function make(
  factor = 1,
  options: { fused?: boolean; dtype?: torch.DType } = {},
): { w: Tensor; optimizer: torch.optim.Optimizer; loss: () => Tensor } {
  const w = new nn.Parameter(torch.ones([4], { dtype: options.dtype ?? "float32" }));
  const optimizer =
    options.fused === true ? new optim.SGD([w], { lr: 0.25, fused: true }) : new optim.SGD([w], { lr: 0.25 });
  return { w, optimizer, loss: () => w.mul(factor).sum() };
}
const values = (t: Tensor): number[] => t.detach().tolist() as number[];

function fails(fn: () => unknown, code: string, message: string | RegExp): void {
  assert.throws(fn, (error) => {
    assert.ok(error instanceof NbitError, String(error));
    assert.equal(error.code, code);
    if (typeof message === "string") assert.equal(error.message, message);
    else assert.match(error.message, message);
    return true;
  });
}

test("the constructor checks every setting", () => {
  const bad: readonly (readonly [torch.amp.GradScalerOptions, string])[] = [
    [{ growthFactor: 1 }, "GradScaler: expected growthFactor to be a finite number > 1. Received: 1."],
    [{ growthFactor: Infinity }, "GradScaler: expected growthFactor to be a finite number > 1. Received: Infinity."],
    [{ backoffFactor: 1 }, "GradScaler: expected backoffFactor to be a number in (0, 1). Received: 1."],
    [{ backoffFactor: 0 }, "GradScaler: expected backoffFactor to be a number in (0, 1). Received: 0."],
    [{ growthInterval: 0 }, "GradScaler: expected growthInterval to be a whole number ≥ 1. Received: 0."],
    [{ growthInterval: 1.5 }, "GradScaler: expected growthInterval to be a whole number ≥ 1. Received: 1.5."],
    [{ initScale: 0 }, "GradScaler: expected initScale to be a finite number > 0. Received: 0."],
    [{ initScale: NaN }, "GradScaler: expected initScale to be a finite number > 0. Received: NaN."],
    [{ minScale: 2, maxScale: 1 }, "GradScaler: expected 0 ≤ minScale ≤ maxScale. Received: 2."],
    [
      { initScale: 2 ** 25 },
      "GradScaler: expected initScale between minScale (0.00006103515625) and maxScale (16777216). Received: 33554432. Set minScale or maxScale, too.",
    ],
  ];
  for (const [options, message] of bad) fails(() => new GradScaler(options), "ERR_ARGUMENT", message);
  const scaler = new GradScaler();
  assert.deepEqual(scaler.stateDict(), {
    scale: 65536,
    growthFactor: 2,
    backoffFactor: 0.5,
    growthInterval: 2000,
    growthTracker: 0,
  });
  assert.equal(scaler.scaleTensor.dtype, "float32");
});

test("every misuse has its own error, and leaves the scaler usable", () => {
  const scaler = new GradScaler({ initScale: 4 });
  const { w, optimizer, loss } = make();
  fails(
    () => scaler.step(optimizer),
    "SCALER_NOT_SCALED",
    "GradScaler.step: expected scale(loss) first. Received: step before any loss was scaled. Call scaler.scale(loss).backward().",
  );
  fails(
    () => scaler.unscale_(optimizer),
    "SCALER_NOT_SCALED",
    "GradScaler.unscale_: expected scale(loss) first. Received: unscale_ before any loss was scaled. Call scaler.scale(loss).backward().",
  );
  fails(
    () => scaler.update(),
    "SCALER_NOT_SCALED",
    "GradScaler.update: expected scale(loss) first. Received: update before any loss was scaled. Call scaler.scale(loss).backward().",
  );
  fails(
    () => scaler.scale(3 as never),
    "ERR_ARGUMENT",
    "GradScaler.scale: expected a tensor or an array of tensors. Received: 3.",
  );
  fails(
    () => scaler.scale(tensor([1], { dtype: "int64" })),
    "ERR_ARGUMENT",
    /^GradScaler\.scale: expected a floating point tensor\. Received: /,
  );

  const scaled = scaler.scale(loss());
  fails(
    () => scaler.unscale_(optimizer),
    "SCALER_NO_GRADIENTS",
    "GradScaler: expected gradients. Received: an optimizer none of whose parameters has one. Call scaler.scale(loss).backward() first.",
  );
  fails(() => scaler.step(optimizer), "SCALER_NO_GRADIENTS", /an optimizer none of whose parameters has one/);
  fails(
    () => scaler.update(),
    "SCALER_NO_STEP",
    "GradScaler.update: expected a step before. Received: update() without unscale_ or step since the last one.",
  );
  scaled.backward();
  scaler.unscale_(optimizer);
  assert.deepEqual(values(w.grad as Tensor), [1, 1, 1, 1]);
  fails(
    () => scaler.unscale_(optimizer),
    "SCALER_UNSCALED_TWICE",
    "GradScaler.unscale_: expected one unscale_ per step. Received: a second one since the last update(). Remove it.",
  );
  fails(
    () => scaler.step(optimizer, () => loss()),
    "SCALER_CLOSURE",
    "GradScaler.step: expected an optimizer that steps once per backward. Received: a closure. Under loss scaling the loss cannot be evaluated inside the step.",
  );
  fails(() => scaler.step(new optim.LBFGS([w])), "SCALER_CLOSURE", /Received: a closure/);
  scaler.step(optimizer);
  assert.deepEqual(values(w), [0.75, 0.75, 0.75, 0.75]);
  fails(
    () => scaler.unscale_(optimizer),
    "SCALER_UNSCALE_AFTER_STEP",
    "GradScaler.unscale_: expected unscale_ before step. Received: unscale_ after step. Swap them.",
  );
  fails(
    () => scaler.step(optimizer),
    "SCALER_STEPPED_TWICE",
    "GradScaler.step: expected one step per update. Received: a second step since the last update(). Call scaler.update() once per iteration.",
  );
  for (const newScale of [
    0,
    -1,
    NaN,
    Infinity,
    "2" as never,
    tensor([1, 2]),
    tensor(2, { dtype: "float64" }),
    tensor(2, { requiresGrad: true }),
  ])
    fails(
      () => scaler.update(newScale),
      "ERR_ARGUMENT",
      /^GradScaler\.update: expected newScale to be a number > 0, or a float32 tensor of one element without gradient\. Received: /,
    );
  scaler.update();
  assert.equal(scaler.getGrowthTracker(), 1);
});

test("gradients that a scaler cannot unscale are named before any gradient changes", () => {
  const scaler = new GradScaler({ initScale: 4 });
  const half = make(1, { dtype: "float16" }).w;
  const full = make().w;
  const both = new optim.SGD([full, half], { lr: 1 });
  scaler.scale(full.sum().add(half.sum())).backward();
  fails(
    () => scaler.unscale_(both),
    "SCALER_FP16_GRADIENTS",
    'GradScaler.unscale_: expected gradients of float32 parameters. Received: a float16 gradient of parameter 1. Keep parameters in float32 and let autocast cast them, or use precision "16-true" without a scaler.',
  );
  assert.deepEqual(values(full.grad as Tensor), [4, 4, 4, 4]);

  const elsewhere = new nn.Parameter(zeros([2], { device: "meta" }));
  elsewhere.grad = zeros([2], { device: "meta" });
  fails(
    () => scaler.unscale_(new optim.SGD([elsewhere], { lr: 1 })),
    "SCALER_DEVICE",
    'GradScaler.unscale_: expected gradients on the scaler\'s device, cpu. Received: a gradient of parameter 0 on meta. Make the scaler with new GradScaler({ device: "meta" }).',
  );
});

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

test("the scale and its factors can be set", () => {
  const scaler = new GradScaler({ initScale: 4, growthInterval: 5 });
  const { optimizer, loss } = make();
  const once = (newScale?: number | Tensor): void => {
    scaler.scale(loss()).backward();
    scaler.step(optimizer);
    scaler.update(newScale);
  };
  once(32);
  assert.deepEqual([scaler.getScale(), scaler.getGrowthTracker()], [32, 0]);
  once(tensor([3]));
  assert.equal(scaler.getScale(), 3);
  scaler.setGrowthFactor(4);
  scaler.setBackoffFactor(0.25);
  scaler.setGrowthInterval(1);
  once();
  assert.deepEqual(
    [scaler.getScale(), scaler.getGrowthFactor(), scaler.getBackoffFactor(), scaler.getGrowthInterval()],
    [12, 4, 0.25, 1],
  );
  fails(
    () => scaler.setGrowthFactor(1),
    "ERR_ARGUMENT",
    "GradScaler.setGrowthFactor: expected growthFactor to be a finite number > 1. Received: 1.",
  );
  fails(
    () => scaler.setBackoffFactor(2),
    "ERR_ARGUMENT",
    "GradScaler.setBackoffFactor: expected backoffFactor to be a number in (0, 1). Received: 2.",
  );
  fails(
    () => scaler.setGrowthInterval(0),
    "ERR_ARGUMENT",
    "GradScaler.setGrowthInterval: expected growthInterval to be a whole number ≥ 1. Received: 0.",
  );
});

test("a disabled scaler passes losses and steps through, also with a closure", () => {
  const scaler = new GradScaler({ enabled: false });
  const { w, optimizer, loss } = make();
  const l = loss();
  assert.equal(scaler.scale(l), l);
  l.backward();
  scaler.unscale_(optimizer);
  assert.deepEqual(scaler.step(optimizer), { stepped: true, lossScale: 1, nonFiniteIndices: [] });
  scaler.update();
  assert.deepEqual(
    [values(w)[0], scaler.getScale(), scaler.isEnabled(), scaler.getGrowthTracker()],
    [0.75, 1, false, 0],
  );
  assert.deepEqual(scaler.stateDict(), {});
  scaler.loadStateDict({ scale: "nonsense" });
  const lbfgs = new optim.LBFGS([w], { lr: 0.5, maxIter: 1 });
  scaler.step(lbfgs, () => {
    lbfgs.zeroGrad();
    const again = w.square().sum();
    again.backward();
    return again;
  });
  assert.notEqual(values(w)[0], 0.75);
});

test("the state is read from nbit, PyTorch and every version of Lightning, and anything else is refused", () => {
  const ours = { scale: 1024, growthFactor: 3, backoffFactor: 0.25, growthInterval: 7, growthTracker: 5 };
  const theirs = { scale: 1024, growth_factor: 3, backoff_factor: 0.25, growth_interval: 7, _growth_tracker: 5 };
  const given: Record<string, unknown>[] = [
    ours,
    theirs,
    { ...theirs, scale: tensor(1024), _growth_tracker: tensor(5, { dtype: "int32" }) },
    { epoch: 3, state_dict: {}, MixedPrecision: theirs },
    { NativeMixedPrecisionPlugin: theirs },
    { MixedPrecisionPlugin: theirs },
    { native_amp_scaling_state: theirs },
  ];
  for (const state of given) {
    const scaler = new GradScaler();
    scaler.loadStateDict(state);
    assert.deepEqual(scaler.stateDict(), ours);
  }
  const scaler = new GradScaler();
  scaler.loadStateDict({});
  assert.equal(scaler.getScale(), 65536);
  scaler.loadStateDict({ ...theirs, scale: 2 ** 40 }); // PyTorch's has no ceiling
  assert.equal(scaler.getScale(), 2 ** 24);
  fails(
    () => scaler.loadStateDict({ ...theirs, scale: 0 }),
    "ERR_ARGUMENT",
    "GradScaler.loadStateDict: expected scale to be a finite number > 0. Received: 0. PyTorch's scale has no floor: that run overflowed until nothing was left.",
  );
  fails(
    () => scaler.loadStateDict({ ...theirs, scale: undefined }),
    "ERR_ARGUMENT",
    "GradScaler.loadStateDict: expected scale to be a finite number > 0. Received: undefined.",
  );
  fails(
    () => scaler.loadStateDict({ ...theirs, growth_factor: 1 }),
    "ERR_ARGUMENT",
    "GradScaler.loadStateDict: expected growthFactor to be a finite number > 1. Received: 1.",
  );
  fails(
    () => scaler.loadStateDict({ ...theirs, _growth_tracker: -1 }),
    "ERR_ARGUMENT",
    "GradScaler.loadStateDict: expected growthTracker to be a whole number ≥ 0. Received: -1.",
  );
  fails(
    () => scaler.loadStateDict(null as never),
    "ERR_ARGUMENT",
    "GradScaler.loadStateDict: expected a state, as stateDict() returns it. Received: null.",
  );
  assert.equal(scaler.getScale(), 2 ** 24);
});
