import assert from "node:assert/strict";
import { test } from "node:test";
import {
  amp,
  enableGrad,
  inferenceMode,
  isGradEnabled,
  isInferenceModeEnabled,
  nn,
  noGrad,
  optim,
  scope,
  tensor,
  traceOperators,
} from "./index.js";

test("asynchronous functions are refused where nothing waits for them, and their own failures end nothing", async () => {
  const fails = async (): Promise<never> => {
    await new Promise((resolve) => setImmediate(resolve));
    throw new Error("nobody hears of this");
  };
  const weight = new nn.Parameter(tensor([1, 2]));
  const policy = new amp.AutocastPolicy({});
  const loss = fails as unknown as () => ReturnType<typeof tensor>;
  const calls: Readonly<Record<string, readonly [call: () => unknown, code: string]>> = {
    scope: [() => scope(fails), "SCOPE_ASYNC"],
    noGrad: [() => noGrad(fails), "ERR_ASYNC_MODE"],
    enableGrad: [() => enableGrad(fails), "ERR_ASYNC_MODE"],
    inferenceMode: [() => inferenceMode(fails), "ERR_ASYNC_MODE"],
    traceOperators: [() => traceOperators(fails), "ERR_ASYNC_MODE"],
    autocast: [() => amp.autocast({ dtype: "bfloat16" }, fails), "AUTOCAST_ASYNC"],
    "AutocastPolicy.run": [() => policy.run(fails), "AUTOCAST_ASYNC"],
    "SGD.step": [() => new optim.SGD([weight], { lr: 1 }).step(loss), "OPTIMIZER_CLOSURE"],
    "AdamW.step": [() => new optim.AdamW([weight]).step(loss), "OPTIMIZER_CLOSURE"],
    "LBFGS.step": [() => new optim.LBFGS([weight]).step(loss), "ERR_ASYNC_MODE"],
    registerHook: [
      () => {
        const y = weight.mul(2);
        y.registerHook(fails as unknown as () => undefined);
        y.sum().backward();
      },
      "ERR_ASYNC_HOOK",
    ],
  };
  for (const [name, [call, code]] of Object.entries(calls)) {
    weight.grad = tensor([1, 1]);
    assert.throws(call, { code }, name);
    assert.deepEqual(
      [weight.tolist(), isGradEnabled(), isInferenceModeEnabled(), amp.isAutocastEnabled()],
      [[1, 2], true, false, false],
      name,
    );
  }
  await new Promise((resolve) => setTimeout(resolve, 5)); // the promises fail now
});
