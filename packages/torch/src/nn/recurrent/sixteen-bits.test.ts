import assert from "node:assert/strict";
import { test } from "node:test";
import { autocast, manualSeed, nn, randn } from "../../index.js";

for (const dtype of ["float16", "bfloat16"] as const)
  test(`an LSTM under autocast to ${dtype} runs on every processor`, () => {
    manualSeed(0);
    const lstm = new nn.LSTM(5, 7, { numLayers: 2, batchFirst: true, bidirectional: true });
    const x = randn([3, 4, 5], { requiresGrad: true });
    const [exact] = lstm.forward(x);
    const [output, [h, c]] = autocast({ deviceType: "cpu", dtype }, () => lstm.call(x));
    assert.deepEqual([output.dtype, h.dtype, c.dtype], [dtype, dtype, dtype]);
    assert.ok(output.float().sub(exact).abs().max().item() < 0.02);
    output.float().sum().backward();
    assert.ok(lstm.parameters().every((p) => p.grad?.isfinite().all().item() === 1));
  });
