/** What GradScaler refuses. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "../index.js";
import { make, values, fails } from "../testing/scaled-parameter.js";

const { GradScaler, nn, optim, tensor, zeros } = torch;
type Tensor = torch.Tensor;

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
