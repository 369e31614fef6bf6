import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "../index.js";

const { amp, autocast } = torch;

test("libtorch's table is derived from libtorch", () => {
  const table = amp.policyTable("cpu");
  const count = (rule: string): number => [...table.values()].filter((r) => r === rule).length;
  for (const name of ["mm", "linear", "conv2d", "bmm", "addmm", "matmul", "scaled_dot_product_attention"])
    assert.equal(table.get(name), "lower", name);
  for (const name of ["mse_loss", "nll_loss", "prod", "linalg_qr", "fft_fft"])
    assert.equal(table.get(name), "float32", name);
  for (const name of ["cat", "stack"]) assert.equal(table.get(name), "promote", name);
  assert.ok(
    count("lower") >= 20 && count("float32") >= 80 && count("promote") >= 2,
    `${count("lower")} lower, ${count("float32")} float32, ${count("promote")} promote, ${count("none")} none`,
  );
  assert.equal(table.get("softmax"), undefined);
});

test("a rule for an operator without one: mixed dtypes no longer throw", () => {
  const run = (): torch.Tensor =>
    autocast({ dtype: "bfloat16" }, () => {
      const half = torch.ones([2, 2]).mm(torch.ones([2, 2]));
      return torch.scatterAdd(torch.zeros([2, 2]), 0, torch.zeros([2, 2], { dtype: "int64" }), half);
    });
  assert.throws(run, torch.TorchError);
  const result = amp.policy({ scatter_add: "float32" }, run);
  assert.equal(result.dtype, "float32");
  assert.deepEqual(result.tolist(), [
    [4, 4],
    [0, 0],
  ]);
  assert.throws(run, torch.TorchError);
});

test("rules replace libtorch's, inside their region only", () => {
  const a = torch.ones([2, 2]);
  const dtype = (): string => autocast({ dtype: "bfloat16" }, () => a.mm(a).dtype);
  assert.equal(dtype(), "bfloat16");
  assert.equal(amp.policy({ mm: "float32" }, dtype), "float32");
  assert.equal(
    amp.policy({ softmax: "lower" }, () => autocast({ dtype: "float16" }, () => a.softmax(0).dtype)),
    "float16",
  );
  assert.equal(dtype(), "bfloat16");
  assert.throws(
    () =>
      amp.policy({ mm: "float32" }, () => {
        throw new Error("mine");
      }),
    /mine/,
  );
  assert.equal(dtype(), "bfloat16");
  assert.throws(() => amp.policy({ mm: "banned" }, dtype), { code: "AMP_BANNED" });
  assert.equal(
    amp.policy({ mm: "float32" }, () => a.mm(a).dtype),
    "float32",
  );
});

test("policies nest, and a kept one does what libtorch does between its runs", () => {
  const a = torch.ones([2, 2]);
  const dtype = (): string => autocast({ dtype: "bfloat16" }, () => a.mm(a).dtype);
  using kept = new amp.AutocastPolicy({ mm: "float32", mse_loss: "lower" });
  assert.equal(dtype(), "bfloat16");
  assert.equal(kept.run(dtype), "float32");
  assert.equal(
    kept.run(() => amp.policy({ mm: "lower" }, dtype)),
    "bfloat16",
  );
  assert.equal(dtype(), "bfloat16");
  assert.equal(
    autocast({ dtype: "bfloat16" }, () => torch.mseLoss(a.bfloat16(), a.bfloat16()).dtype),
    "float32",
  );
  kept.dispose();
  assert.equal(dtype(), "bfloat16");
  assert.throws(() => kept.run(dtype), { code: "POLICY_DISPOSED" });
});

test("gradients flow through a policy", () => {
  const w = torch.ones([2, 2], { requiresGrad: true });
  amp
    .policy({ mm: "lower", sum: "float32" }, () =>
      autocast({ dtype: "bfloat16" }, () => torch.ones([2, 2]).mm(w).sum()),
    )
    .backward();
  assert.equal(w.grad?.dtype, "float32");
  assert.deepEqual(w.grad?.tolist(), [
    [2, 2],
    [2, 2],
  ]);
});

test("unknown operators and rules are refused before anything happens", () => {
  assert.throws(() => amp.policy({ no_such: "lower" }, () => 1), { code: "ERR_ARGUMENT" });
  assert.throws(() => amp.policy({ mm: "float31" as "lower" }, () => 1), /rule among lower/);
  assert.throws(() => amp.policy({ mm: "lower" }, async () => 1), { code: "AUTOCAST_ASYNC" });
});

test("nested regions of different dtype do not share casts, and weights changed in place are seen", () => {
  const w = torch.ones([2, 2], { requiresGrad: true });
  const x = torch.ones([2, 2]);
  autocast({ dtype: "bfloat16" }, () => {
    assert.equal(x.mm(w).dtype, "bfloat16");
    autocast({ dtype: "float16" }, () => assert.equal(w.mm(w).dtype, "float16"));
    assert.equal(w.mm(w).dtype, "bfloat16");
  });
  assert.equal(amp.isAutocastEnabled(), false);
  assert.throws(() => autocast({ dtype: "float32" }, () => 1), /float16 or bfloat16/);
  assert.throws(() => autocast({}, async () => 1), { code: "AUTOCAST_ASYNC" });
});
