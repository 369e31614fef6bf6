/**
 * Numbers beyond float16 in operators that keep them: PyTorch's infinity, told once where a region chose float16. A
 * process of its own, since it is told once.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { autocast } from "../amp/index.js";
import { full, ones, where, type Tensor } from "../index.js";

test("an added constant that becomes infinity in a float16 region is told once, and results are PyTorch's", async () => {
  const heard: string[] = [];
  const listen = (w: Error & { code?: string }): void => void (w.code === "WARN_NUMBER_RANGE" && heard.push(w.message));
  process.on("warning", listen);
  const turn = (): Promise<void> => new Promise((done) => setImmediate(done));
  const product = (): Tensor => ones([1, 2]).mm(ones([2, 1]));
  const low = <T>(fn: () => T): T => autocast({ dtype: "float16" }, fn);

  assert.deepEqual(ones([1], { dtype: "float16" }).add(1e9).tolist(), [Infinity], "no region: asked for by name");
  assert.deepEqual(low(() => ones([1]).add(1e9)).tolist(), [1e9], "float32 holds it");
  assert.deepEqual(
    low(() => product().mul(1e9).dtype),
    "float16",
    "a product may well fit",
  );
  assert.deepEqual(low(() => product().add(Infinity)).tolist(), [[Infinity]], "infinity is meant");
  assert.deepEqual(low(() => product().add(65000)).tolist(), [[64992]]);
  await turn();
  assert.deepEqual(heard, []);

  assert.deepEqual(low(() => product().sub(1e9)).tolist(), [[-Infinity]]);
  assert.deepEqual(low(() => where(full([1, 1], true, { dtype: "bool" }), product(), -1e9)).tolist(), [[2]]);
  await turn();
  assert.deepEqual(heard, [
    'sub: 1000000000 is beyond float16, whose largest number is 65504, and becomes infinity: it meets float16 tensors in a region of autocast of cpu to float16. Write Infinity if that is meant, finfo("float16").max, or compute in float32. This is said once.',
  ]);
  process.off("warning", listen);
});
