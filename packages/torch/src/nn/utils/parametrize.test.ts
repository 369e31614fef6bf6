import assert from "node:assert/strict";
import { test } from "node:test";
import { autocast, manualSeed, memory, nn, noGrad, ones, optim, rand, scope, zeros, type Tensor } from "../../index.js";

const { parametrizations, parametrize, removeSpectralNorm, removeWeightNorm, spectralNorm, weightNorm } = nn.utils;
const refused = (call: () => unknown, message: RegExp): void =>
  assert.throws(call, (error: Error & { readonly code?: string }) => {
    assert.equal(error.code, "ERR_ARGUMENT", error.stack);
    assert.match(error.message, message);
    return true;
  });

class Symmetric extends nn.Module {
  calls = 0;
  forward(x: Tensor): Tensor {
    this.calls++;
    return x.triu().add(x.triu(1).t());
  }
}
class Grown extends nn.Module {
  forward(x: Tensor): Tensor {
    return x.repeat([2, 1]);
  }
}
const x = rand([5, 3]);

test("an optimizer that was made before goes on with what is learned", () => {
  const layer = new nn.Linear(3, 3);
  const { weight } = layer;
  const optimizer = new optim.SGD(layer.parameters(), { lr: 0.1 });
  parametrize.registerParametrization(layer, "weight", new Symmetric());
  assert.deepEqual([...layer.stateDict().keys()], ["bias", "parametrizations.weight.original"]);
  assert.ok(layer.parameters().includes(weight));
  const before = layer.weight.clone();
  layer.forward(x).sum().backward();
  optimizer.step();
  assert.equal(before.equal(layer.weight), false);
  assert.ok(layer.weight.equal(layer.weight.t()));
  parametrize.removeParametrizations(layer, "weight");
  assert.equal(layer.weight, weight);
  assert.ok(weight.equal(weight.t()));
});

test("the class is one that extends the layer's, until nothing is parametrized", () => {
  const layer = new nn.Linear(3, 3);
  assert.equal(parametrize.isParametrized(layer), false);
  const same = parametrize.registerParametrization(layer, "weight", new Symmetric());
  assert.equal(same, layer);
  assert.ok(layer instanceof nn.Linear);
  assert.match(
    String(layer),
    /^ParametrizedLinear\(\n {2}in_features=3, out_features=3, bias=True\n {2}\(parametrizations\)/,
  );
  assert.equal(parametrize.typeBeforeParametrizations(layer), nn.Linear);
  parametrize.registerParametrization(layer, "bias", new nn.Identity());
  assert.ok(parametrize.isParametrized(layer, "bias"));
  assert.equal(same.parametrizations["weight"]?.length, 1);
  parametrize.removeParametrizations(layer, "weight");
  assert.ok(!parametrize.isParametrized(layer, "weight") && parametrize.isParametrized(layer));
  parametrize.removeParametrizations(layer, "bias");
  assert.equal(parametrize.isParametrized(layer), false);
  assert.equal(layer.constructor, nn.Linear);
  assert.deepEqual([...layer.stateDict().keys()], ["weight", "bias"]);
  assert.equal(new nn.Linear(2, 2).constructor, nn.Linear);
});

test("dtypes, devices, modes and states go through to what is learned", () => {
  const made = (): nn.Linear => parametrizations.spectralNorm(new nn.Linear(3, 4));
  const [a, b] = [made(), made()];
  a.eval();
  b.eval();
  b.loadStateDict(a.stateDict());
  assert.ok(a.forward(x).equal(b.forward(x)));
  a.double();
  assert.equal(a.weight.dtype, "float64");
  assert.ok([...a.stateDict().values()].every((t) => t.dtype === "float64"));
  a.train();
  assert.ok([...a.modules()].every((m) => m.training));
  const low = autocast({ dtype: "bfloat16" }, () => b.forward(x));
  assert.equal(low.dtype, "bfloat16");
});

test("cached: each value once, and what is returned lives on", () => {
  const layer = new nn.Linear(3, 3);
  const symmetric = new Symmetric();
  parametrize.registerParametrization(layer, "weight", symmetric);
  symmetric.calls = 0;
  const weight = scope(() => {
    const first = parametrize.cached(() => {
      layer.call(x);
      layer.call(x);
      assert.equal(layer.weight, layer.weight);
      return parametrize.cached(() => layer.weight);
    });
    assert.equal(symmetric.calls, 1);
    return first;
  });
  assert.ok(weight.equal(layer.weight));
  assert.equal(symmetric.calls, 2);
  const both = parametrize.registerParametrization(layer, "bias", new nn.Identity());
  const bias = parametrize.cached(() => scope(() => both.bias));
  assert.equal(bias, both.parametrizations["bias"]?.original); // its own, not a copy
  assert.equal(bias?.disposed, false);
});

test("steps leave nothing behind", () => {
  const net = new nn.Sequential(
    parametrizations.orthogonal(new nn.Linear(3, 3)),
    parametrizations.weightNorm(new nn.Linear(3, 3)),
    parametrizations.spectralNorm(new nn.Linear(3, 3)),
    weightNorm(new nn.Linear(3, 3)),
    spectralNorm(new nn.Linear(3, 3)),
    nn.utils.prune.l1Unstructured(new nn.Linear(3, 3), "weight", 2),
  );
  const step = (): void => {
    scope(() => {
      parametrize.cached(() => net.call(x).sum()).backward();
    });
    net.zeroGrad();
  };
  step();
  const before = memory().tensors;
  step();
  step();
  assert.equal(memory().tensors, before);
});

test("transferred parametrizations share what is learned", () => {
  const from = parametrizations.weightNorm(new nn.Linear(3, 3));
  const to = new nn.Linear(3, 3);
  assert.equal(parametrize.transferParametrizationsAndParams(from, to), to);
  assert.ok(from.weight.equal(to.weight));
  noGrad(() => from.parametrizations.weight?.originals()[0]?.mul_(2));
  assert.ok(from.weight.equal(to.weight));
});

test("a copy has tensors of its own, and is made plain alone", () => {
  const plain = (weight: Tensor): unknown => weight.tolist();
  for (const [make, remove] of [
    [() => parametrizations.orthogonal(new nn.Linear(3, 3)), (m) => parametrize.removeParametrizations(m, "weight")],
    [
      () => parametrizations.spectralNorm(new nn.Linear(3, 3)).eval(),
      (m) => parametrize.removeParametrizations(m, "weight"),
    ],
    [() => weightNorm(new nn.Linear(3, 3)), (m) => removeWeightNorm(m)],
    [() => spectralNorm(new nn.Linear(3, 3)), (m) => removeSpectralNorm(m)],
    [() => nn.utils.prune.l1Unstructured(new nn.Linear(3, 3), "weight", 2), (m) => nn.utils.prune.remove(m, "weight")],
  ] as readonly (readonly [() => nn.Linear, (m: nn.Linear) => unknown])[]) {
    const layer = make();
    const copy = layer.clone();
    const before = plain(layer.weight);
    assert.deepEqual(plain(copy.weight), before);
    noGrad(() => copy.parameters().forEach((p) => p.mul_(3).add_(1)));
    assert.deepEqual(plain(layer.weight), before);
    remove(copy);
    assert.deepEqual([...copy.stateDict().keys()].sort(), ["bias", "weight"]);
    assert.deepEqual(plain(layer.weight), before);
    assert.ok([...layer.stateDict().keys()].length > 2);
    remove(layer);
    assert.deepEqual([...layer.stateDict().keys()].sort(), ["bias", "weight"]);
  }
});

test("what cannot be parametrized, assigned or removed is refused", () => {
  const layer = new nn.Linear(3, 3);
  refused(
    () => parametrize.registerParametrization(layer, "weights", new Symmetric()),
    /a parameter or a buffer of Linear/,
  );
  refused(() => parametrize.registerParametrization(layer, "weight", new Grown()), /to keep its shape \(\[3, 3\]\)/);
  assert.equal(parametrize.isParametrized(layer), false);
  parametrize.registerParametrization(layer, "weight", new Grown(), { unsafe: true });
  assert.deepEqual([...layer.weight.shape], [6, 3]);
  refused(() => Reflect.set(layer, "weight", zeros([6, 3])), /parametrizations that have a rightInverse/);
  refused(() => parametrize.removeParametrizations(layer, "bias"), /tensorName to be parametrized/);
  const normed = parametrizations.weightNorm(new nn.Linear(3, 3));
  refused(() => parametrize.removeParametrizations(normed, "weight", false), /leaveParametrized to be true/);
  refused(() => parametrizations.orthogonal(new nn.Linear(3, 3), "bias"), /a matrix, or a batch of them/);
  refused(
    () => parametrizations.orthogonal(new nn.Linear(3, 3), { orthogonalMap: "qr" as "cayley" }),
    /one of matrixExp, cayley/,
  );
  refused(() => parametrizations.spectralNorm(new nn.Linear(3, 3), { dim: 2 }), /dim from -2 to 1/);
  refused(() => weightNorm(weightNorm(new nn.Linear(3, 3))), /not normalized yet/);
  refused(() => removeWeightNorm(new nn.Linear(3, 3)), /name to be normalized by weightNorm/);
  refused(() => removeSpectralNorm(new nn.Linear(3, 3)), /name to be normalized by spectralNorm/);
  refused(() => spectralNorm(new nn.Linear(3, 3), "w"), /a parameter of Linear \(weight, bias\)/);
});

test("the older spectralNorm iterates once per forward in training, by call or not, and not when it is read", () => {
  const layer = spectralNorm(new nn.Linear(3, 4));
  const u = (): Tensor => Reflect.get(layer, "weightU") as Tensor;
  const values = (): unknown => u().tolist();
  const first = values();
  assert.equal(layer.weight.equal(layer.weight), true);
  assert.deepEqual(values(), first);
  layer.forward(x);
  assert.notDeepEqual(values(), first);
  const second = values();
  layer.call(x);
  assert.notDeepEqual(values(), second);
  layer.eval();
  const third = values();
  layer.forward(x);
  assert.deepEqual(values(), third);
  removeSpectralNorm(layer);
  assert.equal(Object.hasOwn(layer, "forward"), false);
});

test("names may be PyTorch's, and a field of one's own keeps its key", () => {
  class Net extends nn.Module {
    readonly inProj = new nn.Parameter(ones([3, 3]));
    forward(given: Tensor): Tensor {
      return given.matmul(this.inProj);
    }
  }
  const net = weightNorm(new Net(), "in_proj");
  assert.deepEqual([...net.stateDict().keys()], ["in_proj_g", "in_proj_v"]);
  const other = parametrizations.weightNorm(new Net(), "in_proj");
  assert.deepEqual(
    [...other.stateDict().keys()],
    ["parametrizations.in_proj.original0", "parametrizations.in_proj.original1"],
  );
  assert.ok(other.forward(x).sub(net.forward(x)).abs().max().item() < 1e-6);
});

test("state dicts of the older weightNorm are read", () => {
  const [older, newer] = [weightNorm(new nn.Linear(3, 4)), parametrizations.weightNorm(new nn.Linear(3, 4))];
  newer.loadStateDict(older.stateDict());
  assert.ok(newer.weight.equal(older.weight));
  const net = new nn.Sequential(parametrizations.weightNorm(new nn.Linear(3, 4)));
  net.loadStateDict(new nn.Sequential(older).stateDict());
  assert.ok(net.forward(x).equal(older.forward(x)));
});

test("skipInit: memory, and no numbers drawn", () => {
  manualSeed(5);
  const next = rand([1]).item();
  manualSeed(5);
  const layer = nn.utils.skipInit(nn.Linear, 3, 4, { bias: false, dtype: "float64" });
  assert.equal(rand([1]).item(), next);
  assert.deepEqual([layer.weight.device.type, layer.weight.dtype, layer.bias], ["cpu", "float64", null]);
  assert.ok(layer.weight instanceof nn.Parameter && layer.weight.requiresGrad);
  const meta = nn.utils.skipInit(nn.Conv1d, 3, 4, 1, { device: "meta" });
  assert.equal(meta.weight.device.type, "meta");
  refused(() => nn.utils.skipInit(nn.ReLU as never), /device/);
  refused(() => nn.utils.skipInit((() => 1) as never), /a class of modules/);
});

test("weights of convolutions in another memory format keep their identity", () => {
  const net = new nn.Sequential(new nn.Conv2d(3, 4, 3), new nn.ConvTranspose2d(4, 3, 3), new nn.Linear(2, 2));
  const parameters = net.parameters();
  const before = net.stateDict().get("0.weight")?.clone();
  assert.equal(nn.utils.convertConv2dWeightMemoryFormat(net, "channels_last"), net);
  assert.deepEqual(net.parameters(), parameters);
  assert.deepEqual(
    [0, 2, 4].map((i) => parameters[i]?.isContiguous()),
    [false, false, true],
  );
  assert.ok(before !== undefined && parameters[0]?.equal(before));
  refused(() => nn.utils.convertConv3dWeightMemoryFormat(net, "channels" as "channelsLast"), /one of channelsLast/);
});
