import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { arange, zeros } from "../ops/index.js";
import { memory } from "./memory.js";
import { scope, Slice, tensor, type Index, type Tensor } from "./index.js";

/** An index of the model: positions along one dimension, a new axis, or nothing special. */
type Model =
  { readonly take: readonly number[]; readonly kind: "number" | "slice" | "list" | "mask" } | { readonly kind: "none" };

/** What the indices choose, computed without tensors: for every output position, which flat position of the source. */
function choose(shape: readonly number[], models: readonly Model[]): { shape: number[]; at: number[] } {
  const strides = shape.map((_, d) => shape.slice(d + 1).reduce((a, b) => a * b, 1));
  // Dimensions of the result: of each basic index, and one for all lists together.
  const dims: { size: number; kind: "basic" | "joint"; source: number | null; take: readonly number[] | null }[] = [];
  const lists: { source: number; take: readonly number[] }[] = [];
  const places: number[] = [];
  let fixed = 0;
  let source = 0;
  const basic = (take: readonly number[]): void =>
    void dims.push({ size: take.length, kind: "basic", source: source++, take });
  for (const m of models) {
    if (m.kind === "none") dims.push({ size: 1, kind: "basic", source: null, take: null });
    else if (m.kind === "number") fixed += (m.take[0] as number) * (strides[source++] as number);
    else if (m.kind === "slice") basic(m.take);
    else {
      places.push(dims.length + lists.length);
      lists.push({ source: source++, take: m.take });
    }
  }
  while (source < shape.length) basic(Array.from({ length: shape[source] as number }, (_, i) => i));
  if (lists.length > 0) {
    const size = Math.max(...lists.map((l) => (l.take.length === 1 ? 1 : l.take.length)), 0);
    const length = lists.some((l) => l.take.length === 0) ? 0 : size;
    // Neighbours stand where they are; apart from each other, they come first.
    const adjacent = places.every((p, i) => i === 0 || p === (places[i - 1] as number) + 1);
    dims.splice(adjacent ? (places[0] as number) : 0, 0, { size: length, kind: "joint", source: null, take: null });
  }
  const outShape = dims.map((d) => d.size);
  const at: number[] = [];
  const walk = (d: number, offset: number): void => {
    if (d === dims.length) return void at.push(offset);
    const dim = dims[d] as (typeof dims)[number];
    for (let i = 0; i < dim.size; i++) {
      let step = 0;
      if (dim.kind === "joint")
        for (const l of lists) step += (l.take[l.take.length === 1 ? 0 : i] as number) * (strides[l.source] as number);
      else if (dim.take !== null) step = (dim.take[i] as number) * (strides[dim.source as number] as number);
      walk(d + 1, offset + step);
    }
  };
  walk(0, fixed);
  return { shape: outShape, at };
}

interface Drawn {
  readonly shape: readonly number[];
  readonly indices: readonly Index[];
  readonly models: readonly Model[];
}

function positions(size: number, start: number | null, stop: number | null, step: number): number[] {
  const wrap = (v: number): number => Math.min(size, Math.max(0, v < 0 ? v + size : v));
  const out: number[] = [];
  for (let i = wrap(start ?? 0); i < wrap(stop ?? size); i += step) out.push(i);
  return out;
}

/** Random shapes and indices; all lists of one case have one length, or 1. */
const drawn: fc.Arbitrary<Drawn> = fc
  .tuple(
    fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 }),
    fc.integer({ min: 1, max: 4 }),
    fc.boolean(),
  )
  .chain(([shape, listLength, textual]) => {
    const one = (size: number): fc.Arbitrary<[Index, Model]> =>
      fc.oneof(
        fc
          .integer({ min: -size, max: size - 1 })
          .map((i): [Index, Model] => [i, { kind: "number", take: [i < 0 ? i + size : i] }]),
        fc
          .tuple(
            fc.option(fc.integer({ min: -7, max: 7 })),
            fc.option(fc.integer({ min: -7, max: 7 })),
            fc.integer({ min: 1, max: 3 }),
          )
          .map(([a, b, s]): [Index, Model] => [
            textual ? `${a ?? ""}:${b ?? ""}:${s}` : new Slice(a, b, s),
            { kind: "slice", take: positions(size, a, b, s) },
          ]),
        fc
          .array(fc.integer({ min: -size, max: size - 1 }), { minLength: listLength, maxLength: listLength })
          .map((l): [Index, Model] => [l, { kind: "list", take: l.map((i) => (i < 0 ? i + size : i)) }]),
      );
    return fc.integer({ min: 0, max: shape.length }).chain((n) =>
      fc
        .tuple(fc.tuple(...shape.slice(0, n).map(one)), fc.array(fc.integer({ min: 0, max: n }), { maxLength: 2 }))
        .map(([pairs, axes]): Drawn => {
          const all: [Index, Model][] = [...pairs];
          for (const a of axes) all.splice(a, 0, [null, { kind: "none" }]);
          return { shape, indices: all.map((p) => p[0]), models: all.map((p) => p[1]) };
        }),
    );
  });

const numbers = (t: Tensor): number[] => Array.from(t.toTypedArray() as BigInt64Array, Number);

void describe("indexing", () => {
  void it("agrees with a model made of plain loops", () => {
    fc.assert(
      fc.property(drawn, ({ shape, indices, models }) => {
        scope(() => {
          const t = arange(
            shape.reduce((a, b) => a * b, 1),
            { dtype: "int64" },
          ).view(shape);
          const expected = choose(shape, models);
          const out = t.at(...indices);
          assert.deepEqual(out.shape, expected.shape);
          assert.deepEqual(numbers(out), expected.at);
          t.setAt(indices, -1);
          const written = new Set(expected.at);
          assert.deepEqual(
            numbers(t),
            Array.from({ length: t.numel() }, (_, i) => (written.has(i) ? -1 : i)),
          );
        });
      }),
      { numRuns: 400, seed: 7 },
    );
  });

  void it("selects by mask what filtering selects", () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { minLength: 1, maxLength: 20 }), (mask) => {
        scope(() => {
          const t = arange(mask.length, { dtype: "int64" });
          assert.deepEqual(
            numbers(t.at(mask)),
            [...mask.keys()].filter((i) => mask[i]),
          );
          assert.deepEqual(numbers(t.at(tensor(mask))), numbers(t.at(mask)));
        });
      }),
      { numRuns: 50, seed: 7 },
    );
  });

  void it("never frees or returns the tensor itself", () => {
    const t = arange(3);
    for (const indices of [[], [":"], ["..."], [":", "..."]]) {
      const same = t.at(...indices);
      assert.notEqual(same, t);
      same.fill_(4);
      same.dispose();
      assert.deepEqual(t.tolist(), [4, 4, 4]);
    }
  });

  void it("leaves nothing behind, also when it throws", () => {
    const t = arange(24).view([2, 3, 4]);
    const before = memory().unreleased;
    const attempts: Index[][] = [
      [0, "1:", [0, 1]],
      [
        [0, 1],
        [0, 1],
        [0, 1, 2],
      ],
      [0, [0, 1], 9],
      [[0], [true, true]],
      [[0, 1], "a:b"],
      [tensor([0.5])],
      [0, 0, 0, [0]],
      [true, [5]],
    ];
    const made: Tensor[] = [];
    let thrown = 0;
    for (const indices of attempts) {
      try {
        made.push(t.at(...indices));
      } catch {
        thrown++;
      }
    }
    for (const m of made) m.dispose();
    for (const a of attempts.flat()) if (typeof a === "object" && a !== null && "dispose" in a) a.dispose();
    assert.equal(thrown, attempts.length - 1);
    assert.equal(memory().unreleased, before);
  });

  void it("records writes for autograd", () => {
    const w = tensor([1, 2, 3], { requiresGrad: true });
    const out = zeros([2, 3]);
    out.setAt([1], w.mul(2));
    out.setAt([":", 0], 5);
    out.at(":", "1:").sum().backward();
    assert.deepEqual(w.grad?.tolist(), [0, 2, 2]);
    const x = tensor([1, 2, 3], { requiresGrad: true });
    x.at([0, 0, 2]).sum().backward();
    assert.deepEqual(x.grad?.tolist(), [2, 0, 1]);
    assert.throws(() => x.setAt([0], 1), { code: "TORCH" });
  });

  void it("converts what is written", () => {
    const t = zeros([3], { dtype: "int64" });
    t.setAt([0], tensor(2.9))
      .setAt([[1]], tensor([1.5]))
      .setAt([2], 7n);
    assert.deepEqual(t.tolist(), [2, 1, 7]);
    const m = zeros([2, 2]).setAt(
      [
        [
          [true, false],
          [false, true],
        ],
      ],
      true,
    );
    assert.deepEqual(m.tolist(), [
      [1, 0],
      [0, 1],
    ]);
  });

  void it("says what is wrong with an index", () => {
    const t = zeros([2, 3]);
    const message = (f: () => unknown): string => {
      try {
        f();
      } catch (e) {
        assert.ok(e instanceof Error && "code" in e && e.code === "ERR_ARGUMENT", String(e));
        return e.message;
      }
      throw new assert.AssertionError({ message: "did not throw" });
    };
    assert.equal(
      message(() => t.at(0, 0, 0)),
      "index: expected at most 2 indices for a tensor of 2 dimensions. Received: 3.",
    );
    assert.equal(
      message(() => t.at(5)),
      "index: expected index 0 to be from -2 to 1 (dimension 0 has size 2). Received: 5.",
    );
    assert.equal(
      message(() => t.at(":", -4)),
      "index: expected index 1 to be from -3 to 2 (dimension 1 has size 3). Received: -4.",
    );
    assert.equal(
      message(() => t.at(1.5)),
      "index: expected index 0 to be from -2 to 1 (dimension 0 has size 2). Received: 1.5.",
    );
    assert.equal(
      message(() => zeros([]).at(0)),
      "index: expected at most 0 indices for a tensor of 0 dimensions. Received: 1.",
    );
    assert.equal(
      message(() => t.at("::-1")),
      'index: expected the step of "::-1" to be > 0. Received: -1. Use flip to reverse a dimension.',
    );
    assert.equal(
      message(() => t.at("::0")),
      'index: expected the step of "::0" to be > 0. Received: 0.',
    );
    assert.equal(
      message(() => new Slice(0, 1, 0)),
      "Slice: expected step to be a whole number > 0. Received: 0.",
    );
    assert.equal(
      message(() => t.at("1")),
      'index: expected index 0 to be a range such as "1:5", ":", "::2", or "...". Received: "1". A single position is a number, not text.',
    );
    assert.equal(
      message(() => t.at([0, 1.5])),
      "index: expected index 0 to hold whole numbers only, or booleans only. Received: 1.5.",
    );
    assert.equal(
      message(() => t.at([0, true])),
      "index: expected index 0 to hold whole numbers only, or booleans only. Received: true.",
    );
    assert.equal(
      message(() => t.at(tensor([1.5]))),
      "index: expected index 0 to be an index tensor of dtype int64, int32 or bool. Received: Tensor float32 [1] cpu. Convert it with .long() or .bool().",
    );
    assert.equal(
      message(() => t.at([true, false, true])),
      "index: expected the mask at index 0 to have the shape [2] of the dimensions that it stands for. Received: [3].",
    );
    // What the types forbid, as a JavaScript caller would meet it.
    assert.equal(
      message(() => t.at(undefined as unknown as Index)),
      'index: expected index 0 to be a whole number, a range such as "1:5", a slice, null, "...", a boolean, an index tensor or an array. Received: undefined.',
    );
    assert.equal(
      message(() => t.setAt([0], "a" as unknown as number)),
      'setIndex: expected value to be a number, a bigint, a boolean or a tensor. Received: "a".',
    );
  });
});
