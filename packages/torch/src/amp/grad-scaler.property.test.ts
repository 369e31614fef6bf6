/**
 * GradScaler against a plain model of its algorithm, over random runs: overflow patterns, intervals, factors, floors,
 * ceilings, several optimizers, own scales, saves and loads.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import * as torch from "../index.js";

const { amp, GradScaler, nn, noGrad, optim, scope } = torch;

/** The algorithm in numbers; `Math.fround` where the scaler holds float32. */
class Model {
  scale: number;
  tracker = 0;
  skipped = 0;
  constructor(
    readonly o: {
      initScale: number;
      growthFactor: number;
      backoffFactor: number;
      growthInterval: number;
      minScale: number;
      maxScale: number;
    },
  ) {
    this.scale = Math.fround(o.initScale);
  }
  /** Returns whether the floor was hit. */
  update(overflows: readonly boolean[], own: number | null): boolean {
    const found = overflows.includes(true);
    if (found) this.skipped++;
    if (own !== null) {
      this.scale = Math.fround(own);
      return false;
    }
    const hit = found && this.scale <= this.o.minScale;
    if (found) {
      this.scale = Math.fround(this.scale * this.o.backoffFactor);
      this.tracker = 0;
    } else if (++this.tracker === this.o.growthInterval) {
      const grown = Math.fround(this.scale * this.o.growthFactor);
      if (Number.isFinite(grown)) this.scale = grown;
      this.tracker = 0;
    }
    this.scale = Math.min(Math.max(this.scale, Math.fround(this.o.minScale)), Math.fround(this.o.maxScale));
    return hit;
  }
}

const float32 = (min: number, max: number): fc.Arbitrary<number> =>
  fc.float({ min: Math.fround(min), max: Math.fround(max), noNaN: true });
const settings = fc
  .record({
    initScale: float32(2 ** -8, 2 ** 20),
    growthFactor: fc.oneof(fc.constant(2), fc.double({ min: 1.001, max: 1e6, noNaN: true })),
    backoffFactor: fc.oneof(fc.constant(0.5), fc.double({ min: 1e-3, max: 0.999, noNaN: true })),
    growthInterval: fc.integer({ min: 1, max: 6 }),
    floor: fc.constantFrom(0, 2 ** -14, 2 ** -6, 0.5, 1),
    ceiling: fc.constantFrom(1, 2, 64, 2 ** 20),
  })
  .map(({ floor, ceiling, ...o }) => ({ ...o, minScale: o.initScale * floor, maxScale: o.initScale * ceiling }))
  .filter((o) => o.maxScale < 2 ** 120);
const badness = fc.constantFrom(Infinity, -Infinity, NaN);
const iteration = fc.record({
  /** Per optimizer: null is a good gradient. */
  bad: fc.tuple(fc.option(badness, { freq: 3, nil: null }), fc.option(badness, { freq: 3, nil: null })),
  /** Per optimizer: leave it out, step it, or unscale first. */
  how: fc.tuple(fc.constantFrom("step", "unscale"), fc.constantFrom("step", "unscale", "leave")),
  own: fc.option(float32(0.5, 1024), { freq: 8, nil: null }),
  reload: fc.boolean(),
});

test("GradScaler follows the model", () => {
  fc.assert(
    fc.property(settings, fc.boolean(), fc.array(iteration, { minLength: 1, maxLength: 25 }), (o, fused, iterations) =>
      scope(() => {
        let scaler = new GradScaler(o);
        const model = new Model(o);
        const weights = [new nn.Parameter(torch.ones([3])), new nn.Parameter(torch.ones([2]))] as const;
        const optimizers = weights.map((w) => new optim.SGD([w], { lr: 2 ** -10, fused }));
        scaler.scale(torch.ones([]));
        let skippedBefore = 0;
        for (const { bad, how, own, reload } of iterations) {
          const lossScale = scaler.getScale();
          const overflows: boolean[] = [];
          optimizers.forEach((optimizer, i) => {
            if (how[i] === "leave") return;
            const w = weights[i] as torch.Tensor;
            const wrong = bad[i] ?? null;
            // What backward of a scaled loss leaves: unscaled gradients of 1, times the scale.
            w.grad = noGrad(() => torch.full([w.numel()], lossScale, { dtype: "float32" }));
            if (wrong !== null) noGrad(() => (w.grad as torch.Tensor).select(0, w.numel() - 1).fill_(wrong));
            if (how[i] === "unscale") scaler.unscale_(optimizer);
            const before = w.detach().tolist() as number[];
            const step = scaler.step(optimizer);
            overflows.push(wrong !== null);
            assert.equal(step.stepped, wrong === null);
            assert.equal(step.lossScale, lossScale);
            assert.deepEqual(step.nonFiniteIndices, wrong === null ? [] : [0]);
            const moved = (w.detach().tolist() as number[]).map((v, k) => (before[k] as number) - v);
            // An unscaled gradient of 1 moves by lr, to the rounding of scale · (1 / scale).
            for (const m of moved)
              assert.ok(wrong === null ? Math.abs(m - 2 ** -10) < 2 ** -10 * 1e-3 : m === 0, `moved by ${m}`);
          });
          const hit = model.update(overflows, own);
          const update = (): void => scaler.update(own ?? undefined);
          if (hit) assert.throws(update, amp.LossScaleError);
          else update();
          assert.equal(scaler.getScale(), model.scale);
          assert.equal(scaler.getGrowthTracker(), model.tracker);
          assert.equal(skippedBefore + scaler.skippedUpdates, model.skipped);
          assert.equal(scaler.latestSkipped, overflows.includes(true));
          if (own !== null) model.scale = Math.fround(own);
          if (reload && model.scale <= Math.fround(o.maxScale) && model.scale >= Math.fround(o.minScale)) {
            skippedBefore = model.skipped;
            const saved: unknown = JSON.parse(JSON.stringify(scaler.stateDict()));
            scaler = new GradScaler({ minScale: o.minScale, maxScale: o.maxScale, initScale: o.initScale });
            scaler.loadStateDict(saved as Record<string, unknown>);
            scaler.scale(torch.ones([]));
          }
        }
      }),
    ),
    { seed: 20, numRuns: 150 },
  );
});

test("without a floor, PyTorch's way: backing off ends at 0", () => {
  const scaler = new GradScaler({ minScale: 0 });
  const model = new Model({
    initScale: 65536,
    growthFactor: 2,
    backoffFactor: 0.5,
    growthInterval: 2000,
    minScale: 0,
    maxScale: 2 ** 24,
  });
  const w = new nn.Parameter(torch.ones([1]));
  const optimizer = new optim.SGD([w], { lr: 1 });
  scaler.scale(torch.ones([]));
  let backoffs = 0;
  for (; model.scale > 0; backoffs++) {
    w.grad = torch.full([1], NaN);
    scaler.step(optimizer);
    model.update([true], null);
    scaler.update();
    assert.equal(scaler.getScale(), model.scale);
  }
  assert.equal(backoffs, 166);
});
