import assert from "node:assert/strict";
import { test } from "node:test";
import { Complex, nn, ones, tensor, zeros, type DType, type Tensor } from "../index.js";

class Embeddings extends nn.Module {
  wordEmbeddings = new nn.Linear(2, 2, { bias: false });
  LayerNorm = new nn.LayerNorm([2]);
  A_log = new nn.Parameter(ones([2]));
  conv2dB = new nn.Linear(1, 1, { bias: false });
  forward(x: Tensor): Tensor {
    return x;
  }
}
const KEYS = ["A_log", "word_embeddings.weight", "LayerNorm.weight", "LayerNorm.bias", "conv2d_b.weight"];

test("keys: small camel case becomes snake case, names that begin with a capital stay", () => {
  const module = new Embeddings();
  assert.deepEqual([...module.stateDict().keys()], KEYS);
  assert.deepEqual(
    Array.from(module.namedParameters(), ([name]) => name),
    KEYS,
  );
  assert.deepEqual(
    ["wordEmbeddings", "LayerNorm", "layerNorm", "Wqkv", "QKVProj", "fc1", "bn2dA", "x_y"].map((name) =>
      nn.snakeCase(name),
    ),
    ["word_embeddings", "LayerNorm", "layer_norm", "Wqkv", "QKVProj", "fc1", "bn2d_a", "x_y"],
  );
  assert.equal(module.getParameter("LayerNorm.weight"), module.LayerNorm.weight);
});

test("state saved under the earlier names is read where they can mean one field only", () => {
  const module = new Embeddings();
  const earlier = new Map(
    [...module.stateDict()].map(([key, t]) => [
      key.replace("LayerNorm", "Layer_norm").replace("A_log", "A_log"),
      t.detach().add(1),
    ]),
  );
  assert.deepEqual(module.loadStateDict(earlier), { missingKeys: [], unexpectedKeys: [] });
  assert.deepEqual(module.LayerNorm.weight?.tolist(), [2, 2]);
  // The name of today wins, and the other one is not known.
  assert.throws(() => module.loadStateDict(new Map([...module.stateDict(), ["Layer_norm.weight", zeros([2])]])), {
    code: "STATE_DICT_MISMATCH",
    message: /unexpected: Layer_norm\.weight/,
  });
  class Both extends nn.Module {
    MyNorm = new nn.Parameter(ones([1]));
    My_norm = new nn.Parameter(zeros([1]));
    forward(): void {}
  }
  const both = new Both();
  assert.throws(() => both.loadStateDict({ My_norm: tensor([3]) }), { message: /missing: MyNorm/ });
  assert.deepEqual([both.MyNorm.item(), both.My_norm.item()], [1, 0]);
});

test("two fields with one key are an error, before anything is saved or loaded", () => {
  class Clash extends nn.Module {
    wordEmbeddings = new nn.Linear(1, 1);
    word_embeddings: unknown = new nn.Linear(1, 1);
    forward(): void {}
  }
  class Outer extends nn.Module {
    inner = new Clash();
    forward(): void {}
  }
  const message =
    /stateDict: expected every field to have a key of its own\. Received: wordEmbeddings and word_embeddings, both "inner\.word_embeddings"\. Rename one of them/;
  assert.throws(() => new Outer().stateDict(), { code: "STATE_DICT_KEY", message });
  assert.throws(() => new Outer().loadStateDict({}, { strict: false }), { code: "STATE_DICT_KEY" });
  for (const second of [new nn.Parameter(ones([1])), new nn.Linear(1, 1)]) {
    const module = new Clash();
    module.word_embeddings = second;
    assert.throws(() => module.stateDict(), { code: "STATE_DICT_KEY" });
  }
  const plain = new Clash();
  plain.word_embeddings = ones([1]);
  assert.equal(plain.stateDict().size, 2, "a tensor that is no buffer has no key");

  const module = new nn.Linear(1, 1);
  Object.assign(module, { "a.b": new nn.Parameter(ones([1])) });
  assert.throws(() => module.stateDict(), { code: "STATE_DICT_KEY", message: /without dots/ });
});

test("a buffer has a name and a key of its own", () => {
  class Holder extends nn.Module {
    runningMean = new nn.Parameter(ones([1]));
    fc = new nn.Linear(1, 1);
    forward(): void {}
  }
  const module = new Holder();
  for (const name of ["running_mean", "fc", "runningMean", "forward", "stateDict", "a.b", ""])
    assert.throws(() => module.registerBuffer(name, ones([1])), { code: "ERR_ARGUMENT" }, name);
  module.registerBuffer("position", null);
  module.registerBuffer("position", ones([1]));
  module.registerBuffer("position", zeros([1]));
  assert.deepEqual([...module.stateDict().keys()], ["running_mean", "position", "fc.weight", "fc.bias"]);
});

test("values that would be lost are refused, whole ones taken", () => {
  class Typed extends nn.Module {
    constructor(readonly dtype: DType) {
      super();
      this.registerBuffer("value", zeros([2], { dtype }));
    }
    get held(): Tensor {
      return Reflect.get(this, "value") as Tensor;
    }
    forward(): void {}
  }
  const load = (to: DType, source: Tensor): unknown => {
    const module = new Typed(to);
    module.loadStateDict({ value: source });
    return module.held.tolist();
  };
  const refused = (to: DType, source: Tensor, message: RegExp): void => {
    assert.throws(() => load(to, source), { code: "STATE_DICT_MISMATCH", message }, `${to}: ${String(message)}`);
    assert.throws(() => new Typed(to).loadStateDict({ value: source }, { strict: false }), {
      code: "STATE_DICT_MISMATCH",
    });
  };
  const z = tensor([new Complex(1, 2), new Complex(3, 0)]);
  refused("float32", z, /value is complex64, expected float32/);
  refused("int64", z, /value is complex64/);
  refused("int64", tensor([1.5, 2]), /float32, expected int64, and it holds fractions/);
  refused("float32", tensor([1, 2], { dtype: "uint8" }), /value is uint8/);
  refused("uint8", tensor([1, 2], { dtype: "int8" }), /value is int8, expected uint8/);
  refused("uint8", tensor([1, 2], { dtype: "int64" }), /value is int64, expected uint8/);
  assert.deepEqual(load("int64", tensor([1, 2], { dtype: "float32" })), [1, 2]);
  assert.deepEqual(load("float64", tensor([1, 2], { dtype: "int64" })), [1, 2]);
  assert.deepEqual(load("bfloat16", tensor([1, 2])), [1, 2]);
  assert.deepEqual(load("complex64", tensor([1, 2])), [new Complex(1, 0), new Complex(2, 0)]);
  assert.deepEqual(load("float32", tensor([true, false])), [1, 0]);
  const disposed = ones([2]);
  disposed.dispose();
  refused("float32", disposed, /disposed/);
});

class Mixed extends nn.Module {
  z = new nn.Parameter(tensor([new Complex(1, 2)]));
  w = new nn.Parameter(tensor([0.1]));
  constructor() {
    super();
    this.registerBuffer("spectrum", tensor([new Complex(3, 4)]));
    this.registerBuffer("count", tensor([3], { dtype: "int64" }));
    this.registerBuffer("mask", tensor([true]));
  }
  get state(): Tensor[] {
    return [this.z, this.w, ...["spectrum", "count", "mask"].map((name) => Reflect.get(this, name) as Tensor)];
  }
  forward(): void {}
}
for (const [name, cast, dtype] of [
  ["double", (m) => m.double(), "float64"],
  ["half", (m) => m.half(), "float16"],
  ["bfloat16", (m) => m.bfloat16(), "bfloat16"],
  ["float", (m) => m.float(), "float32"],
  ["to float64", (m) => m.to("float64"), "float64"],
  ["to bfloat16 on a device", (m) => m.to({ dtype: "bfloat16", device: "cpu" }), "bfloat16"],
] as readonly (readonly [string, (m: Mixed) => unknown, DType])[]) {
  test(`${name}: complex parameters and buffers keep their imaginary part, whole numbers stay`, () => {
    const module = new Mixed();
    module.z.grad = tensor([new Complex(5, 6)]);
    module.w.grad = tensor([0.5]);
    cast(module);
    assert.deepEqual(
      module.state.map((t) => t.dtype),
      ["complex64", dtype, "complex64", "int64", "bool"],
    );
    assert.deepEqual(
      [module.z, module.z.grad, Reflect.get(module, "spectrum") as Tensor].map((t) => t.tolist()),
      [[new Complex(1, 2)], [new Complex(5, 6)], [new Complex(3, 4)]],
    );
    assert.deepEqual([module.w.grad.dtype, module.w.requiresGrad, module.z.requiresGrad], [dtype, true, true]);
  });
}
test("complex dtypes cast complex and real ones alike, as PyTorch's modules", () => {
  const module = new Mixed();
  for (const dtype of ["complex128", "complex64", "complex32"] as const) {
    module.to(dtype);
    assert.deepEqual(
      module.state.map((t) => t.dtype),
      [dtype, dtype, dtype, "int64", "bool"],
    );
    assert.deepEqual(module.z.to("complex64").tolist(), [new Complex(1, 2)]);
  }
  module.to("complex64").float();
  assert.equal(module.w.dtype, "complex64");
});
