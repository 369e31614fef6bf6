import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import {
  ArgumentError,
  deepcopy,
  load,
  loadCheckpoint,
  loadSafetensors,
  manualSeed,
  nn,
  ones,
  randn,
  relu,
  save,
  saveCheckpoint,
  saveSafetensors,
  tensor,
  zeros,
  type Tensor,
} from "../index.js";

class Net extends nn.Module {
  fc1 = new nn.Linear(3, 4);
  fc2 = new nn.Linear(4, 2);
  scale = 2;
  forward(x: Tensor): Tensor {
    return this.fc2.forward(relu(this.fc1.forward(x))).mul(this.scale);
  }
}
const names = (pairs: Iterable<readonly [string, unknown]>): string[] => Array.from(pairs, ([name]) => name);

// ---------------------------------------------------------------- names

class Exact extends nn.Module {
  static override readonly stateKeys: Readonly<Record<string, string>> = { wB: "wB", fcA: "fc-A" };
  wB = new nn.Parameter(ones([1]));
  w_b = new nn.Parameter(zeros([1]));
  fcA = new nn.Linear(1, 1, { bias: false });
  forward(): void {}
}
class Further extends Exact {
  static override readonly stateKeys = { more: "MORE", fcA: "fcA" };
  more = new nn.Parameter(ones([1]));
}

test("a class says the keys of fields whose names are not PyTorch's in camelCase; classes that extend it have them", () => {
  const exact = new Exact();
  assert.deepEqual([...exact.stateDict().keys()], ["wB", "w_b", "fc-A.weight"]);
  assert.deepEqual(names(exact.namedParameters()), ["wB", "w_b", "fc-A.weight"]);
  assert.deepEqual(names(exact.namedModules()), ["", "fc-A"]);
  assert.match(exact.toString(), /\(fc-A\): Linear/);
  assert.equal(exact.getSubmodule("fc-A"), exact.fcA);
  assert.equal(exact.getSubmodule("fcA"), exact.fcA);
  assert.deepEqual([...new Further().stateDict().keys()], ["wB", "w_b", "MORE", "fcA.weight"]);
  assert.deepEqual(exact.loadStateDict(new Exact().stateDict()), { missingKeys: [], unexpectedKeys: [] });
  class Wrong extends nn.Module {
    static override readonly stateKeys = { x: "a.b" };
    x = new nn.Parameter(ones([1]));
    forward(): void {}
  }
  assert.throws(() => new Wrong().stateDict(), /stateKeys: expected the key of x to be a string without dots/);
});

test("two fields with one key are an error wherever names are collected", () => {
  class Clash extends nn.Module {
    wB = new nn.Parameter(ones([1]));
    w_b = new nn.Parameter(zeros([1]));
    forward(): void {}
  }
  class Outer extends nn.Module {
    inner = new Clash();
    forward(): void {}
  }
  const message = (fn: string): RegExp =>
    new RegExp(`^${fn}: expected every field to have a key of its own. Received: wB and w_b, both "inner.w_b"`);
  const outer = new Outer();
  for (const [fn, run] of [
    ["stateDict", () => outer.stateDict()],
    ["loadStateDict", () => outer.loadStateDict({})],
    ["namedParameters", () => names(outer.namedParameters())],
    ["parameters", () => outer.parameters()],
    ["namedBuffers", () => names(outer.namedBuffers())],
    ["namedModules", () => names(outer.namedModules())],
  ] as const)
    assert.throws(run, { code: "STATE_DICT_KEY", message: message(fn) });
});

test("namedParameters: prefix, recurse, removeDuplicate, by position and by name", () => {
  class Tied extends nn.Module {
    embedding = new nn.Embedding(5, 3);
    head = new nn.Linear(3, 5, { bias: false });
    constructor() {
      super();
      Reflect.set(this.head, "weight", this.embedding.weight);
    }
    forward(): void {}
  }
  const tied = new Tied();
  assert.deepEqual(names(tied.namedParameters()), ["embedding.weight"]);
  const all = ["embedding.weight", "head.weight"];
  assert.deepEqual(names(tied.namedParameters({ removeDuplicate: false })), all);
  assert.deepEqual(names(tied.namedParameters("", true, false)), all);
  assert.deepEqual(names(tied.namedParameters({ prefix: "net" })), ["net.embedding.weight"]);
  assert.deepEqual(names(tied.namedParameters({ recurse: false })), []);
  assert.equal(tied.parameters().length, 1);
  const state = tied.stateDict();
  assert.deepEqual([...state.keys()], all);
  assert.equal(state.get("embedding.weight")?.dataPtr(), state.get("head.weight")?.dataPtr());
  assert.equal(tied.getParameter("head.weight"), tied.embedding.weight);
  const twice = new nn.Sequential(tied.head, tied.head);
  assert.deepEqual(names(twice.namedModules()), ["", "0"]);
  assert.deepEqual(names(twice.namedModules({ prefix: "s", removeDuplicate: false })), ["s", "s.0", "s.1"]);
});

test("a plain tensor in the place of a parameter is an error that says what to write; null is not", () => {
  const net = new Net();
  net.parameters();
  Reflect.set(net.fc1, "weight", randn([4, 3]));
  assert.throws(
    () => net.stateDict(),
    (error) =>
      error instanceof ArgumentError &&
      /^stateDict: expected fc1\.weight to be a Parameter or null\. Received: Tensor float32 \[4, 3\] cpu\. Write new nn\.Parameter/.test(
        error.message,
      ),
  );
  assert.throws(() => net.parameters(), ArgumentError);
  Reflect.set(net.fc1, "weight", new nn.Parameter(randn([4, 3])));
  Reflect.set(net.fc1, "bias", null);
  assert.deepEqual(names(net.namedParameters()), ["fc1.weight", "fc2.weight", "fc2.bias"]);
  const fresh = new nn.Conv2d(1, 1, 1);
  Reflect.set(fresh, "bias", ones([1]));
  assert.throws(
    () => fresh.parameters(),
    /expected bias to be a Parameter or null/,
    "also in a layer that nobody has walked",
  );
  class Registered extends nn.Module {
    declare w: unknown;
    forward(): void {}
  }
  const registered = new Registered();
  registered.registerParameter("w", null);
  registered.w = ones([1]);
  assert.throws(() => registered.parameters(), /expected w to be a Parameter or null/);
});

// ---------------------------------------------------------------- fields

test("registerParameter, registerModule, addModule; paths to what they hold", () => {
  class Free extends nn.Module {
    forward(): void {}
  }
  const free = new Free();
  const p = new nn.Parameter(ones([2]));
  const fc = new nn.Linear(1, 1);
  free.registerParameter("someWeight", p);
  free.registerParameter("bias", null);
  free.registerModule("firstLayer", fc);
  free.addModule("second", new nn.ReLU());
  free.registerBuffer("count", zeros([1]));
  assert.deepEqual([...free.stateDict().keys()], ["some_weight", "count", "first_layer.weight", "first_layer.bias"]);
  assert.equal(free.getParameter("some_weight"), p);
  assert.equal(free.getSubmodule("first_layer"), fc);
  assert.equal(free.getSubmodule(""), free);
  assert.equal(free.getBuffer("count"), Reflect.get(free, "count"));
  for (const run of [
    () => free.getParameter("count"),
    () => free.getParameter("first_layer"),
    () => free.getBuffer("some_weight"),
    () => free.getBuffer("nothing"),
    () => free.getSubmodule("first_layer.weight"),
    () => free.getSubmodule("nothing.more"),
    () => free.registerParameter("forward", p),
    () => free.registerParameter("a.b", p),
    () => free.registerParameter("", p),
    () => free.registerParameter("some_weight", p),
    () => free.registerModule("someWeight", fc),
    () => Reflect.apply(free.registerParameter.bind(free), free, ["x", ones([1])]),
    () => Reflect.apply(free.addModule.bind(free), free, ["x", ones([1])]),
  ])
    assert.throws(run, { code: "ERR_ARGUMENT" }, String(run));
});

test("setSubmodule replaces, makes where it may, and refuses the rest", () => {
  const net = new Net();
  const next = new nn.Linear(3, 4, { bias: false });
  net.setSubmodule("fc1", next);
  assert.equal(net.fc1, next);
  net.setSubmodule("extra", new nn.ReLU());
  assert.deepEqual(names(net.namedModules()), ["", "fc1", "fc2", "extra"]);
  net.setSubmodule("fc1", new nn.Linear(3, 4), { strict: true });
  assert.throws(() => net.setSubmodule("fc3", next, { strict: true }), { code: "ERR_ARGUMENT" });
  assert.throws(() => net.setSubmodule("scale", next), { code: "ERR_ARGUMENT" });
  assert.throws(() => net.setSubmodule("fc1.weight", next), { code: "ERR_ARGUMENT" });
  assert.throws(() => net.setSubmodule("", next), { code: "ERR_ARGUMENT" });
  assert.throws(() => net.setSubmodule("none.fc", next), { code: "ERR_ARGUMENT" });
});

test("apply visits children first, in PyTorch's order", () => {
  const net = new nn.Sequential(new nn.Linear(1, 1), new nn.Sequential(new nn.ReLU(), new nn.Tanh()), new nn.GELU());
  const seen: string[] = [];
  net.apply((module) => void seen.push(module.constructor.name));
  assert.deepEqual(seen, ["Linear", "ReLU", "Tanh", "Sequential", "GELU", "Sequential"]);
});

// ---------------------------------------------------------------- state

test("state dicts: detached by default, the parameters themselves with keepVars, a prefix", () => {
  const net = new Net();
  const plain = net.stateDict().get("fc1.weight") as Tensor;
  assert.equal(plain.requiresGrad, false);
  plain.zero_(); // no graph, and the same memory
  assert.equal(net.fc1.weight.abs().sum().item(), 0);
  assert.equal(net.stateDict({ keepVars: true }).get("fc1.weight"), net.fc1.weight);
  assert.deepEqual([...net.stateDict({ prefix: "net." }).keys()][0], "net.fc1.weight");
  assert.throws(() => Reflect.apply(net.stateDict.bind(net), net, [{ prefx: "" }]), { code: "ERR_ARGUMENT" });
});

test("assign puts the given tensors into the fields", () => {
  const net = new Net();
  net.fc1.weight.requiresGrad_(false);
  const state = deepcopy(new Net().double().stateDict());
  net.loadStateDict(state, { assign: true });
  assert.deepEqual(
    [net.fc1.weight.dtype, net.fc1.weight.requiresGrad, net.fc2.weight.requiresGrad],
    ["float64", false, true],
  );
  assert.equal(net.fc1.weight.dataPtr(), state.get("fc1.weight")?.dataPtr());
  assert.throws(() => net.loadStateDict({ ...Object.fromEntries(state), "fc1.weight": ones([1]) }, true, true), {
    code: "STATE_DICT_MISMATCH",
  });
});

test("hooks around state dicts, in order, with what PyTorch's get", () => {
  const net = new Net();
  const calls: string[] = [];
  net.registerStateDictPreHook(
    (m, prefix, keepVars) => void calls.push(`pre ${m.constructor.name} ${prefix} ${keepVars}`),
  );
  net.fc1.registerStateDictPreHook((_, prefix) => void calls.push(`pre fc1 ${prefix}`));
  const handle = net.fc1.registerStateDictPostHook((_, state, prefix) => {
    calls.push(`post ${prefix} ${state.size}`);
    state.delete(`${prefix}bias`);
  });
  assert.deepEqual([...net.stateDict().keys()], ["fc1.weight", "fc2.weight", "fc2.bias"]);
  assert.deepEqual(calls, ["pre Net  false", "pre fc1 fc1.", "post fc1. 2"]);
  handle.remove();
  assert.equal(net.stateDict().size, 4);

  const old = new Map([...new Net().stateDict()].map(([key, t]) => [key.replace("fc1", "first"), t]));
  net.registerLoadStateDictPreHook((_, state, prefix, metadata, strict, missing, unexpected, errors) => {
    assert.deepEqual([prefix, metadata, strict, missing, unexpected, errors], ["", {}, true, [], [], []]);
    for (const [key, t] of [...state])
      if (key.startsWith("first")) {
        state.delete(key);
        state.set(key.replace("first", "fc1"), t);
      }
  });
  assert.deepEqual(net.loadStateDict(old), { missingKeys: [], unexpectedKeys: [] });
  assert.ok(old.has("first.weight"), "what was given stays as it is");
  const forgiving = new Net();
  forgiving.registerLoadStateDictPostHook((_, keys) => void (keys.missingKeys.length = 0));
  assert.deepEqual(forgiving.loadStateDict({}), { missingKeys: [], unexpectedKeys: [] });
  assert.throws(() => forgiving.loadStateDict({ other: ones([1]) }), /unexpected: other/);
  const strictly = new Net();
  strictly.registerLoadStateDictPreHook(
    (_m, _s, _p, _l, _strict, _missing, _unexpected, errors) => void errors.push("no"),
  );
  assert.throws(() => strictly.loadStateDict(new Net().stateDict()), /a state with no\./);
});

test("extra state is a tensor under _extra_state", () => {
  class Counting extends nn.Module {
    fc = new nn.Linear(1, 1);
    steps = 3;
    override getExtraState(): Tensor {
      return tensor([this.steps]);
    }
    override setExtraState(state: Tensor): void {
      this.steps = state.item();
    }
    forward(): void {}
  }
  const outer = new nn.ModuleList([new Counting()]);
  const state = outer.stateDict();
  assert.deepEqual([...state.keys()], ["0._extra_state", "0.fc.weight", "0.fc.bias"]);
  const other = new Counting();
  other.steps = 0;
  const list = new nn.ModuleList([other]);
  list.loadStateDict(state);
  assert.equal(other.steps, 3);
  state.delete("0._extra_state");
  assert.throws(() => list.loadStateDict(state), /missing: 0\._extra_state/);
  assert.throws(
    () => new Net().loadStateDict({ ...Object.fromEntries(new Net().stateDict()), _extra_state: ones([1]) }),
    { message: /unexpected: _extra_state/ },
  );
  class Wrong extends nn.Module {
    override getExtraState(): unknown {
      return { run: () => 1 };
    }
    forward(): void {}
  }
  assert.throws(() => new Wrong().stateDict(), /Wrong\.getExtraState: expected to return a tensor, or plain data/);
});

test("extra state may be plain data, in every format of files", () => {
  class Counting extends nn.Module {
    seen: unknown = { steps: 3, best: Infinity, names: ["a", "β"], none: null, flag: true };
    override getExtraState(): unknown {
      return this.seen;
    }
    override setExtraState(state: unknown): void {
      this.seen = state;
    }
    forward(): void {}
  }
  class Outer extends nn.Module {
    counting = new Counting();
    forward(): void {}
  }
  const expected = new Counting().seen;
  const fresh = (): Outer => {
    const outer = new Outer();
    outer.counting.seen = null;
    return outer;
  };
  const state = new Outer().stateDict();
  assert.deepEqual([...state.keys()], ["counting._extra_state"]);
  const folder = mkdtempSync(join(tmpdir(), "nbit-extra-"));
  try {
    const files = [join(folder, "a.safetensors"), join(folder, "b.safetensors"), join(folder, "c.pt")] as const;
    saveSafetensors(files[0], state);
    saveCheckpoint(files[1], { model: state });
    save(state, files[2]);
    // In PyTorch's files it is the value itself.
    const plain = load<Map<string, unknown>>(files[2]);
    assert.deepEqual(plain.get("counting._extra_state"), expected);
    const states = [
      state,
      deepcopy(state),
      loadSafetensors(files[0]),
      (loadCheckpoint(files[1]) as { model: typeof state }).model,
      plain as typeof state,
    ];
    for (const each of states) {
      const outer = fresh();
      outer.loadStateDict(each);
      assert.deepEqual(outer.counting.seen, expected);
    }
    for (const value of [null, 3, "text", [1, [2]], new Map([["a", 1]])]) {
      const one = new Counting();
      one.seen = value;
      const two = new Counting();
      two.loadStateDict(one.stateDict());
      assert.deepEqual(two.seen, value);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

// ---------------------------------------------------------------- copies

test("clone: everything of its own, what is tied stays tied, hooks are the same", () => {
  class Whole extends Net {
    list = [1, { deep: new nn.Linear(1, 1) }] as const;
    plain = ones([2]);
    constructor() {
      super();
      Reflect.set(this.fc2, "bias", new nn.Parameter(ones([2]), { requiresGrad: false }));
      this.registerBuffer("offset", zeros([2]), { persistent: false });
      this.registerParameter("again", this.fc1.weight);
    }
  }
  const net = new Whole();
  let calls = 0;
  net.fc1.registerForwardHook(() => void calls++);
  const x = randn([2, 3]);
  net.forward(x).sum().backward();
  const copy = net.clone();
  assert.ok(copy instanceof Whole);
  assert.deepEqual(
    names(copy.namedParameters({ removeDuplicate: false })),
    names(net.namedParameters({ removeDuplicate: false })),
  );
  assert.deepEqual(names(copy.namedBuffers()), ["offset"]);
  assert.equal(copy.stateDict().has("offset"), false);
  assert.equal(Reflect.get(copy, "again"), copy.fc1.weight);
  assert.notEqual(copy.fc1.weight, net.fc1.weight);
  assert.notEqual(copy.fc1.weight.dataPtr(), net.fc1.weight.dataPtr());
  assert.notEqual(copy.list[1].deep, net.list[1].deep);
  assert.equal(copy.fc1.weight.grad, null);
  assert.equal(copy.fc2.bias?.requiresGrad, false);
  assert.ok(copy.forward(x).equal(net.forward(x)));
  assert.equal(calls, 3, "the hook is called by the copy too");
  copy.fc1.weight.detach().zero_();
  assert.notEqual(net.fc1.weight.abs().sum().item(), 0);
  copy.eval();
  assert.equal(net.training, true);
});

test("deepcopy: structures, tensors, state dicts; what has a graph or private fields is refused", () => {
  const t = tensor([1, 2], { requiresGrad: true });
  t.mul(2).sum().backward();
  const given = {
    t,
    again: [t],
    map: new Map([["a", new Set([1])]]),
    typed: new Float32Array([1]),
    when: new Date(0),
    fn: Math.max,
  };
  const copy = deepcopy(given);
  assert.equal(copy.t, copy.again[0]);
  assert.notEqual(copy.t, t);
  assert.deepEqual([copy.t.tolist(), copy.t.requiresGrad, copy.t.grad?.tolist()], [[1, 2], true, [2, 2]]);
  assert.deepEqual([copy.map, copy.typed, copy.when, copy.fn], [given.map, given.typed, given.when, Math.max]);
  assert.notEqual(copy.map, given.map);
  const round: { self?: unknown } = {};
  round.self = round;
  const again = deepcopy(round);
  assert.equal(again.self, again);
  assert.throws(() => deepcopy(t.mul(2)), /deepcopy: expected tensors without a graph/);
  class Private extends nn.Module {
    #secret = 1;
    forward(): number {
      return this.#secret;
    }
  }
  assert.throws(() => new Private().clone(), {
    code: "DEEPCOPY",
    message: /without private fields .* Received: Private with #secret\. Make it an ordinary field \(private secret\)/,
  });
  manualSeed(0);
  const drawn = randn([1]).item();
  const net = new Net();
  manualSeed(0);
  net.clone();
  assert.equal(randn([1]).item(), drawn);
});

// ---------------------------------------------------------------- memory

test("to: every form, and a layout in memory for what has four dimensions", () => {
  const net = new nn.Sequential(new nn.Conv2d(2, 4, 3), new nn.BatchNorm2d(4));
  const conv = net[0] as nn.Conv2d;
  for (const memoryFormat of ["channelsLast", "channels_last"] as const) {
    net.to({ memoryFormat: "contiguousFormat" });
    assert.equal(conv.weight.isContiguous(), true);
    net.to({ memoryFormat });
    assert.deepEqual(conv.weight.stride(), [18, 1, 6, 2]);
  }
  assert.equal(net.to("cpu", "float64")[0], conv);
  assert.equal(conv.weight.dtype, "float64");
  assert.deepEqual(conv.weight.stride(), [18, 1, 6, 2]);
  net.to(ones([1]));
  assert.equal(conv.weight.dtype, "float32");
  net.to("float64", true).to("cpu", { dtype: "float32", nonBlocking: true }).type("bfloat16");
  assert.equal(conv.weight.dtype, "bfloat16");
  for (const wrong of [
    ["int64"],
    ["cpu", "int64"],
    [ones([1], { dtype: "int64" })],
    ["cpu", "float32", true, 1],
    [3],
    [{ memoryFormat: "x" }],
    ["cpu", { device: "cpu" }],
  ])
    assert.throws(() => Reflect.apply(net.to.bind(net), net, wrong), { code: "ERR_ARGUMENT" }, String(wrong));
});

test("toEmpty, shareMemory, compile", () => {
  const net = new nn.Linear(2, 3, { device: "meta" });
  assert.equal(net.toEmpty({ device: "cpu" }), net);
  assert.deepEqual([net.weight.device.type, net.weight.shape, net.weight.requiresGrad], ["cpu", [3, 2], true]);
  net.resetParameters();
  assert.equal(net.shareMemory(), net);
  assert.equal(net.compile({ mode: "x" }), net);
});
