import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import fc from "fast-check";
import { arange, randn, zeros } from "../ops/index.js";
import { isTensor, memory, tensor, type DType, type Tensor } from "../tensor/index.js";
import {
  loadCheckpoint,
  loadSafetensors,
  packState,
  parseSafetensors,
  saveCheckpoint,
  saveSafetensors,
  serializeSafetensors,
  unpackState,
} from "./index.js";

const folder = mkdtempSync(join(tmpdir(), "nbit-state-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Through a file's bytes and back. */
function trip(state: unknown): unknown {
  const { tensors, json } = packState(state);
  const bytes = serializeSafetensors(tensors, { metadata: { json } });
  return unpackState({ tensors: parseSafetensors(bytes), json });
}

/** Equal to the last bit: dtypes, shapes and bytes of tensors, -0 and NaN, kinds of containers. */
function assertSame(a: unknown, b: unknown): void {
  if (isTensor(a)) {
    assert.ok(isTensor(b));
    assert.deepEqual([b.dtype, b.shape], [a.dtype, a.shape]);
    assert.deepEqual(new Uint8Array(b.toBytes()), new Uint8Array(a.toBytes()));
  } else if (a instanceof Map) {
    assert.ok(b instanceof Map);
    assertSame([...(a as Map<unknown, unknown>)], [...(b as Map<unknown, unknown>)]);
  } else if (Array.isArray(a)) {
    assert.ok(Array.isArray(b));
    assert.equal(b.length, a.length);
    a.forEach((e, i) => assertSame(e, b[i]));
  } else if (typeof a === "object" && a !== null && !ArrayBuffer.isView(a) && !(a instanceof Set)) {
    assert.ok(typeof b === "object" && b !== null);
    assert.deepEqual(Object.keys(b), Object.keys(a));
    assertSame(Object.values(a), Object.values(b));
  } else {
    assert.ok(Object.is(a, b) || typeof a === "object", `${String(a)} ${String(b)}`);
    assert.deepStrictEqual(b, a);
  }
}

const leaf = fc.oneof(
  fc.double(),
  fc.constantFrom(
    NaN,
    Infinity,
    -Infinity,
    -0,
    0,
    2 ** 53,
    Number.MIN_VALUE,
    undefined,
    null,
    true,
    false,
    "",
    "$",
    "NaN",
    "\ud800",
    "é\u0000",
  ),
  fc.string({ unit: "binary" }),
  fc.bigInt(),
  fc
    .constantFrom<DType>(
      "float32",
      "bfloat16",
      "int64",
      "bool",
      "complex64",
      "complex128",
      "complex32",
      "uint64",
      "float8_e5m2",
    )
    .map((dtype) => arange(6).view([2, 3]).to(dtype)),
  fc.float64Array({ maxLength: 4 }),
  fc.bigInt64Array({ maxLength: 3 }),
  fc.uint8Array({ maxLength: 4 }),
);
const key = fc.oneof(
  fc.string(),
  fc.constantFrom("$", "__proto__", "a.b", "0", "constructor", "toJSON", "__metadata__"),
);
const { state } = fc.letrec<{ state: unknown }>((tie) => ({
  state: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    leaf,
    fc.array(tie("state"), { maxLength: 4 }),
    fc.array(fc.tuple(key, tie("state")), { maxLength: 4 }).map((entries) => Object.fromEntries(entries)),
    fc.array(fc.tuple(tie("state"), tie("state")), { maxLength: 3 }).map((entries) => new Map(entries)),
    fc.array(fc.oneof(fc.string(), fc.double()), { maxLength: 3 }).map((values) => new Set(values)),
  ),
}));

void describe("nested states", () => {
  void it("come back exactly", () => {
    fc.assert(
      fc.property(state, (s) => assertSame(s, trip(s))),
      { numRuns: 500, seed: 2 },
    );
  });

  void it("lists of more values than a state may have are refused before they are walked", () => {
    const message =
      /^packState: expected the state to have at most 8,388,608 values in lists\. Received: more, up to state\.rows\. Store many numbers as a typed array or a tensor\.$/;
    assert.throws(() => packState({ rows: new Array<number>(2 ** 32 - 1) }), { code: "ERR_ARGUMENT", message });
    const shared = new Array<number>(2 ** 21);
    assert.throws(
      () =>
        packState({
          rows: [
            [shared, shared],
            [shared, shared],
          ],
        }),
      { code: "ERR_ARGUMENT" },
    );
    assert.equal(unpackState(packState(new Float64Array(2 ** 23 + 1))) instanceof Float64Array, true);
  });

  void it("are nested as deep as they can be read, and hold what can be read in time", () => {
    const nest = (levels: number, leaf: unknown): unknown =>
      Array.from({ length: levels }).reduce((inner: unknown) => [inner], leaf);
    for (const leaf of [1, undefined, NaN, 7n]) assertSame(nest(400, leaf), trip(nest(400, leaf)));
    assert.throws(() => packState(nest(401, 1)), { code: "ERR_ARGUMENT", message: /nested at most 400 levels deep/ });
    for (const json of [
      "[".repeat(1000) + "]".repeat(1000),
      "[".repeat(3_000_000) + "]".repeat(3_000_000),
      '{"a":'.repeat(1000) + "1" + "}".repeat(1000),
      `{"$":"bigint","value":"${"9".repeat(3_000_000)}"}`,
    ])
      assert.throws(() => unpackState({ tensors: {}, json }), { code: "CHECKPOINT_STATE" });
    const most = 10n ** 9_998n;
    assert.equal(trip(most), most);
    assert.throws(() => packState({ a: 10n ** 20_000n }), {
      code: "ERR_ARGUMENT",
      message: /expected state\.a to be a bigint of fewer than 10000 digits/,
    });
  });

  void it("name tensors after their place", () => {
    const { tensors } = packState({
      model: { "fc.weight": zeros([1]) },
      optimizer: { state: [{ expAvg: zeros([1]) }] },
      "optimizer.state": { "0": { expAvg: zeros([1]) } },
      __metadata__: zeros([1]),
    });
    assert.deepEqual(Object.keys(tensors), [
      "model.fc.weight",
      "optimizer.state.0.expAvg",
      "optimizer.state.0.expAvg~2",
      "__metadata__~2",
    ]);
    assert.deepEqual(Object.keys(packState(zeros([1])).tensors), ["value"]);
  });

  void it("keep one tensor one", () => {
    const shared = randn([3]);
    const wave = zeros([2], { dtype: "complex128" });
    const packed = packState({ a: shared, b: [shared], c: wave, d: wave });
    assert.equal(Object.keys(packed.tensors).length, 2);
    assert.equal(packed.tensors["a"], shared);
    const back = trip({ a: shared, b: [shared], c: wave, d: wave }) as { a: Tensor; b: Tensor[]; c: Tensor; d: Tensor };
    assert.equal(back.a, back.b[0]);
    assert.equal(back.c, back.d);
  });

  void it("refuse what they cannot hold, and say where", () => {
    class Thing {}
    const circle: { self?: unknown } = {};
    circle.self = [circle];
    for (const [bad, message] of [
      [
        { a: [{ b: () => 1 }] },
        "packState: expected state.a.0.b to be a plain value or a tensor. Received: function b. Store plain objects, and what is needed to make the rest again.",
      ],
      [
        new Thing(),
        "packState: expected the state to be a plain value or a tensor. Received: an instance of Thing. Store plain objects, and what is needed to make the rest again.",
      ],
      [{ d: new Date(0) }, /state\.d/],
      [{ s: Symbol("x") }, /state\.s/],
      [{ v: new DataView(new ArrayBuffer(1)) }, /state\.v/],
      [circle, /expected state\.self\.0 not to contain itself/],
    ] as const)
      assert.throws(() => packState(bad), { code: "ERR_ARGUMENT", message });
    // The same object twice is not a circle.
    const twice = { x: 1 };
    assert.deepEqual(trip([twice, twice]), [twice, twice]);
  });

  void it("refuse damaged text", () => {
    const a = zeros([2]);
    for (const json of [
      "",
      "{",
      '{"$":"tensor","name":"b"}',
      '{"$":"tensor"}',
      '{"$":"tensor","name":"toString"}',
      '{"$":"later"}',
      '{"$":7}',
      '{"$":"bigint","value":"1.5"}',
      '{"$":"bigint"}',
      '{"$":"number","value":"1"}',
      '{"$":"map","entries":[[1]]}',
      '{"$":"map"}',
      '{"$":"set"}',
      '{"$":"object","entries":{}}',
      '{"$":"array","type":"Foo","name":"a"}',
      '{"$":"array","type":"toString","name":"a"}',
      '{"$":"tensor","name":"a","complex":"complex128"}',
      '{"$":"array","type":"Float64Array","name":"a"}',
      '{"$":"object","entries":[[{},1]]}',
    ])
      assert.throws(() => unpackState({ tensors: { a }, json }), { code: "CHECKPOINT_STATE" }, json);
  });
});

void describe("checkpoints", () => {
  const path = join(folder, "a.safetensors");

  void it("come back exactly, from one file", () => {
    const state = {
      epoch: 3,
      best: NaN,
      seed: 12345678901234567890n,
      model: { w: randn([4, 2]), b: arange(3).bfloat16() },
      optimizer: {
        groups: [{ lr: 1e-3, betas: [0.9, 0.999], foreach: null }],
        moments: new Map([[0, { expAvg: randn([4, 2]) }]]),
      },
      note: "größe",
    };
    const before = memory().unreleased;
    saveCheckpoint(path, state, { metadata: { run: "7" } });
    assert.equal(memory().unreleased, before);
    assertSame(state, loadCheckpoint(path));
    assert.deepEqual(Object.keys(loadSafetensors(path)).sort(), ["model.b", "model.w", "optimizer.moments.0.expAvg"]);
  });
  void it("leave only what they return behind", () => {
    saveCheckpoint(path, { a: zeros([2]), c: zeros([2], { dtype: "complex128" }), t: new Float32Array(3) });
    const before = memory().unreleased;
    const back = loadCheckpoint(path) as { a: Tensor; c: Tensor };
    assert.equal(memory().unreleased, before + 2);
    back.a.dispose();
    back.c.dispose();
  });
  void it("say what else a file is", () => {
    saveSafetensors(path, { a: zeros([1]) });
    assert.throws(() => loadCheckpoint(path), { code: "CHECKPOINT_FORMAT" });
    saveSafetensors(path, { a: zeros([1]) }, { metadata: { "nbit.checkpoint": "999", "nbit.state": "{}" } });
    assert.throws(() => loadCheckpoint(path), {
      code: "CHECKPOINT_VERSION",
      message: /expected a checkpoint of version 1 or below\. Received: "999"/,
    });
    saveSafetensors(path, { a: zeros([1]) }, { metadata: { "nbit.checkpoint": "1", "nbit.state": "{" } });
    assert.throws(() => loadCheckpoint(path), { code: "CHECKPOINT_STATE" });
    writeFileSync(path, "not a checkpoint at all");
    assert.throws(() => loadCheckpoint(path), { code: /SAFETENSORS_/ });
    assert.throws(() => saveCheckpoint(path, {}, { metadata: { "nbit.state": "x" } }), { code: "ERR_ARGUMENT" });
  });
  void it("tensor equality is to the last bit", () => {
    const odd = tensor([NaN, -0, 5e-324, Infinity], { dtype: "float64" });
    saveCheckpoint(path, { odd });
    assertSame({ odd }, loadCheckpoint(path));
  });
});
