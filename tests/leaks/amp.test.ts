/** Loss scaling and autocast leave nothing behind, also after skips, errors and nested regions. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { amp, autocast, GradScaler, memory, nn, ones, optim, scope, setNumThreads } from "@nbit/torch";
import { collectGarbage } from "../helpers/collect-garbage.js";

setNumThreads(1); // tiny tensors
beforeEach(collectGarbage);

test("equal scaled steps end with equal numbers of live tensors, also after skips, own scales and errors", () => {
  const scaler = new GradScaler({ initScale: 16, growthInterval: 2 });
  const [w, half] = [new nn.Parameter(ones([4])), new nn.Parameter(ones([4], { dtype: "float16" }))];
  const [optimizer, halfOptimizer] = [new optim.SGD([w], { lr: 0.25 }), new optim.SGD([half], { lr: 0.25 })];
  const once = (factor: number): void =>
    scope(() => {
      optimizer.zeroGrad();
      scaler.scale(w.sum().mul(factor)).backward();
      scaler.unscale_(optimizer);
      assert.equal(scaler.step(optimizer).stepped, Number.isFinite(factor));
      scaler.update(factor === 3 ? 16 : undefined);
      half.grad = ones([4], { dtype: "float16" });
      assert.throws(() => scaler.unscale_(halfOptimizer), { code: "SCALER_FP16_GRADIENTS" });
      half.grad = null;
    });
  const round = (): void => [1, Infinity, 3].forEach(once);
  round();
  const { unreleased } = memory();
  for (let i = 0; i < 5; i++) round();
  assert.equal(memory().unreleased, unreleased);
});

test("regions, their caches and policies keep no memory once they have ended", async () => {
  const w = new nn.Parameter(ones([64, 64]));
  const once = (): void =>
    scope(() => {
      autocast({ dtype: "bfloat16", cacheEnabled: true }, () => {
        w.mm(w);
        autocast({ dtype: "float16", cacheEnabled: true }, () => w.mm(w));
        assert.throws(() => autocast({ dtype: "float16" }, () => assert.fail("inside")), /inside/);
      });
      const frozen = new amp.FrozenCasts([ones([8, 8])]);
      autocast({ dtype: "bfloat16" }, () => frozen.run(() => w.mm(w)));
      frozen.dispose();
    });
  once();
  await collectGarbage();
  const { unreleased, bytes } = memory();
  for (let i = 0; i < 5; i++) once();
  assert.deepEqual([memory().unreleased, memory().bytes], [unreleased, bytes]);
});
