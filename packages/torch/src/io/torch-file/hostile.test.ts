/** Files that somebody made to harm: each is refused with a code, in little time and memory. */
import assert from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import {
  ArgumentError,
  isTensor,
  load,
  nn,
  NumpyError,
  numpy,
  ones,
  optim,
  save,
  tensor,
  TorchFileError,
} from "@nbit/torch";
import { ZipWriter } from "../zip/write.js";

const folder = mkdtempSync(join(tmpdir(), "nbit-hostile-"));
after(() => rmSync(folder, { recursive: true }));

type Part = string | Uint8Array | readonly number[];
const bytes = (...parts: readonly Part[]): Buffer =>
  Buffer.concat(parts.map((p) => (typeof p === "string" ? Buffer.from(p, "latin1") : Buffer.from(p))));

/** An archive as torch.save writes it. */
function archive(pickle: Uint8Array, storages: Readonly<Record<string, Uint8Array>> = {}, deflated = false): Buffer {
  const path = join(folder, "archive");
  const fd = openSync(path, "w");
  try {
    const zip = new ZipWriter(fd);
    if (deflated) zip.deflate("a/data.pkl", pickle);
    else zip.store("a/data.pkl", pickle.length, (take) => take(pickle));
    for (const [key, data] of Object.entries(storages))
      if (deflated) zip.deflate(`a/data/${key}`, data);
      else zip.store(`a/data/${key}`, data.length, (take) => data.length > 0 && take(data), 64);
    zip.finish();
  } finally {
    closeSync(fd);
  }
  return readFileSync(path);
}
const int = (n: number): Buffer => {
  const long = Buffer.alloc(10);
  long.write("\x8a\x08", "latin1");
  long.writeBigInt64LE(BigInt(n), 2);
  return long;
};
const text = (s: string): Buffer => bytes("X", [s.length, 0, 0, 0], s);
const tuple = (...items: readonly Uint8Array[]): Buffer => bytes("(", ...items, "t");
const storage = (type: string, key: string, count: number, at = "cpu"): Buffer =>
  bytes(tuple(text("storage"), bytes(`ctorch\n${type}\n`), text(key), text(at), int(count)), "Q");
const rebuilt = (from: Uint8Array, offset: number, size: readonly number[], stride: readonly number[]): Buffer =>
  bytes(
    "ctorch._utils\n_rebuild_tensor_v2\n",
    tuple(from, int(offset), tuple(...size.map(int)), tuple(...stride.map(int)), bytes("\x89"), bytes("N")),
    "R",
  );
const pickled = (...parts: readonly Part[]): Buffer => bytes("\x80\x02", ...parts, ".");

function refused(code: string, file: Uint8Array, message = /./): void {
  assert.throws(
    () => load(file),
    (error) => {
      assert.ok(error instanceof TorchFileError, String(error));
      assert.equal(error.code, code, error.message);
      assert.match(error.message, message);
      return true;
    },
  );
}

void describe("hostile pickles", () => {
  const four = { 0: new Uint8Array(16) };

  void it("a sound one is read", () => {
    const made = load(archive(pickled(rebuilt(storage("FloatStorage", "0", 4), 0, [2, 2], [2, 1])), four));
    assert.ok(isTensor(made));
    assert.deepEqual(made.shape, [2, 2]);
  });

  void it("tensors beyond their storage", () => {
    for (const [offset, size, stride] of [
      [0, [5], [1]],
      [1, [2, 2], [2, 1]],
      [4, [1], [1]],
      [0, [2], [2 ** 40]],
      [2 ** 52, [1], [1]],
      [0, [2, 2], [2]],
      [0, new Array<number>(70).fill(1), new Array<number>(70).fill(1)],
      [0, [2 ** 40, 2 ** 40], [0, 0]],
      [5, [0], [1]],
    ] as const)
      refused(
        "TORCH_FILE_TENSOR",
        archive(pickled(rebuilt(storage("FloatStorage", "0", 4), offset, size, stride)), four),
      );
    refused("TORCH_FILE_PICKLE", archive(pickled(rebuilt(storage("FloatStorage", "0", 4), 0, [-1], [1])), four));
  });

  void it("storages that are not there, or of another size, cost nothing", () => {
    const of = (count: number, key = "0"): Buffer =>
      archive(pickled(rebuilt(storage("FloatStorage", key, count), 0, [1], [1])), four);
    refused("TORCH_FILE_ARCHIVE", of(4, "1"), /no such file/);
    refused("TORCH_FILE_ARCHIVE", of(3), /12 bytes/);
    refused("TORCH_FILE_TRUNCATED", of(2 ** 40));
    refused("TORCH_FILE_PICKLE", of(-1));
    refused("TORCH_FILE_DEVICE", archive(pickled(storage("FloatStorage", "0", 4, "mps")), four), /mapLocation: "cpu"/);
  });

  void it("names that are not allowed, however they are spelt", () => {
    for (const name of [
      "cos\nsystem\n",
      "cbuiltins\neval\n",
      "c__builtin__\nexec\n",
      "ctorch.serialization\nload\n",
      "ccollections\nnamedtuple\n",
      "cnumpy.core.multiarray\nfromfile\n",
      "c__proto__\nconstructor\n",
      "ctorch\nconstructor\n",
      "X\x02\x00\x00\x00osX\x06\x00\x00\x00system\x93",
      "(X\x02\x00\x00\x00lsios\nsystem\n",
    ])
      refused("TORCH_FILE_GLOBAL", archive(pickled(name)));
    // Allowed as a name, but nothing to call.
    refused("TORCH_FILE_PICKLE", archive(pickled("c__builtin__\nint\n", tuple(text("7")), "R")), /no call/);
  });

  void it("operations that do not fit what is there", () => {
    for (const code of [
      "",
      "a",
      "0",
      "e",
      "u",
      "}(K\x01u",
      "]K\x01R",
      "h\x07",
      "K\x01K\x02b",
      "N}s",
      "\x82\x01",
      "X\xff\xff\xff\x7fa",
      "\x8d\xff\xff\xff\xff\xff\xff\xff\xffa",
      "\x8e\xff\xff\xff\xff\xff\xff\xff\x7fa",
      "Ix\n",
      "F1..2\n",
      "S'\n",
      "K\x01Q",
      "P12\n",
      "\x97",
      "}N\x92",
      "\x80\x09",
    ])
      assert.throws(
        () => load(archive(pickled(code))),
        (error) => error instanceof TorchFileError && /_(PICKLE|GLOBAL)$/.test(error.code),
        JSON.stringify(code),
      );
  });

  void it("bombs of values, digits, depth and references", () => {
    refused("TORCH_FILE_LIMIT", archive(bytes("\x80\x02", Buffer.alloc(9 * 2 ** 20, "N"), ".")), /8388608 values/);
    refused("TORCH_FILE_LIMIT", archive(bytes("\x80\x02", Buffer.alloc(3 * 2 ** 20, "]"), ".")));
    refused("TORCH_FILE_LIMIT", archive(pickled("\x8b", [0, 0, 1, 0], Buffer.alloc(1 << 16, 0x7f))), /bytes/);
    refused("TORCH_FILE_LIMIT", archive(pickled("L", "9".repeat(5000), "L\n")), /digits/);
    const deep = 600;
    refused("TORCH_FILE_LIMIT", archive(pickled("]".repeat(deep), "a".repeat(deep - 1))), /levels/);
    // Each list holds the one before it twice: 2^64 in all, and 65 that are there.
    let laughs = "]q\x00";
    for (let i = 0; i < 64; i++)
      laughs += `](h${String.fromCharCode(i)}h${String.fromCharCode(i)}eq${String.fromCharCode(i + 1)}`;
    let at: unknown = load(archive(pickled(laughs)));
    for (let i = 0; i < 64; i++) at = (at as readonly unknown[])[1];
    assert.deepEqual(at, []);
  });
});

void describe("hostile archives", () => {
  const sound = archive(pickled("N"), { 0: new Uint8Array(16) });
  const at = (signature: string): number => sound.lastIndexOf(Buffer.from(signature, "latin1"));
  const changed = (change: (copy: Buffer) => void): Buffer => {
    const copy = Buffer.from(sound);
    change(copy);
    return copy;
  };

  void it("a sound one is read", () => {
    assert.equal(load(sound), null);
  });
  void it("files that lie over one another", () => {
    const central = sound.indexOf("PK\x01\x02");
    const second = at("PK\x01\x02");
    refused(
      "TORCH_FILE_ARCHIVE",
      changed((c) => c.writeUInt32LE(c.readUInt32LE(central + 42), second + 42)),
    );
  });
  void it("counts, sizes and places beyond the file", () => {
    const end = at("PK\x05\x06");
    refused(
      "TORCH_FILE_ARCHIVE",
      changed((c) => c.writeUInt16LE(9, end + 10)),
    );
    refused(
      "TORCH_FILE_TRUNCATED",
      changed((c) => c.writeUInt32LE(0x7fffffff, end + 12)),
    );
    refused(
      "TORCH_FILE_TRUNCATED",
      changed((c) => c.writeUInt32LE(0x7fffffff, end + 16)),
    );
    refused(
      "TORCH_FILE_ARCHIVE",
      changed((c) => c.writeUInt32LE(0x7fffffff, at("PK\x01\x02") + 20)),
    );
    refused(
      "TORCH_FILE_ARCHIVE",
      changed((c) => c.writeUInt16LE(99, at("PK\x01\x02") + 10)),
      /deflated/,
    );
    // The name of the first file's own header, longer than the file.
    refused(
      "TORCH_FILE_ARCHIVE",
      changed((c) => c.writeUInt16LE(0xffff, 26)),
    );
    refused("TORCH_FILE_TRUNCATED", sound.subarray(0, end));
  });
  void it("what unpacks to more than it says, or than there can be", () => {
    const packed = archive(pickled("N"), { 0: new Uint8Array(1 << 20) }, true);
    assert.equal(load(packed), null);
    const central = packed.indexOf("PK\x01\x02");
    const other = (size: number): Buffer => {
      const copy = Buffer.from(packed);
      copy.writeUInt32LE(size, central + 24);
      return copy;
    };
    refused("TORCH_FILE_ARCHIVE", other(2));
    refused("TORCH_FILE_ARCHIVE", other(0x7fffffff));
  });
});

void describe("what save refuses", () => {
  const path = join(folder, "a.pt");
  const wrong = (obj: unknown, message: RegExp): void =>
    assert.throws(
      () => save(obj, path),
      (error) => error instanceof ArgumentError && message.test(error.message),
    );

  void it("modules and optimizers, with what to write", () => {
    const model = new nn.Linear(1, 1);
    wrong(model, /save\(model\.stateDict\(\), path\)/);
    wrong({ a: [model] }, /obj\.a\.0 to be .*Linear/);
    wrong({ o: new optim.SGD(model.parameters(), { lr: 1 }) }, /Save its stateDict\(\)/);
  });
  void it("what Python has no word for", () => {
    for (const value of [
      () => 1,
      Symbol("s"),
      new Date(),
      new WeakMap(),
      2n ** 3000n,
      "\ud800",
      new DataView(new ArrayBuffer(1)),
    ])
      wrong({ value }, /obj\.value to be/);
    const set = new Set<unknown>();
    set.add(set);
    wrong(set, /inside themselves/);
    let deep: unknown = 1;
    for (let i = 0; i < 500; i++) deep = [deep];
    wrong(deep, /levels/);
    const gone = ones([1]);
    gone.dispose();
    wrong({ gone }, /live tensor/);
  });
  void it("a surplus argument, an unknown option, no path", () => {
    assert.throws(() => Reflect.apply(save, null, [1, path, true]), ArgumentError);
    assert.throws(() => Reflect.apply(save, null, [1, path, { protocol: 2 }]), ArgumentError);
    assert.throws(() => Reflect.apply(save, null, [path]), ArgumentError);
    assert.throws(() => Reflect.apply(load, null, [path, "cpu", true]), ArgumentError);
    assert.throws(() => Reflect.apply(load, null, [path, { mapLocation: "moon" }]), /mapLocation to be a device/);
    assert.throws(() => load(new Uint8Array(0)), TorchFileError);
    assert.throws(() => load(join(folder, "nowhere.pt")), { code: "ENOENT" });
  });
});

void describe("hostile files of NumPy", () => {
  const path = join(folder, "x.npy");
  numpy.save(path, tensor([[1, 2]]));
  const sound = readFileSync(path);
  const header = (dict: string): Buffer => {
    const head = bytes("\x93NUMPY\x01\x00", [dict.length & 255, dict.length >> 8], dict);
    return Buffer.concat([head, Buffer.alloc(8)]);
  };
  const wrong = (code: string, file: Uint8Array): void =>
    assert.throws(
      () => numpy.load(file),
      (error) => error instanceof NumpyError && error.code === code,
      code,
    );

  void it("headers that lie", () => {
    assert.deepEqual(numpy.load(sound), numpy.load(path));
    const dict = (shape: string, descr = "'<f4'", more = ""): Buffer =>
      header(`{'descr': ${descr}, 'fortran_order': False, 'shape': ${shape}${more}}`);
    assert.ok(isTensor(numpy.load(dict("(2,), "))));
    wrong("NUMPY_TRUNCATED", dict("(1000000000000,), "));
    wrong("NUMPY_TRUNCATED", dict("(9007199254740991, 9007199254740991), "));
    wrong("NUMPY_TRAILING", dict("(1,), "));
    wrong("NUMPY_FORMAT", dict("(0, 9007199254740991, 9007199254740991), ").subarray(0, -8));
    wrong("NUMPY_FORMAT", dict("(-1,), "));
    wrong("NUMPY_FORMAT", dict("(2,), ", "'<f4'", "'more': 1"));
    wrong("NUMPY_FORMAT", dict("[2]"));
    wrong("NUMPY_FORMAT", header("__import__('os')"));
    wrong("NUMPY_DTYPE", dict("(2,), ", "'|O8'"));
    wrong("NUMPY_DTYPE", dict("(2,), ", "[('a', '<f4')]"));
    wrong("NUMPY_FORMAT", bytes("\x80\x02N."));
    for (let n = 0; n < sound.length; n++) assert.throws(() => numpy.load(sound.subarray(0, n)), NumpyError);
  });
  void it("what NumPy does not have is not written", () => {
    assert.throws(() => numpy.save(path, ones([1]).bfloat16()), /dtype of arr/);
    assert.throws(() => numpy.savez(path, { a: ones([1]) }, ones([1])), /by name in the last argument/);
    assert.throws(() => numpy.savez(path, ones([1]), { arr_0: ones([1]) }), /every name once/);
  });
});
