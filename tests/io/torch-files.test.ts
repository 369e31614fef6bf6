/** Files exchanged with PyTorch and NumPy; see make_torch_fixtures.py. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import {
  arange,
  Complex,
  device,
  isTensor,
  load,
  nn,
  numpy,
  ones,
  optim,
  save,
  scope,
  tensor,
  tensorFromBytes,
  TorchFileError,
  emptyStrided,
  manualSeed,
  type DType,
  type Tensor,
} from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";

const fixtures = fileURLToPath(new URL("../../io/fixtures/", import.meta.url));
const theirs = (name: string): string => join(fixtures, "torch", name);
const npy = (name: string): string => join(fixtures, "numpy", name);
const folder = temporaryFolder("torch-files");

interface Said {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly stride: readonly number[];
  readonly bytes: readonly number[];
}
const said = JSON.parse(readFileSync(join(fixtures, "torch.json"), "utf8")) as Readonly<Record<string, Said>>;
const DTYPES = Object.keys(said).flatMap((name) => (name.startsWith("dtype.") ? [name.slice(6) as DType] : []));

interface Everything {
  readonly tensors: Readonly<Record<string, Tensor>>;
  readonly parameter: Tensor;
  readonly again: Tensor;
  readonly coo: Tensor;
  readonly csr: Tensor;
  readonly meta: Tensor;
  readonly ordered: ReadonlyMap<string, unknown>;
  readonly values: readonly unknown[];
  readonly shared: readonly unknown[];
  readonly self: readonly unknown[];
  readonly [name: string]: unknown;
}

function checkEverything(all: Everything): void {
  for (const [name, { dtype, shape, stride, bytes }] of Object.entries(said)) {
    const t = all.tensors[name] as Tensor;
    assert.deepEqual([t.dtype, t.shape], [dtype, shape], name);
    if (name !== "conj") assert.deepEqual(t.stride(), stride, name);
    assert.deepEqual([...new Uint8Array(t.detach().toBytes())], bytes, name);
  }
  const { base, view, transposed, expanded, graph } = all.tensors as Record<string, Tensor>;
  assert.ok(base && view && transposed && expanded && graph);
  assert.equal(view.dataPtr(), base.dataPtr() + 8);
  assert.equal(transposed.dataPtr(), base.dataPtr());
  base.fill_(7);
  assert.deepEqual(view.tolist(), [
    [7, 7, 7],
    [7, 7, 7],
  ]);
  assert.equal(graph.requiresGrad, true);
  assert.ok(all.parameter instanceof nn.Parameter && all.parameter.requiresGrad);
  assert.equal(all.again, all.parameter);
  assert.deepEqual(all.coo.toDense().tolist(), [
    [0, 3],
    [0, 0],
    [4, 0],
  ]);
  assert.deepEqual(all.csr.toDense().tolist(), [
    [0, 1],
    [2, 0],
  ]);
  assert.deepEqual([all.meta.device.type, all.meta.shape], ["meta", [2, 3]]);
  assert.deepEqual([...all.ordered.keys()], ["b", "a"]);
  assert.equal(all.ordered.get("a"), base);
  assert.deepEqual(all["counter"], { a: 2, b: 1 });
  assert.deepEqual(all["ints"], { 0: "zero", 10: "ten" });
  assert.deepEqual(
    all["mixed"],
    new Map<unknown, unknown>([
      [0, "zero"],
      ["a", 1],
      [[1, 2], "pair"],
    ]),
  );
  assert.deepEqual(all.values, VALUES);
  assert.ok(Number.isNaN(all["nan"]));
  assert.equal(all.shared[0], all.shared[1]);
  assert.equal(all.self[0], all.self);
  assert.deepEqual([all["dtype"], all["size"], String(all["device"])], ["float16", [2, 3], "cpu"]);
  assert.equal(Object.getOwnPropertyDescriptor(all, "__proto__")?.value, "a key like any other");
}
const VALUES = [
  ...[null, true, false, 1, -1, 300, 70000, 2 ** 31, 2n ** 53n + 1n, -(2n ** 70n), 1.5, Infinity, -Infinity],
  ...["text", "größe \u2028", new Uint8Array([0, 255]), [1, [2]], new Set([1, 2]), new Complex(1, 2)],
];

void describe("files of torch.save", () => {
  for (const name of ["zip.pt", "legacy.pt"])
    void it(`reads all that may be in ${name}`, () => {
      checkEverything(load<Everything>(theirs(name)));
      checkEverything(load<Everything>(readFileSync(theirs(name))));
    });

  for (const protocol of [2, 3, 4, 5])
    void it(`reads protocol ${protocol}, NumPy's arrays and plain objects`, () => {
      const all = load<Record<string, unknown> & { array: Tensor; fortran: Tensor; t: Tensor }>(
        theirs(`protocol${protocol}.pt`),
      );
      assert.deepEqual(all["namespace"], { lr: 0.1, layers: [1, 2] });
      assert.deepEqual(all["attributes"], { lr: 0.1 });
      assert.deepEqual([all["path"], all["defaultdict"]], ["/a/b", { a: [1] }]);
      assert.deepEqual(all["scalars"], [0.5, 0.25, -3, true, 7, 1.5]);
      assert.deepEqual(all["frozenset"], new Set([1]));
      const rows = [
        [0, 1, 2],
        [3, 4, 5],
      ];
      assert.deepEqual([all.array.dtype, all.array.tolist()], ["float32", rows]);
      assert.deepEqual([all.fortran.dtype, all.fortran.stride(), all.fortran.tolist()], ["int16", [1, 2], rows]);
      assert.deepEqual(all.t.tolist(), [1, 2, 3]);
    });

  void it("reads other orders of bytes, archives that were packed again, and tar", () => {
    const x = Array.from({ length: 12 }, (_, i) => i);
    for (const name of ["plain.pt", "big-endian.pt", "deflated.pt"]) {
      const { x: found, y } = load<Record<"x" | "y", Tensor>>(theirs(name));
      assert.deepEqual(found.tolist(), x, name);
      assert.equal(y.dataPtr(), found.dataPtr() + 16, name);
    }
    assert.deepEqual(load<{ x: Tensor }>(theirs("tar.pt")).x.tolist(), [
      [1, 2],
      [4, 5],
    ]);
  });

  void it("maps a file", () => {
    const { x, y } = load<Record<"x" | "y", Tensor>>(theirs("plain.pt"), { mmap: true });
    assert.deepEqual(x.tolist(), arange(12).tolist());
    const before = readFileSync(theirs("plain.pt"));
    y.fill_(3);
    assert.deepEqual(x.tolist(), [0, 1, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3]);
    assert.ok(readFileSync(theirs("plain.pt")).equals(before), "the file stays as it is");
    checkEverything(load<Everything>(theirs("zip.pt"), { mmap: true }));
  });

  void it("places tensors as mapLocation says", () => {
    const seen: string[] = [];
    const onMeta = load<{ x: Tensor }>(theirs("plain.pt"), (storage, location) => {
      seen.push(`${storage.dtype} ${storage.nbytes} ${location}`);
      return storage.to("meta");
    });
    assert.deepEqual([seen, onMeta.x.device.type, onMeta.x.shape], [["float32 48 cpu"], "meta", [12]]);
    assert.equal(load<{ x: Tensor }>(theirs("plain.pt"), "meta").x.device.type, "meta");
    assert.equal(load<{ x: Tensor }>(theirs("plain.pt"), { mapLocation: { cpu: "meta" } }).x.device.type, "meta");
    assert.equal(load<{ x: Tensor }>(theirs("plain.pt"), device("cpu"), { weightsOnly: true }).x.device.type, "cpu");
  });

  const REFUSED: readonly (readonly [string, string, RegExp])[] = [
    ["runs.pt", "TORCH_FILE_GLOBAL", /posix\.system/],
    ["module.pt", "TORCH_FILE_GLOBAL", /torch\.nn\.modules\.linear\.Linear".*state_dict/],
    ["quantized.pt", "TORCH_FILE_DTYPE", /dequantize/],
    ["script.pt", "TORCH_FILE_SCRIPT", /torch\.jit/],
    ["bare.pkl", "TORCH_FILE_FORMAT", /did not write/],
    ["../python.safetensors", "TORCH_FILE_FORMAT", /loadSafetensors/],
    ["../numpy/stored.npz", "TORCH_FILE_FORMAT", /without data\.pkl/],
  ];
  for (const [name, code, message] of REFUSED)
    void it(`refuses ${name}`, () => {
      for (const weightsOnly of [true, false])
        assert.throws(
          () => load(theirs(name), { weightsOnly }),
          (error) => error instanceof TorchFileError && error.code === code && message.test(error.message),
        );
      assert.ok(!existsSync("/tmp/nbit-was-run"));
    });

  void it("refuses every beginning of a file", () => {
    for (const name of ["plain.pt", "legacy.pt", "tar.pt"]) {
      const whole = readFileSync(theirs(name));
      for (let n = 0; n < whole.length - (name === "tar.pt" ? 8192 : 0); n += 61)
        assert.throws(() => load(whole.subarray(0, n)), TorchFileError, `${name}, ${n} bytes`);
    }
  });
});

function net(): nn.Module & { forward(x: Tensor): Tensor } {
  manualSeed(0);
  return new nn.Sequential(new nn.Linear(2, 3), new nn.BatchNorm1d(3), new nn.Linear(3, 1));
}
const MAKE: Readonly<Record<string, (model: nn.Module) => optim.Optimizer>> = {
  adamw: (m) => new optim.AdamW(m.parameters(), { lr: 0.05, betas: [0.8, 0.9], weightDecay: 0.1 }),
  sgd: (m) => new optim.SGD(m.parameters(), { lr: 0.05, momentum: 0.9, nesterov: true }),
};
interface Training {
  readonly epoch: number;
  readonly model: ReadonlyMap<string, Tensor>;
  readonly optimizer: Record<string, unknown>;
  readonly scheduler: Record<string, unknown>;
}

/** Two more steps of a training that PyTorch began, from its file; they end where PyTorch's do. */
function goesOn(name: string, from: Training): void {
  const model = net();
  const optimizer = (MAKE[name] as (m: nn.Module) => optim.Optimizer)(model);
  const scheduler = new optim.StepLR(optimizer, 2, 0.5);
  model.loadStateDict(from.model);
  optimizer.loadStateDict(from.optimizer);
  scheduler.loadStateDict(from.scheduler);
  const x = arange(6).reshape([3, 2]).div(4);
  for (let i = 0; i < 2; i++)
    scope(() => {
      optimizer.zeroGrad();
      model.forward(x).square().sum().backward();
      optimizer.step();
      scheduler.step();
    });
  const later = load<{ model: ReadonlyMap<string, Tensor>; lr: number[] }>(theirs(`${name}-later.pt`));
  assert.deepEqual(scheduler.getLastLr(), later.lr);
  for (const [key, value] of model.stateDict())
    assert.ok(
      value
        .detach()
        .sub(later.model.get(key) as Tensor)
        .abs()
        .max()
        .item() < 1e-6,
      `${name}: ${key} after two more steps`,
    );
}

/** What make_torch_fixtures.py expects to find in nbit.pt. */
function ourObject(): object {
  const base = arange(12, { dtype: "float32" });
  const parameter = new nn.Parameter(ones([2]));
  const shared = [1, 2];
  const floats = tensor([1, 2]);
  const self: unknown[] = [];
  self.push(self);
  const weights = arange(6, { dtype: "float32" }).reshape([2, 3]);
  return {
    dtypes: Object.fromEntries(
      DTYPES.map((dtype) => {
        const { shape, bytes } = said[`dtype.${dtype}`] as Said;
        return [dtype, tensorFromBytes(new Uint8Array(bytes), dtype, [...shape])];
      }),
    ),
    model: new Map([
      ["weight", new nn.Parameter(weights)],
      ["bias", new nn.Parameter(ones([2]))],
    ]),
    base,
    transposed: base.view([3, 4]).t(),
    part: base.narrow(0, 2, 3),
    floats,
    bits: floats.view("int32"),
    parameter,
    again: parameter,
    coo: tensor([
      [0, 3],
      [0, 0],
      [4, 0],
    ]).toSparse(),
    csr: tensor([
      [0, 1],
      [2, 0],
    ]).toSparseCsr(),
    meta: emptyStrided([2, 3], [3, 1], { device: "meta" }),
    ints: { 0: "zero", 10: "ten" },
    mixed: new Map<unknown, unknown>([
      [0, "zero"],
      ["a", 1],
    ]),
    values: VALUES,
    nan: NaN,
    device: device("cpu"),
    shared: [shared, shared],
    self,
    array: new Int16Array([1, 2]),
  };
}

/**
 * That a file is what Python has read; writes it where it is not there yet.
 * @param exactly - To the byte; else it is enough that Python has read one like it.
 */
function same(path: string, write: (to: string) => void, exactly = true): void {
  const name = path.split("/").at(-1) as string;
  write(join(folder, name));
  if (!existsSync(path)) {
    writeFileSync(path, readFileSync(join(folder, name)));
    assert.fail(`${name} is new: run make_torch_fixtures.py, which reads it`);
  }
  assert.ok(
    !exactly || readFileSync(join(folder, name)).equals(readFileSync(path)),
    `${name} changed: remove it, and run this and make_torch_fixtures.py again`,
  );
}

void describe("files for torch.load", () => {
  void it("writes what Python has read", () => {
    same(theirs("nbit.pt"), (to) => save(ourObject(), to));
  });

  void it("reads what it wrote", () => {
    const path = join(folder, "own.pt");
    save(ourObject(), path);
    const all = load<Everything & { base: Tensor; part: Tensor; transposed: Tensor; model: Map<string, Tensor> }>(path);
    assert.equal(all.part.dataPtr(), all.base.dataPtr() + 8);
    assert.deepEqual(all.transposed.stride(), [1, 4]);
    assert.ok(all.model instanceof Map);
    assert.equal(all.model.get("weight")?.requiresGrad, false);
    assert.deepEqual(all.values, VALUES);
    assert.equal(all.again, all.parameter);
    assert.deepEqual(all["ints"], { 0: "zero", 10: "ten" });
    assert.ok(isTensor(all["bits"]) && isTensor(all["floats"]) && all["bits"].dataPtr() === all["floats"].dataPtr());
  });

  for (const name of Object.keys(MAKE)) {
    void it(`goes on with PyTorch's training by ${name}`, () => {
      goesOn(name, load<Training>(theirs(`${name}.pt`)));
    });
    void it(`writes a training by ${name} in PyTorch's names`, () => {
      const from = load<Training>(theirs(`${name}.pt`));
      const model = net();
      const optimizer = (MAKE[name] as (m: nn.Module) => optim.Optimizer)(model);
      const scheduler = new optim.StepLR(optimizer, 2, 0.5);
      model.loadStateDict(from.model);
      optimizer.loadStateDict(from.optimizer);
      scheduler.loadStateDict(from.scheduler);
      const path = join(folder, `nbit-${name}.pt`);
      const state = {
        epoch: 3,
        model: model.stateDict(),
        optimizer: optimizer.stateDict(),
        scheduler: scheduler.stateDict(),
      };
      // What optimizers remember may grow.
      same(theirs(`nbit-${name}.pt`), (to) => save(state, to), false);
      goesOn(name, load<Training>(path));
    });
  }
});

void describe("files of NumPy", () => {
  const bytesOf = (t: Tensor): number[] => [...new Uint8Array(t.toBytes())];
  const numbers = (dtype: string): number[] => Array.from({ length: 96 }, (_, i) => i % (dtype === "bool" ? 2 : 60));

  for (const file of readdirSync(npy("")).filter((name) => /^(bool|u?int\d+|float\d+|complex\d+)\.npy$/.test(name)))
    void it(`reads and writes ${file}`, () => {
      const dtype = file.slice(0, -4);
      const found = numpy.load(npy(file)) as Tensor;
      assert.deepEqual([found.dtype, found.shape[0], bytesOf(found)], [dtype, 2, numbers(dtype)]);
      same(theirs(`nbit-${file}`), (to) => numpy.save(to.slice(0, -4), found));
    });

  void it("reads other orders of bytes and of indices, scalars and nothing", () => {
    assert.deepEqual(bytesOf(numpy.load(npy("big-endian.npy")) as Tensor), numbers("int32"));
    assert.deepEqual(bytesOf(numpy.load(npy("big-complex.npy")) as Tensor), numbers("complex64"));
    const fortran = numpy.load(npy("fortran.npy")) as Tensor;
    assert.deepEqual(
      [fortran.shape, fortran.stride()],
      [
        [2, 3, 4],
        [1, 2, 6],
      ],
    );
    assert.deepEqual(fortran.tolist(), arange(24).reshape([2, 3, 4]).tolist());
    assert.equal((numpy.load(npy("scalar.npy")) as Tensor).item(), 1.5);
    assert.deepEqual((numpy.load(readFileSync(npy("empty.npy"))) as Tensor).shape, [0, 3]);
  });

  void it("reads and writes archives", () => {
    for (const [name, sum] of [
      ["stored.npz", null],
      ["deflated.npz", 0],
    ] as const) {
      const all = numpy.load(npy(name)) as Record<string, Tensor>;
      assert.deepEqual(Object.keys(all).sort(), ["arr_0", "weight"]);
      assert.deepEqual(all["arr_0"]?.tolist(), [0, 1, 2]);
      if (sum !== null) assert.equal(all["weight"]?.sum().item(), sum);
    }
    const weight = numpy.load(npy("float32.npy")) as Tensor;
    const first = arange(3, { dtype: "int64" });
    same(theirs("nbit.npz"), (to) => numpy.savez(to, first, { weight }));
    const path = join(folder, "packed.npz");
    numpy.savezCompressed(path, { weight, first });
    const again = numpy.load(path) as Record<string, Tensor>;
    assert.deepEqual(bytesOf(again["weight"] as Tensor), bytesOf(weight));
    assert.deepEqual(again["first"]?.tolist(), [0, 1, 2]);
  });
});
