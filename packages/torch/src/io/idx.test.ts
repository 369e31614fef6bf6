import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { IdxError, parseIdx } from "./idx.js";

/** An IDX file of these elements. */
function idx(type: number, shape: readonly number[], data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4 + 4 * shape.length + data.length);
  bytes.set([0, 0, type, shape.length]);
  const view = new DataView(bytes.buffer);
  shape.forEach((s, i) => view.setUint32(4 + 4 * i, s));
  bytes.set(data, 4 + 4 * shape.length);
  return bytes;
}
function bigEndian(
  width: number,
  values: readonly number[],
  set: (view: DataView, at: number, value: number) => void,
): Uint8Array {
  const bytes = new Uint8Array(width * values.length);
  const view = new DataView(bytes.buffer);
  values.forEach((v, i) => set(view, i * width, v));
  return bytes;
}

void describe("IDX", () => {
  void it("reads every dtype", () => {
    assert.deepEqual(parseIdx(idx(0x08, [2, 2], Uint8Array.of(1, 2, 3, 255))), {
      dtype: "uint8",
      shape: [2, 2],
      data: Uint8Array.of(1, 2, 3, 255),
    });
    assert.deepEqual(parseIdx(idx(0x09, [2], Uint8Array.of(1, 255))).data, Int8Array.of(1, -1));
    assert.deepEqual(
      parseIdx(
        idx(
          0x0b,
          [2],
          bigEndian(2, [-2, 300], (v, a, x) => v.setInt16(a, x)),
        ),
      ).data,
      Int16Array.of(-2, 300),
    );
    assert.deepEqual(
      parseIdx(
        idx(
          0x0c,
          [2],
          bigEndian(4, [-2, 70000], (v, a, x) => v.setInt32(a, x)),
        ),
      ).data,
      Int32Array.of(-2, 70000),
    );
    assert.deepEqual(
      parseIdx(
        idx(
          0x0d,
          [2],
          bigEndian(4, [0.5, -3], (v, a, x) => v.setFloat32(a, x)),
        ),
      ).data,
      Float32Array.of(0.5, -3),
    );
    assert.deepEqual(
      parseIdx(
        idx(
          0x0e,
          [1],
          bigEndian(8, [Math.PI], (v, a, x) => v.setFloat64(a, x)),
        ),
      ),
      { dtype: "float64", shape: [1], data: Float64Array.of(Math.PI) },
    );
    assert.deepEqual(parseIdx(idx(0x08, [], Uint8Array.of(9))), { dtype: "uint8", shape: [], data: Uint8Array.of(9) });
    assert.deepEqual(parseIdx(idx(0x08, [0, 3], new Uint8Array(0))).shape, [0, 3]);
  });
  void it("reads through gzip", () => {
    assert.deepEqual([...parseIdx(gzipSync(idx(0x08, [3], Uint8Array.of(1, 2, 3)))).data], [1, 2, 3]);
  });
  void it("says what is wrong with a file", () => {
    const good = idx(0x08, [3], Uint8Array.of(1, 2, 3));
    for (const [bytes, code] of [
      [new Uint8Array(3), "IDX_TRUNCATED"],
      [Uint8Array.of(0, 0, 8, 3, 0, 0), "IDX_TRUNCATED"],
      [good.subarray(0, -1), "IDX_TRUNCATED"],
      [Uint8Array.of(...good, 0), "IDX_TRAILING"],
      [Uint8Array.of(1, 0, 8, 0, 0), "IDX_MAGIC"],
      [Uint8Array.of(0, 0, 10, 0, 0), "IDX_MAGIC"],
      [idx(0x08, [4294967295, 4294967295, 4294967295], new Uint8Array(8)), "IDX_TRUNCATED"],
      [gzipSync(good).subarray(0, 15), "IDX_COMPRESSION"],
    ] as const)
      assert.throws(
        () => parseIdx(bytes),
        (e) => e instanceof IdxError && e.code === code,
        code,
      );
    assert.throws(() => parseIdx(good.subarray(0, -1)), {
      message: "idx: expected 11 bytes for the shape [3]. Received: 10.",
    });
  });
  void it("never fails without a code", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.boolean(), (bytes, plausible) => {
        if (plausible && bytes.length > 4) bytes.set([0, 0, 8 + ((bytes[2] as number) % 7), (bytes[3] as number) % 3]);
        try {
          parseIdx(bytes);
        } catch (e) {
          assert.ok(e instanceof IdxError, String(e));
        }
      }),
      { numRuns: 1000, seed: 1 },
    );
  });
});
