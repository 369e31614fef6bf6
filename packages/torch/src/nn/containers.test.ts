import assert from "node:assert/strict";
import { test } from "node:test";
import { deepcopy, nn, ones, zeros, type Tensor } from "@nbit/torch";

const linear = (): nn.Linear => new nn.Linear(2, 2);
const keysOf = (module: nn.Module): string[] => [...module.stateDict().keys()];
const refused = (run: () => unknown, message: RegExp): void => assert.throws(run, { code: "ERR_ARGUMENT", message });

test("Sequential by number and by name, in order", () => {
  assert.deepEqual(keysOf(new nn.Sequential(linear(), new nn.ReLU(), linear())), [
    "0.weight",
    "0.bias",
    "2.weight",
    "2.bias",
  ]);
  const named = new nn.Sequential({ zeta: linear(), act: new nn.ReLU(), alpha: linear() });
  assert.deepEqual(keysOf(named), ["zeta.weight", "zeta.bias", "alpha.weight", "alpha.bias"]);
  assert.equal(named.length, 3);
  assert.equal(named[2], named.at(-1));
  assert.equal(Reflect.get(named, "alpha"), named[2]);
  const fromMap = new nn.Sequential(new Map([["first", linear()]]));
  assert.deepEqual(keysOf(fromMap), ["first.weight", "first.bias"]);
  assert.equal(new nn.Sequential().length, 0);
});

test("a layer behind named ones has a number, and stands behind them everywhere", () => {
  const named = new nn.Sequential({ zeta: linear(), alpha: linear() }).append(linear());
  assert.deepEqual(
    [...named.namedChildren()].map(([name]) => name),
    ["zeta", "alpha", "2"],
  );
  assert.deepEqual(
    keysOf(named).filter((key) => key.endsWith("weight")),
    ["zeta.weight", "alpha.weight", "2.weight"],
  );
  assert.equal(named[2], named.at(2));
});

test("Sequential runs its layers in order, those that are put in their places too", () => {
  const net = new nn.Sequential(new nn.Identity(), new nn.ReLU());
  net[0] = new nn.Threshold(0, 5);
  assert.deepEqual(net.forward(ones([2]).neg()).tolist(), [5, 5]);
  const named = new nn.Sequential({ a: new nn.Identity(), b: new nn.ReLU() });
  named[0] = new nn.Threshold(0, 3);
  assert.deepEqual(named.forward(ones([2]).neg()).tolist(), [3, 3]);
  assert.ok(Reflect.get(named, "a") instanceof nn.Threshold);
});

test("a module registered by name joins the row", () => {
  const net = new nn.Sequential();
  for (const i of [4, 5]) net.addModule(String(i), new nn.Threshold(0, i));
  assert.equal(net.length, 2);
  assert.deepEqual(net.forward(ones([1]).neg()).tolist(), [4]);
});

test("append, extend, insert, pop", () => {
  const layers = [0, 1, 2, 3].map(() => linear());
  const [a, b, c, d] = layers as [nn.Linear, nn.Linear, nn.Linear, nn.Linear];
  for (const row of [new nn.Sequential(a), new nn.ModuleList([a])]) {
    assert.equal(row.append(b), row);
    assert.equal(row.extend([c]), row);
    assert.equal(row.insert(0, d), row);
    assert.deepEqual([...row], [d, a, b, c]);
    assert.equal(row.insert(-1, a), row);
    assert.deepEqual([...row], [d, a, b, a, c]);
    assert.equal(row.pop(), c);
    assert.equal(row.pop(1), a);
    assert.deepEqual([...row], [d, b, a]);
    assert.deepEqual(keysOf(row).slice(0, 2), ["0.weight", "0.bias"]);
    assert.equal(row.at(-3), d);
    refused(() => row.at(3), /index from -3 to 2\. Received: 3/);
    refused(() => row.insert(5, a), /index from -4 to 3\. Received: 5/);
  }
});

test("slices: of a Sequential with its names, of a list numbered anew", () => {
  const net = new nn.Sequential(linear(), new nn.ReLU(), linear(), new nn.Tanh());
  assert.deepEqual(keysOf(net.slice(0, 2)), ["0.weight", "0.bias"]);
  const behind = net.slice(2);
  assert.deepEqual(keysOf(behind), ["2.weight", "2.bias"]);
  assert.equal(behind.at(0), net[2]);
  assert.deepEqual(behind.forward(zeros([1, 2])).shape, [1, 2]);
  assert.deepEqual(keysOf(new nn.ModuleList(net).slice(-2)), ["0.weight", "0.bias"]);
});

test("what is no layer, and names that are taken, are refused", () => {
  refused(() => new nn.Sequential(1 as never), /Sequential: expected element 0 to be a Module\. Received: 1/);
  refused(() => new nn.Sequential({ forward: linear() }), /a name that is no member of it\. Received: "forward"/);
  refused(() => new nn.Sequential({ training: linear() }), /Received: "training"/);
  refused(() => new nn.Sequential({ "a.b": linear() }), /without dots/);
  refused(() => new nn.ModuleList([linear(), null as never]), /element 1 to be a Module/);
  refused(() => new nn.ModuleList(linear() as never), /modules to be an array or another iterable/);
});

test("ModuleDict keeps order and names, numbers among them", () => {
  const dict = new nn.ModuleDict({ convA: linear() });
  dict.update([
    ["10", linear()],
    ["2", linear()],
  ]);
  assert.deepEqual(dict.keys(), ["convA", "10", "2"]);
  assert.deepEqual(
    keysOf(dict).filter((key) => key.endsWith("bias")),
    ["convA.bias", "10.bias", "2.bias"],
  );
  assert.equal(dict.get("2"), dict.items()[2]?.[1]);
  assert.equal(dict.length, 3);
  assert.deepEqual([...dict], ["convA", "10", "2"]);
  const taken = dict.pop("10");
  assert.ok(taken instanceof nn.Linear);
  assert.equal(dict.has("10"), false);
  refused(() => dict.get("10"), /ModuleDict\.get: expected a name among convA, 2\. Received: "10"/);
  refused(() => dict.set("keys", linear()), /a name that is no member of it\. Received: "keys"/);
  refused(() => dict.set("a", 3 as never), /module to be a Module\. Received: 3/);
  refused(() => new nn.ModuleDict(3 as never), /modules to be an object, a Map or pairs/);
  dict.clear();
  assert.equal(dict.length, 0);
  const others = new nn.ModuleDict(new nn.ModuleDict({ order: linear() }) as never);
  assert.deepEqual(others.keys(), ["order"]);
});

test("ParameterList makes parameters of tensors, and holds the rest", () => {
  const list = new nn.ParameterList<Tensor | number>([ones([2]), new nn.Parameter(zeros([1]))]).append(7);
  assert.ok(list[0] instanceof nn.Parameter);
  assert.equal(list[2], 7);
  assert.equal(list.length, 3);
  assert.deepEqual(keysOf(list), ["0", "1"]);
  assert.equal(list.parameters().length, 2);
  assert.equal(list.at(-1), 7);
  assert.deepEqual(keysOf(list.slice(1)), ["0"]);
  assert.match(String(list), /\(0\): Parameter containing: \[torch\.float32 of size 2\]\n/);
  refused(() => list.extend(ones([2]) as never), /values to be an array of parameters/);
  refused(() => list.forward(), /its parameters to be used one by one/);
});

test("ParameterDict sorts an object's names, and keeps those of a Map", () => {
  const sorted = new nn.ParameterDict({ b: ones([1]), a: ones([1]) });
  assert.deepEqual(keysOf(sorted), ["a", "b"]);
  const dict = new nn.ParameterDict(
    new Map([
      ["b", ones([1])],
      ["aB", ones([1])],
    ]),
  );
  assert.deepEqual(keysOf(dict), ["b", "aB"]);
  assert.equal(dict.get("c"), null);
  const set = dict.setdefault("c", zeros([2]));
  assert.equal(dict.setdefault("c", ones([1])), set);
  assert.deepEqual(dict.popitem()[0], "c");
  assert.deepEqual(dict.copy().keys(), ["b", "aB"]);
  assert.equal(dict.copy().get("b"), dict.get("b"));
  assert.ok(dict.pop("b") instanceof nn.Parameter);
  assert.deepEqual(dict.fromkeys(["x", "y"], ones([1])).keys(), ["x", "y"]);
  refused(() => dict.pop("b"), /a name among aB\. Received: "b"/);
});

test("copies of containers are containers of copies", () => {
  const seq = new nn.Sequential({ a: linear(), b: linear() });
  const copy = deepcopy(seq);
  assert.notEqual(copy[0], seq[0]);
  assert.equal(copy[1], copy.at(1));
  assert.deepEqual(keysOf(copy), keysOf(seq));
  copy.append(linear());
  assert.equal(seq.length, 2);
  const dict = deepcopy(new nn.ModuleDict({ "2": linear(), "1": linear() }));
  assert.deepEqual(dict.keys(), ["2", "1"].sort());
  assert.equal(deepcopy(new nn.ParameterList([ones([1])])).length, 1);
});

test("a list prints what is equal once", () => {
  const text = String(new nn.ModuleList([linear(), linear(), new nn.ReLU()]));
  assert.match(text, /^ModuleList\(\n {2}\(0-1\): 2 x Linear\(.*\)\n {2}\(2\): ReLU\(\)\n\)$/);
});
