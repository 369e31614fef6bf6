/** Settings and state of GradScaler. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "../index.js";
import { make, values, fails } from "../testing/scaled-parameter.js";

const { GradScaler, optim, tensor } = torch;
type Tensor = torch.Tensor;

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
