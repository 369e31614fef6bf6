import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { scope, tensor, type Tensor } from "../tensor/index.js";
import { IdxError, loadIdx, parseIdx, readIdx } from "./idx.js";
import { PIECE } from "./pieces.js";

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
  void it("keeps to its part of a buffer that holds more", () => {
    const file = idx(0x09, [2], Uint8Array.of(1, 255));
    const around = new Uint8Array(file.length + 20).fill(7);
    around.set(file, 10);
    assert.deepEqual(parseIdx(around.subarray(10, 10 + file.length)).data, Int8Array.of(1, -1));
  });
  void it("makes tensors of what it reads, with the same errors", (t) => {
    const folder = mkdtempSync(join(tmpdir(), "nbit-idx-"));
    t.after(() => rmSync(folder, { recursive: true }));
    const path = join(folder, "file");
    const outcome = (run: () => Tensor): unknown => {
      try {
        return scope(() => {
          const made = run();
          return [made.dtype, made.shape, made.toTypedArray()];
        });
      } catch (error) {
        return error;
      }
    };
    const long = Uint8Array.from({ length: 2 * PIECE + 8 }, (_, i) => (i * 7919) >> 3);
    for (const [type, width] of [
      [0x08, 1],
      [0x09, 1],
      [0x0b, 2],
      [0x0c, 4],
      [0x0d, 4],
      [0x0e, 8],
    ] as const) {
      const good = [
        idx(type, [long.length / width / 2, 2], long),
        idx(type, [], long.subarray(0, width)),
        idx(type, [0, 3], new Uint8Array(0)),
      ];
      const bad = [good[0]?.subarray(0, -1), Uint8Array.of(0, 0, type, 2, 9), Uint8Array.of(1, 0, type, 0, 0)];
      for (const plain of [...good, ...bad, Uint8Array.of(...idx(type, [1], long.subarray(0, width)), 0)])
        for (const file of [plain ?? long, gzipSync(plain ?? long, { level: 1 }), gzipSync(long).subarray(0, 15)]) {
          writeFileSync(path, file);
          const expected = outcome(() => {
            const { data, shape } = readIdx(path);
            return tensor(data).view(shape);
          });
          assert.deepEqual(
            outcome(() => loadIdx(path)),
            expected,
          );
        }
    }
    assert.throws(() => loadIdx(join(folder, "none")), { code: "ENOENT" });
    assert.throws(() => loadIdx(folder), { code: "ERR_ARGUMENT" });
  });
  void it("believes the length at the end of compressed data no further than it can be", () => {
    const file = gzipSync(idx(0x08, [3], Uint8Array.of(1, 2, 3)));
    file.writeUInt32LE(0xffffffff, file.length - 4);
    assert.throws(() => parseIdx(file), { code: "IDX_COMPRESSION" });
    const twice = Buffer.concat([gzipSync(idx(0x08, [3], Uint8Array.of(1, 2))), gzipSync(Uint8Array.of(3))]);
    assert.deepEqual([...parseIdx(twice).data], [1, 2, 3]);
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
