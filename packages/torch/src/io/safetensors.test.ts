import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
  chmodSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import fc from "fast-check";
import { OutOfMemoryError } from "../errors.js";
import { arange, empty, rand, randn, zeros } from "../ops/index.js";
import { memory, tensor, tensorFromBytes, type DType, type Tensor } from "../tensor/index.js";
import {
  loadSafetensors,
  parseSafetensors,
  SafetensorsError,
  SafetensorsFile,
  saveSafetensors,
  serializeSafetensors,
  writeAtomically,
} from "./index.js";
import { storableDtypes } from "./safetensors-header.js";

const folder = mkdtempSync(join(tmpdir(), "nbit-io-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** A file with this header and this much data. */
function file(header: unknown, data = 0, cut = 0): Uint8Array {
  const json = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + data);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes.subarray(0, bytes.length - cut);
}
const f32 = (start: number, end: number, shape: unknown = [(end - start) / 4]): object => ({
  dtype: "F32",
  shape,
  data_offsets: [start, end],
});

void describe("safetensors: what is refused", () => {
  const cases: readonly [string, Uint8Array, string][] = [
    ["an empty file", new Uint8Array(0), "SAFETENSORS_TRUNCATED"],
    ["seven bytes", new Uint8Array(7), "SAFETENSORS_TRUNCATED"],
    ["a header that ends early", file("{}", 0, 1), "SAFETENSORS_TRUNCATED"],
    ["a header of 2^63 bytes", new Uint8Array([0, 0, 0, 0, 0, 0, 0, 128, 123, 125]), "SAFETENSORS_HEADER_TOO_LARGE"],
    [
      "a header of 100 MB and one",
      new Uint8Array([1, 225, 245, 5, 0, 0, 0, 0, 123, 125]),
      "SAFETENSORS_HEADER_TOO_LARGE",
    ],
    ["no header", file(""), "SAFETENSORS_HEADER"],
    ["text", file("hello"), "SAFETENSORS_HEADER"],
    ["a list", file("[]"), "SAFETENSORS_HEADER"],
    ["space before the header", file(" {}"), "SAFETENSORS_HEADER"],
    ["a byte order mark", file("\ufeff{}"), "SAFETENSORS_HEADER"],
    ["bytes that are not UTF-8", (() => file("{}").map((b, i) => (i === 8 ? 0xff : b)))(), "SAFETENSORS_HEADER"],
    ["brackets without end", file("[".repeat(200000)), "SAFETENSORS_HEADER"],
    ["a number for a tensor", file({ a: 1 }), "SAFETENSORS_HEADER"],
    ["an unknown field", file({ a: { ...f32(0, 4), more: 1 } }, 4), "SAFETENSORS_HEADER"],
    [
      "a name twice",
      file(
        '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        4,
      ),
      "SAFETENSORS_DUPLICATE_KEY",
    ],
    [
      "a name twice, once escaped",
      file(
        '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"\\u0061":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        4,
      ),
      "SAFETENSORS_DUPLICATE_KEY",
    ],
    [
      "a field twice",
      file('{"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}}', 4),
      "SAFETENSORS_DUPLICATE_KEY",
    ],
    ["a metadata key twice", file('{"__metadata__":{"k":"1","k":"2"}}'), "SAFETENSORS_DUPLICATE_KEY"],
    ["metadata that is text", file({ __metadata__: "x" }), "SAFETENSORS_METADATA"],
    ["metadata with numbers", file({ __metadata__: { a: 1 } }), "SAFETENSORS_METADATA"],
    ["an unknown dtype", file({ a: { dtype: "F31", shape: [1], data_offsets: [0, 4] } }, 4), "SAFETENSORS_DTYPE"],
    ["no dtype", file({ a: { shape: [1], data_offsets: [0, 4] } }, 4), "SAFETENSORS_DTYPE"],
    [
      "an inherited dtype",
      file({ a: { dtype: "constructor", shape: [1], data_offsets: [0, 4] } }, 4),
      "SAFETENSORS_DTYPE",
    ],
    ["a negative size", file({ a: f32(0, 4, [-1]) }, 4), "SAFETENSORS_SHAPE"],
    ["half a size", file({ a: f32(0, 4, [1.5]) }, 4), "SAFETENSORS_SHAPE"],
    [
      "a size beyond 2^53",
      file('{"a":{"dtype":"F32","shape":[9007199254740993],"data_offsets":[0,4]}}', 4),
      "SAFETENSORS_SHAPE",
    ],
    ["no shape", file({ a: { dtype: "F32", data_offsets: [0, 4] } }, 4), "SAFETENSORS_SHAPE"],
    ["half a byte", file({ a: { dtype: "F4", shape: [3], data_offsets: [0, 1] } }, 1), "SAFETENSORS_SHAPE"],
    [
      "an odd last size of half bytes",
      file({ a: { dtype: "F4", shape: [2, 1], data_offsets: [0, 1] } }, 1),
      "SAFETENSORS_SHAPE",
    ],
    ["one offset", file({ a: { dtype: "F32", shape: [1], data_offsets: [0] } }, 4), "SAFETENSORS_OFFSETS"],
    ["offsets backwards", file({ a: { dtype: "F32", shape: [1], data_offsets: [4, 0] } }, 4), "SAFETENSORS_OFFSETS"],
    ["negative offsets", file({ a: { dtype: "F32", shape: [1], data_offsets: [-4, 0] } }, 4), "SAFETENSORS_OFFSETS"],
    ["data that does not fit the shape", file({ a: f32(0, 4, [2]) }, 4), "SAFETENSORS_OFFSETS"],
    ["a shape that overflows", file({ a: f32(0, 4, [4294967296, 4294967296, 4294967296]) }, 4), "SAFETENSORS_OFFSETS"],
    ["sizes that overflow behind a 0", file({ a: f32(0, 0, [0, 4294967296, 4294967296]) }, 0), "SAFETENSORS_SHAPE"],
    ["more sizes than operators walk", file({ a: f32(0, 4, Array<number>(100_000).fill(1)) }, 4), "SAFETENSORS_SHAPE"],
    [
      "a shape that is nested without end",
      file(`{"a":{"dtype":"F32","shape":${"[".repeat(200_000)}${"]".repeat(200_000)},"data_offsets":[0,4]}}`, 4),
      "SAFETENSORS_SHAPE",
    ],
    ["overlapping data", file({ a: f32(0, 8), b: f32(4, 12) }, 12), "SAFETENSORS_OFFSETS"],
    ["the same data twice", file({ a: f32(0, 8), b: f32(0, 8) }, 8), "SAFETENSORS_OFFSETS"],
    ["a hole before the data", file({ a: f32(4, 8) }, 8), "SAFETENSORS_OFFSETS"],
    ["a hole between", file({ a: f32(0, 4), b: f32(8, 12) }, 12), "SAFETENSORS_OFFSETS"],
    ["data that ends early", file({ a: f32(0, 8) }, 8, 1), "SAFETENSORS_TRUNCATED"],
    ["data without a tensor", file({ a: f32(0, 8) }, 9), "SAFETENSORS_TRAILING"],
  ];
  for (const [name, bytes, code] of cases) {
    void it(name, () => {
      const before = memory().unreleased;
      const path = join(folder, "bad.safetensors");
      writeFileSync(path, bytes);
      for (const read of [() => parseSafetensors(bytes), () => loadSafetensors(path)]) {
        assert.throws(read, (e) => {
          assert.ok(e instanceof SafetensorsError, String(e));
          assert.equal(e.code, code);
          return true;
        });
      }
      assert.equal(memory().unreleased, before);
    });
  }

  void it("accepts padding, empty tensors and an empty file of tensors", () => {
    assert.deepEqual(Object.keys(parseSafetensors(file("{}      "))), []);
    const { a, b } = parseSafetensors(file({ a: f32(0, 0, [0, 5]), b: f32(0, 4, []) }, 4));
    assert.deepEqual([a?.shape, b?.shape], [[0, 5], []]);
  });

  void it("damaged files give a coded error or tensors, never a crash", () => {
    const good = serializeSafetensors(
      { a: arange(5), b: arange(3, { dtype: "int64" }), c: tensor([true]) },
      { metadata: { k: "v" } },
    );
    let refused = 0;
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        fc.nat(good.length),
        (edits, length) => {
          const bytes = good.slice(0, length % 3 === 0 ? length : good.length);
          for (const [at, value] of edits) if (at < bytes.length) bytes[at] = value;
          try {
            for (const t of Object.values(parseSafetensors(bytes))) {
              assert.ok(t.numel() >= 0);
              t.dispose();
            }
          } catch (e) {
            assert.ok(e instanceof SafetensorsError, String(e));
            refused++;
          }
        },
      ),
      { numRuns: 1000, seed: 11 },
    );
    assert.ok(refused > 300, String(refused));
  });

  void it("says what was expected", () => {
    assert.throws(() => parseSafetensors(file({ a: f32(0, 4, [2]) }, 4)), {
      message: 'safetensors: expected 8 bytes for "a", F32 of shape [2]. Received: 4.',
    });
    assert.throws(() => saveSafetensors(join(folder, "x"), { x: zeros([2], { dtype: "complex128" }) }), {
      message: /^saveSafetensors: expected the dtype of "x" to be one of bool, .*\. Received: "complex128"\.$/,
    });
    assert.throws(() => serializeSafetensors({ x: 1 as unknown as Tensor }), {
      message: 'serializeSafetensors: expected "x" to be a tensor. Received: 1.',
    });
    assert.throws(
      () =>
        serializeSafetensors([
          ["a", zeros([1])],
          ["a", zeros([1])],
        ]),
      { message: 'serializeSafetensors: expected every name once. Received: "a".' },
    );
    assert.throws(() => serializeSafetensors({ __metadata__: zeros([1]) }), { code: "ERR_ARGUMENT" });
    assert.throws(() => serializeSafetensors({ "a\ud800": zeros([1]) }), { code: "ERR_ARGUMENT" });
    assert.throws(() => serializeSafetensors({ a: empty([], { dtype: "float4_e2m1fn_x2" }) }), {
      code: "ERR_ARGUMENT",
    });
    assert.throws(() => serializeSafetensors({}, { metadata: { a: 1 as unknown as string } }), {
      code: "ERR_ARGUMENT",
    });
    assert.throws(() => loadSafetensors(join(folder, "absent")), { code: "ENOENT" });
  });
});

void describe("safetensors: round trips", () => {
  void it("serializes no more than an array of JavaScript holds", () => {
    const wide = zeros([1], { dtype: "uint8" }).expand([2 ** 40]);
    assert.throws(
      () => serializeSafetensors({ wide }),
      (e) => e instanceof OutOfMemoryError && e.code === "TORCH_OUT_OF_MEMORY" && /saveSafetensors/.test(e.message),
    );
  });
  void it("keeps every dtype, any shape and any name", () => {
    const shapes = fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 4 });
    const one = fc.tuple(fc.constantFrom(...storableDtypes), shapes, fc.infiniteStream(fc.nat(255)));
    fc.assert(
      fc.property(
        fc.dictionary(
          fc.string({ unit: "binary" }).filter((n) => n !== "__metadata__" && Buffer.from(n).toString() === n),
          one,
          { maxKeys: 8 },
        ),
        fc.dictionary(fc.string(), fc.string()),
        (wanted, metadata) => {
          const made: [string, Tensor][] = Object.entries(wanted).map(([name, [dtype, shape, bytes]]) => {
            const sizes = dtype === "float4_e2m1fn_x2" && shape.length === 0 ? [1] : shape;
            const n = sizes.reduce((a, b) => a * b, 1) * itemBytes(dtype);
            return [
              name,
              tensorFromBytes(
                Uint8Array.from({ length: n }, () => (bytes.next().value ?? 0) % (dtype === "bool" ? 2 : 256)),
                dtype,
                sizes,
              ),
            ];
          });
          const bytes = serializeSafetensors(made, { metadata });
          const header = Number(new DataView(bytes.buffer).getBigUint64(0, true));
          assert.equal(header % 8, 0);
          const back = SafetensorsFile.over(bytes);
          assert.deepEqual({ ...back.metadata }, { ...metadata });
          for (const [name, t] of made) {
            const info = back.info(name);
            assert.equal((8 + header + info.start) % itemBytes(t.dtype), 0, "aligned");
            const read = back.get(name);
            assert.equal(read.dtype, t.dtype);
            assert.deepEqual(read.shape, t.shape);
            assert.deepEqual(new Uint8Array(read.toBytes()), new Uint8Array(t.toBytes()));
            assert.ok(!read.isView && read.isLeaf);
            read.dispose();
            t.dispose();
          }
        },
      ),
      { numRuns: 150, seed: 5 },
    );
  });

  void it("writes large tensors in pieces, views and transposed ones as their values", () => {
    const path = join(folder, "large.safetensors");
    const large = rand([3, 700001]);
    const all = { large, turned: large.t(), part: large.at(":", "5:9") };
    const before = memory().unreleased;
    saveSafetensors(path, all);
    assert.equal(memory().unreleased - before, 0);
    const back = loadSafetensors(path);
    assert.ok(back["large"]?.equal(large));
    assert.ok(back["turned"]?.equal(large.t()));
    assert.ok(back["part"]?.equal(large.at(":", "5:9")));
    assert.equal(statSync(path).size % 4, 0);
  });

  void it("normalizes booleans, which no other byte may stand for", () => {
    const bytes = serializeSafetensors({ a: tensor([true, false, true]) });
    bytes[bytes.length - 1] = 7;
    assert.deepEqual([...new Uint8Array((parseSafetensors(bytes)["a"] as Tensor).toBytes())], [1, 0, 1]);
  });

  void it("can be trained from", () => {
    const { w } = parseSafetensors(serializeSafetensors({ w: randn([3]) }));
    assert.ok(w !== undefined);
    w.requiresGrad_().mul(2).sum().backward();
    assert.deepEqual(w.grad?.tolist(), [2, 2, 2]);
  });
});

function itemBytes(dtype: DType): number {
  return empty([1], { dtype }).itemsize;
}

void describe("atomic writes", () => {
  void it("leaves the old file and no temporary one when writing fails", () => {
    const path = join(folder, "kept");
    writeFileSync(path, "old");
    assert.throws(
      () =>
        writeAtomically(path, (fd) => {
          writeSync(fd, "half");
          throw new Error("disk full");
        }),
      /disk full/,
    );
    assert.equal(readFileSync(path, "utf8"), "old");
    assert.deepEqual(
      readdirSync(folder).filter((n) => n.endsWith(".tmp")),
      [],
    );
  });
  void it("shows the new file only when it is whole", () => {
    const path = join(folder, "whole");
    writeAtomically(path, (fd) => {
      assert.ok(!existsSync(path));
      writeSync(fd, "new");
      assert.ok(!existsSync(path));
    });
    assert.equal(readFileSync(path, "utf8"), "new");
  });
  void it("keeps a symbolic link and the file's mode", () => {
    const target = join(folder, "target");
    const link = join(folder, "link");
    writeFileSync(target, "old");
    chmodSync(target, 0o600);
    symlinkSync(target, link);
    writeAtomically(link, (fd) => void writeSync(fd, "new"), { sync: false });
    assert.ok(lstatSync(link).isSymbolicLink());
    assert.equal(readFileSync(target, "utf8"), "new");
    assert.equal(statSync(target).mode & 0o777, 0o600);
  });
  void it("does not wait for what is no file", () => {
    const pipe = join(folder, "pipe");
    assert.equal(spawnSync("mkfifo", [pipe]).status, 0);
    for (const read of [
      () => loadSafetensors(pipe),
      () => loadSafetensors(folder),
      () => loadSafetensors("a\0b"),
      () => loadSafetensors(""),
    ])
      assert.throws(read, { code: "ERR_ARGUMENT" });
  });
  void it("says that a folder is missing", () => {
    assert.throws(() => writeAtomically(join(folder, "none", "x"), () => undefined), { code: "ENOENT" });
  });
  void it("an open reader keeps reading the old file", () => {
    const path = join(folder, "reader.safetensors");
    saveSafetensors(path, { a: arange(3) });
    const reader = SafetensorsFile.open(path);
    saveSafetensors(path, { a: arange(9) });
    assert.deepEqual(reader.get("a").tolist(), [0, 1, 2]);
    reader.close();
    assert.equal(loadSafetensors(path)["a"]?.numel(), 9);
  });
  void it("reads ranges of elements, of any dtype", () => {
    const path = join(folder, "ranges.safetensors");
    saveSafetensors(path, { a: arange(24).view([4, 6]).to("int16"), b: tensor([true, false, true]) });
    using reader = SafetensorsFile.open(path);
    const part = reader.read("a", 5, 13);
    assert.deepEqual([part.dtype, part.shape, part.tolist()], ["int16", [8], [5, 6, 7, 8, 9, 10, 11, 12]]);
    assert.deepEqual(reader.read("b", 1, 3).tolist(), [false, true]);
    assert.deepEqual(reader.read("a", 24, 24).shape, [0]);
    for (const [start, end] of [
      [0, 25],
      [-1, 2],
      [3, 2],
      [0.5, 2],
      [0, NaN],
    ] as const)
      assert.throws(() => reader.read("a", start, end), {
        code: "ERR_ARGUMENT",
        message: /^SafetensorsFile\.read: expected a range within the 24 elements of a\. Received: /,
      });
    assert.throws(() => reader.read("c", 0, 1), { code: "SAFETENSORS_MISSING" });
    reader.close();
    assert.throws(() => reader.read("a", 0, 1), { code: "SAFETENSORS_CLOSED" });
  });
  void it("reports a file that is cut while it is open", () => {
    const path = join(folder, "cut.safetensors");
    saveSafetensors(path, { a: arange(1000) });
    const reader = SafetensorsFile.open(path);
    closeSync(openSync(path, "w"));
    assert.throws(() => reader.get("a"), { code: "SAFETENSORS_TRUNCATED" });
    reader.close();
  });
});
