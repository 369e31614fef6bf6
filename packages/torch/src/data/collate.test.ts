import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { arange, zeros } from "../ops/index.js";
import { isTensor, memory, setDefaultDtype, tensor, type Tensor } from "../tensor/index.js";
import { collate, defaultCollate, defaultConvert } from "./index.js";

/** Tensors as dtype, shape and values; everything else as it is. */
function show(value: unknown): unknown {
  if (isTensor(value)) return [value.dtype, value.shape, value.tolist()];
  if (Array.isArray(value)) return value.map(show);
  if (value instanceof Map) return new Map([...(value as Map<unknown, unknown>)].map(([k, v]) => [k, show(v)]));
  if (typeof value === "object" && value !== null)
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, show(v)]));
  return value;
}

void describe("default collate", () => {
  afterEach(() => setDefaultDtype("float32"));

  void it("stacks leaves of every kind", () => {
    assert.deepEqual(show(defaultCollate([tensor([1, 2]), tensor([3, 4])])), [
      "float32",
      [2, 2],
      [
        [1, 2],
        [3, 4],
      ],
    ]);
    assert.deepEqual(show(defaultCollate([1, 2.5])), ["float32", [2], [1, 2.5]]);
    assert.deepEqual(show(defaultCollate([1n, 2n])), ["int64", [2], [1, 2]]);
    assert.deepEqual(show(defaultCollate([true, false])), ["bool", [2], [true, false]]);
    assert.deepEqual(show(defaultCollate(["a", "b"])), ["a", "b"]);
    assert.deepEqual(show(defaultCollate([Uint8Array.of(1, 2), Uint8Array.of(3, 4), Uint8Array.of(5, 6)])), [
      "uint8",
      [3, 2],
      [
        [1, 2],
        [3, 4],
        [5, 6],
      ],
    ]);
    assert.deepEqual(show(defaultCollate([BigInt64Array.of(1n)])), ["int64", [1, 1], [[1]]]);
  });

  void it("keeps the structure around them", () => {
    const batch = defaultCollate([
      { x: tensor([1]), y: [1, "a"] as [number, string], m: new Map([["k", 1n]]) },
      { x: tensor([2]), y: [2, "b"] as [number, string], m: new Map([["k", 2n]]) },
    ]);
    assert.deepEqual(show(batch), {
      x: ["float32", [2, 1], [[1], [2]]],
      y: [
        ["float32", [2], [1, 2]],
        ["a", "b"],
      ],
      m: new Map([["k", ["int64", [2], [1, 2]]]]),
    });
    // The types say the same.
    const x: Tensor = batch.x;
    const [n, names]: [Tensor, string[]] = batch.y;
    assert.ok(x.ndim === 2 && n.ndim === 1 && names.length === 2);
  });

  void it("gives numbers one dtype, whatever their values", () => {
    assert.equal(defaultCollate([1, 2]).dtype, defaultCollate([1.5, 2]).dtype);
    setDefaultDtype("float64");
    assert.equal(defaultCollate([1, 2]).dtype, "float64");
    assert.equal(collate({ numbers: "int64" })([1, 2]).dtype, "int64");
    const { a, b } = collate({ numbers: { b: "int64" } })([{ a: 1, b: [1, 2] }]);
    assert.deepEqual([a.dtype, b.map((t) => t.dtype)], ["float64", ["int64", "int64"]]);
  });

  void it("keeps gradients of elements", () => {
    const w = tensor([1, 2], { requiresGrad: true });
    defaultCollate([w, w]).sum().backward();
    assert.deepEqual(w.grad?.tolist(), [2, 2]);
  });

  void it("leaves no tensor but the batch", () => {
    const before = memory().unreleased;
    const batch = defaultCollate([{ a: 1, b: Float32Array.of(1, 2), c: true }]);
    assert.equal(memory().unreleased, before + 3);
    for (const t of Object.values(batch)) t.dispose();
    assert.equal(memory().unreleased, before);
  });

  void it("says where elements differ", () => {
    const message = (batch: readonly unknown[]): string => {
      try {
        defaultCollate(batch);
      } catch (e) {
        assert.ok(e instanceof Error && "code" in e && e.code === "ERR_ARGUMENT", String(e));
        return e.message;
      }
      throw new assert.AssertionError({ message: "did not throw" });
    };
    assert.equal(message([]), "defaultCollate: expected at least one element. Received: [].");
    assert.equal(
      message([{ a: [1, 2] }, { a: [1] }]),
      "defaultCollate: expected every element to have the structure of the first: an array of 2 at element 1, .a. Received: [1].",
    );
    assert.equal(
      message([{ a: 1 }, { b: 1 }]),
      "defaultCollate: expected every element to have the structure of the first: an object with keys a at element 1. Received: an object with keys b.",
    );
    assert.equal(
      message([1, "a"]),
      'defaultCollate: expected every element to have the structure of the first: a number at element 1. Received: "a".',
    );
    assert.equal(
      message([[tensor(1)], [2]]),
      "defaultCollate: expected every element to have the structure of the first: a tensor at element 1, [0]. Received: 2.",
    );
    assert.equal(
      message([Float32Array.of(1), Float32Array.of(1, 2)]),
      "defaultCollate: expected every element to have the structure of the first: a Float32Array of 1 elements. Received: Float32Array of 2 elements.",
    );
    assert.match(
      message([new Date(0)]),
      /expected tensors, numbers, .* Received: an instance of Date\. Give the loader a collateFn for other values\./,
    );
    assert.match(message([{ x: null }]), / at \.x\. Received: null\./);
    assert.throws(() => defaultCollate([zeros([2]), zeros([3])]), { code: "TORCH" });
  });
});

void describe("default convert", () => {
  void it("makes tensors of typed arrays, inside structures too", () => {
    assert.deepEqual(show(defaultConvert({ a: Float32Array.of(1, 2), b: [1, "x", Int32Array.of(3)], c: null })), {
      a: ["float32", [2], [1, 2]],
      b: [1, "x", ["int32", [1], [3]]],
      c: null,
    });
    const t = arange(2);
    assert.equal(defaultConvert(t), t);
  });
});
