import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { gzipSync } from "node:zlib";
import { ArgumentError, DataLoader, manualSeed, memory, rand, randint, tensor, type Tensor } from "@nbit/torch";
import { optional } from "./errors.js";
import { datasets, io, transforms, utils, VisionError } from "./index.js";

const folder = mkdtempSync(join(tmpdir(), "nbit-vision-"));
after(() => {
  rmSync(folder, { recursive: true, force: true });
});
const picture = (h: number, w: number, channels = 3): Tensor =>
  tensor(Uint8Array.from({ length: channels * h * w }, (_, i) => (i * 37 + (i >> 3) * 11) % 256)).view([
    channels,
    h,
    w,
  ]);

test("images are written and read", async () => {
  const image = picture(9, 14);
  const path = join(folder, "a.png");
  await io.writePng(image, path);
  assert.deepEqual((await io.readImage(path)).tolist(), image.tolist());
  assert.deepEqual((await io.decodeImage(io.readFile(path), "RGB")).tolist(), image.tolist());
  const grey = await io.readImage(path, { mode: "GRAY" });
  assert.deepEqual(grey.shape, [1, 9, 14]);
  assert.deepEqual((await io.readImage(path, "RGB_ALPHA")).shape, [4, 9, 14]);
  await io.writePng(grey, path, 9);
  assert.deepEqual((await io.readImage(path)).tolist(), grey.tolist());
  assert.deepEqual((await io.readImage(path, "RGB")).shape, [3, 9, 14]);
  await io.writeJpeg(image, join(folder, "a.jpg"), { quality: 100 });
  const jpeg = await io.readImage(join(folder, "a.jpg"));
  assert.deepEqual([jpeg.dtype, jpeg.shape], ["uint8", [3, 9, 14]]);
  const encoded = await io.encodeJpeg(image, 90);
  assert.deepEqual((await io.decodeJpeg(encoded)).shape, [3, 9, 14]);
  assert.deepEqual((await io.decodePng(await io.encodePng(image))).tolist(), image.tolist());
  await utils.saveImage(rand([5, 1, 4, 6]), join(folder, "grid.png"), { nrow: 3, padding: 1 });
  assert.deepEqual((await io.readImage(join(folder, "grid.png"))).shape, [3, 11, 22]);
});

test("what is no image, and no package, is said", async () => {
  const nothing = "nothing-of-the-kind";
  const failed = (code: string, message: RegExp) => (error: unknown) =>
    error instanceof VisionError && error.code === code && message.test(error.message);
  await assert.rejects(io.decodeImage(new Uint8Array([1, 2, 3])), failed("VISION_IMAGE", /cannot be read as an image/));
  await assert.rejects(io.readImage(join(folder, "none.png")), failed("VISION_IMAGE", /none\.png/));
  await assert.rejects(
    optional(nothing, () => import(nothing), "This"),
    failed("VISION_NO_PACKAGE", /This needs the package nothing-of-the-kind.*npm install nothing-of-the-kind/),
  );
  await assert.rejects(io.writePng(rand([3, 2, 2]), join(folder, "x.png")), ArgumentError);
  await assert.rejects(io.readImage(join(folder, "a.png"), "CMYK" as never), /mode to be one of/);
});

test("a folder of classes, by this thread and by workers that decode", async () => {
  const root = join(folder, "photos");
  for (const [name, count] of [
    ["dog", 3],
    ["cat", 2],
  ] as const)
    for (let i = 0; i < count; i++) {
      mkdirSync(join(root, name, "more"), { recursive: true });
      await io.writePng(picture(10 + i, 12), join(root, name, i === 1 ? join("more", "x.png") : `${i}.PNG`));
    }
  writeFileSync(join(root, "cat", "notes.txt"), "");
  const transform = new transforms.Compose([
    new transforms.RandomResizedCrop(8),
    new transforms.RandomHorizontalFlip(),
    new transforms.ToTensor(),
    new transforms.Normalize([0.5, 0.5, 0.5], [0.2, 0.2, 0.2]),
  ]);
  const data = new datasets.ImageFolder(root, { transform });
  assert.deepEqual(
    [data.classes, data.classToIdx, data.targets],
    [["cat", "dog"], { cat: 0, dog: 1 }, [0, 0, 1, 1, 1]],
  );
  assert.deepEqual(
    data.paths.map((p) => p.slice(root.length + 1)),
    ["cat/0.PNG", "cat/more/x.png", "dog/0.PNG", "dog/2.PNG", "dog/more/x.png"],
  );
  for (const numWorkers of [0, 2]) {
    const runs: unknown[] = [];
    for (let run = 0; run < 2; run++) {
      manualSeed(4);
      const batches: unknown[] = [];
      for await (const [x, y] of new DataLoader(data, { batchSize: 2, numWorkers }) as AsyncIterable<
        [Tensor, Tensor]
      >) {
        assert.deepEqual([x.dtype, x.shape.slice(1), y.dtype], ["float32", [3, 8, 8], "int64"]);
        batches.push([x.tolist(), y.tolist()].map(String));
        x.dispose();
        y.dispose();
      }
      runs.push(batches);
    }
    assert.equal((runs[0] as unknown[]).length, 3);
    assert.deepEqual(runs[0], runs[1], "images are decoded at once, and draw one after the other");
  }
  assert.throws(() => new datasets.ImageFolder(join(folder, "nowhere")), { code: "VISION_NOT_FOUND" });
  mkdirSync(join(root, "bird"));
  assert.throws(() => new datasets.ImageFolder(root), /no image of bird.*allowEmpty/);
  assert.equal(new datasets.ImageFolder(root, { allowEmpty: true }).length, 5);
});

const idx = (shape: readonly number[], values: Uint8Array): Buffer => {
  const head = Buffer.alloc(4 + 4 * shape.length);
  head.set([0, 0, 8, shape.length]);
  shape.forEach((n, i) => head.writeUInt32BE(n, 4 + 4 * i));
  return Buffer.concat([head, values]);
};

test("MNIST and Fashion-MNIST, from their files", () => {
  for (const [name, Type] of [
    ["MNIST", datasets.MNIST],
    ["FashionMNIST", datasets.FashionMNIST],
  ] as const) {
    const raw = join(folder, name, "raw");
    mkdirSync(raw, { recursive: true });
    const pixels = Uint8Array.from({ length: 3 * 784 }, (_, i) => i % 251);
    writeFileSync(join(raw, "train-images-idx3-ubyte"), idx([3, 28, 28], pixels));
    writeFileSync(join(raw, "train-labels-idx1-ubyte.gz"), gzipSync(idx([3], new Uint8Array([7, 0, 9]))));
    const data = new Type(folder, true, new transforms.ToTensor());
    assert.equal(data.length, 3);
    const [image, target] = data.get(2) as [Tensor, bigint];
    assert.deepEqual([image.dtype, image.shape, target], ["float32", [1, 28, 28], 9n]);
    assert.equal(data.classes[9], name === "MNIST" ? "9 - nine" : "Ankle boot");
    assert.deepEqual(
      [...new DataLoader(data, { batchSize: 3 })].map((b) => ((b as Tensor[])[1] as Tensor).tolist()),
      [[7n, 0n, 9n].map(Number)],
    );
    assert.throws(() => new Type(folder, false), /t10k-images-idx3-ubyte nor .*\.gz beside it is there/);
    assert.throws(() => new Type(folder, { download: true }), /download to be false/);
    assert.throws(() => data.get(3), /index to be from 0 to 2/);
  }
});

test("CIFAR-10 and CIFAR-100, from their files", () => {
  const row = (labels: readonly number[], seed: number): Uint8Array =>
    Uint8Array.from([...labels, ...Array.from({ length: 3072 }, (_, i) => (i * seed) % 256)]);
  const ten = join(folder, "cifar-10-batches-bin");
  mkdirSync(ten);
  writeFileSync(join(ten, "batches.meta.txt"), "airplane\nautomobile\nbird\n\n");
  for (let i = 1; i <= 5; i++)
    writeFileSync(join(ten, `data_batch_${i}.bin`), Buffer.concat([row([i % 3], i), row([1], 7)]));
  writeFileSync(join(ten, "test_batch.bin"), row([2], 3));
  const data = new datasets.CIFAR10(folder, { targetTransform: (t: number) => t * 10 });
  assert.deepEqual([data.length, data.targets, data.classToIdx["bird"]], [10, [1, 1, 2, 1, 0, 1, 1, 1, 2, 1], 2]);
  const [image, target] = data.get(2) as [Tensor, number];
  assert.deepEqual([image.shape, image.at(0, 0, 3).item(), target], [[3, 32, 32], 6, 20]);
  assert.deepEqual(new datasets.CIFAR10({ root: folder, train: false }).get(0)[1], 2n);
  const hundred = join(folder, "cifar-100-binary");
  mkdirSync(hundred);
  writeFileSync(join(hundred, "fine_label_names.txt"), "apple\nbear\n");
  writeFileSync(join(hundred, "test.bin"), row([9, 1], 2));
  assert.deepEqual(new datasets.CIFAR100(folder, false).get(0)[1], 1n);
  writeFileSync(join(hundred, "test.bin"), row([9, 5], 2));
  assert.throws(() => new datasets.CIFAR100(folder, false), /class 5 of 2/);
  writeFileSync(join(hundred, "test.bin"), "short");
  assert.throws(() => new datasets.CIFAR100(folder, false), /whole images of 3074 bytes/);
  assert.throws(() => new datasets.CIFAR100(folder), { code: "VISION_NOT_FOUND" });
});

/** A pickle as Python 2 wrote those of CIFAR: protocol 2, texts and bytes alike. */
function python2(batch: Readonly<Record<string, Uint8Array | readonly number[] | readonly string[]>>): Buffer {
  const text = (s: string): Buffer => Buffer.concat([Buffer.from("U"), Buffer.from([s.length]), Buffer.from(s)]);
  const bytes = (b: Uint8Array): Buffer => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(b.length);
    return Buffer.concat([Buffer.from("T"), length, b]);
  };
  const array = (b: Uint8Array): Buffer[] => [
    Buffer.from("cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\0\x85U\x01btR", "latin1"),
    Buffer.from("(K\x01K", "latin1"),
    Buffer.from([b.length / 3072]),
    Buffer.from(
      "M\0\x0c\x86cnumpy\ndtype\n(U\x02u1K\0K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89",
      "latin1",
    ),
    bytes(b),
    Buffer.from("tb"),
  ];
  const parts: Buffer[] = [Buffer.from([0x80, 2]), Buffer.from("}(")];
  for (const [key, value] of Object.entries(batch)) {
    parts.push(text(key));
    if (value instanceof Uint8Array) parts.push(...array(value));
    else {
      parts.push(Buffer.from("](", "latin1"));
      for (const each of value) parts.push(typeof each === "string" ? text(each) : Buffer.from([0x4b, each]));
      parts.push(Buffer.from("e"));
    }
  }
  return Buffer.concat([...parts, Buffer.from("u.")]);
}

test("CIFAR's files for Python are read without running anything", () => {
  const root = join(folder, "python");
  const ten = join(root, "cifar-10-batches-py");
  mkdirSync(ten, { recursive: true });
  const images = (n: number, seed: number): Uint8Array =>
    Uint8Array.from({ length: n * 3072 }, (_, i) => (i * seed) % 256);
  writeFileSync(join(ten, "batches.meta"), python2({ label_names: ["airplane", "automobile", "bird"] }));
  for (let i = 1; i <= 5; i++)
    writeFileSync(join(ten, `data_batch_${i}`), python2({ data: images(2, i), labels: [i % 3, 1] }));
  // Bytes that are a text, too.
  writeFileSync(join(ten, "test_batch"), python2({ data: new Uint8Array(3072).fill(65), labels: [2] }));
  const data = new datasets.CIFAR10(root);
  assert.deepEqual([data.length, data.targets, data.classes[2]], [10, [1, 1, 2, 1, 0, 1, 1, 1, 2, 1], "bird"]);
  const [image] = data.get(2) as [Tensor, bigint];
  assert.deepEqual([image.shape, image.at(0, 0, 3).item()], [[3, 32, 32], 6]);
  const one = new datasets.CIFAR10(root, false);
  assert.deepEqual([(one.get(0)[0] as Tensor).at(2, 31, 31).item(), one.get(0)[1]], [65, 2n]);
  const hundred = join(root, "cifar-100-python");
  mkdirSync(hundred);
  writeFileSync(join(hundred, "meta"), python2({ fine_label_names: ["apple", "bear"] }));
  writeFileSync(join(hundred, "test"), python2({ data: images(1, 1), fine_labels: [1], coarse_labels: [0] }));
  assert.deepEqual(new datasets.CIFAR100(root, false).get(0)[1], 1n);
  assert.throws(() => new datasets.CIFAR100(root), { code: "VISION_NOT_FOUND" });
  writeFileSync(join(hundred, "test"), "\x80\x02cos\nsystem\n(U\x04echotR.", "latin1");
  assert.throws(() => new datasets.CIFAR100(root, false), { code: "TORCH_FILE_GLOBAL" });
  writeFileSync(join(hundred, "test"), python2({ data: images(1, 1), fine_labels: [1, 0] }));
  assert.throws(() => new datasets.CIFAR100(root, false), /uint8 data of 3072 bytes for each of fine_labels/);
});

test("tables of CSV files", async () => {
  const path = join(folder, "iris.csv");
  writeFileSync(path, 'width,length,species\n1.5,2,setosa\n3,-4e1,"with, comma"\n');
  const table = await datasets.readCsv(path);
  assert.deepEqual([table.length, table.get(1)], [2, { width: 3, length: -40, species: "with, comma" }]);
  const picked = await datasets.readCsv(path, {
    columns: ["length", "width"],
    transform: (row: { width: number; length: number }) => [row.width, row.length],
  });
  assert.deepEqual(
    [...new DataLoader(picked, { batchSize: 2 })].map((b) => (b as Tensor[]).map((t) => t.tolist())),
    [
      [
        [1.5, 3],
        [2, -40],
      ],
    ],
  );
  assert.deepEqual((await datasets.readCsv({ path, header: false })).get(0), { 0: "width", 1: "length", 2: "species" });
  await assert.rejects(datasets.readCsv(path, { columns: ["height"] }), /columns among width, length, species/);
  await assert.rejects(datasets.readCsv(join(folder, "none.csv")), { code: "VISION_NOT_FOUND" });
  writeFileSync(path, "a,b\n1,2,3\n");
  await assert.rejects(datasets.readCsv(path), { code: "VISION_DATA" });
});

test("tables of Parquet files", async () => {
  const path = join(folder, "t.parquet");
  writeFileSync(path, Buffer.from(PARQUET, "base64"));
  const table = await datasets.readParquet(path);
  assert.deepEqual([table.length, table.get(1)], [3, { x: 2.5, name: "b", id: 8n }]);
  assert.deepEqual((await datasets.readParquet(path, { columns: ["id"] })).get(0), { id: 7n });
  await assert.rejects(datasets.readParquet(path, { columns: ["y"] }), /columns among x, name, id/);
  writeFileSync(path, "no parquet at all");
  await assert.rejects(datasets.readParquet(path), { code: "VISION_DATA" });
});
/** Columns x (double), name (string) and id (int64), three rows; by pyarrow, without compression. */
const PARQUET =
  "UEFSMRUEFTAVMEwVBhUAEgAAAAAAAAAA+D8AAAAAAAAEQAAAAAAAAAjAFQAVFBUULBUGFRAVBhUGHAAAAAIAAAAGAQIDJAAVBBUeFR5MFQYVABIAAAEAAABhAQAAAGIBAAAAYxUAFRQVFCwVBhUQFQYVBhwAAAACAAAABgECAyQAFQQVMBUwTBUGFQASAAAHAAAAAAAAAAgAAAAAAAAACQAAAAAAAAAVABUUFRQsFQYVEBUGFQYcAAAAAgAAAAYBAgMkABUEGUw1ABgGc2NoZW1hFQYAFQolAhgBeAAVDCUCGARuYW1lJQBMHAAAABUEJQIYAmlkABYGGRwZPCYAHBUKGTUABhAZGAF4FQAWBhaGARaGASZUJggpLBUEFQAVAgAVABUQFQIAPCkGGSYABgAAACYAHBUMGTUABhAZGARuYW1lFQAWBhZ0FnQmyAEmjgEpLBUEFQAVAgAVABUQFQIAPBYGGQYZJgAGAAAAJgAcFQQZNQAGEBkYAmlkFQAWBhaGARaGASbOAiaCAiksFQQVABUCABUAFRAVAgA8KQYZJgAGAAAAFoADFgYmCBaAAwAoIHBhcnF1ZXQtY3BwLWFycm93IHZlcnNpb24gMjUuMC4xGTwcAAAcAAAcAAAAHAEAAFBBUjE=";

test("transforms take arguments in every form, and refuse others by name", () => {
  const x = picture(8, 9);
  for (const t of [
    new transforms.Resize(4, "nearest", null, false),
    new transforms.Resize(4, { interpolation: "nearest", antialias: false }),
    new transforms.Resize({ size: 4, interpolation: "nearest" }),
  ])
    assert.deepEqual(t.call(x).tolist(), transforms.functional.resize(x, 4, "nearest").tolist());
  const refused = (fn: () => unknown, message: RegExp): void => {
    assert.throws(fn, (error) => error instanceof ArgumentError && message.test(error.message));
  };
  refused(() => new transforms.Resize(0), /Resize: expected size to be a whole number ≥ 1, or \[height, width\]/);
  refused(() => new transforms.RandomCrop(4, { pad: 1 } as never), /RandomCrop: expected/);
  refused(() => new transforms.RandomHorizontalFlip(1.5), /RandomHorizontalFlip: expected p/);
  refused(() => new transforms.ColorJitter({ hue: 0.7 }), /hue to be from -0.5 to 0.5/);
  refused(() => new transforms.Compose([3] as never), /Compose: expected transforms/);
  refused(() => new transforms.RandomRotation([20, 10, 3] as never), /degrees/);
  refused(() => new transforms.RandAugment({ magnitude: 31 }), /magnitude to be below 31/);
  refused(() => new transforms.GaussianBlur(4), /kernelSize/);
  refused(() => new transforms.RandomCrop(20).call(x), /image of at least \[20, 20\]/);
  refused(() => new transforms.Normalize([0], [1]).call(x), /image of floats/);
  refused(() => new transforms.Normalize([0], [0]).call(x.float()), /std without zeros/);
  refused(() => new transforms.MixUp().call(rand([2, 3, 4, 4]), randint(0, 2, [2])), /numClasses/);
  refused(
    () => new transforms.ToTensor().call("a.png" as never) && transforms.functional.hflip("a.png" as never),
    /image to be a tensor|an image/,
  );
  const chain = new transforms.RandomOrder([
    new transforms.RandomChoice([(i: Tensor) => i], [1]),
    new transforms.RandomApply([], 1),
    new transforms.Lambda((i: Tensor) => i.flip([-1])),
  ]);
  assert.deepEqual(chain.call(x).tolist(), x.flip([-1]).tolist());
});

test("transforms leave nothing behind", () => {
  const x = picture(16, 16);
  const before = memory().unreleased;
  for (const t of [
    new transforms.ColorJitter(0.4, 0.4, 0.4, 0.2),
    new transforms.RandomResizedCrop(8),
    new transforms.RandAugment(4),
    new transforms.AutoAugment(),
    new transforms.RandomErasing(1),
  ])
    t.call(x).dispose();
  assert.equal(memory().unreleased, before);
});
