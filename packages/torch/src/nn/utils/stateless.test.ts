import assert from "node:assert/strict";
import { test } from "node:test";
import { func, nn, ones, rand, tensor, zeros, type Tensor } from "../../index.js";

const { stateless, parametersToVector, vectorToParameters, clipGradNorm_ } = nn.utils;
const { functionalCall } = stateless;

class Tied extends nn.Module {
  readonly a = new nn.Linear(2, 2, { bias: false });
  readonly b = new nn.Linear(2, 2, { bias: false });
  readonly options: unknown[] = [];
  constructor() {
    super();
    Reflect.set(this.b, "weight", this.a.weight);
    this.registerBuffer("shift", ones([2]));
  }
  forward(x: Tensor, options?: { readonly twice: boolean }): Tensor {
    this.options.push(options);
    return this.b.forward(this.a.forward(x)).add(Reflect.get(this, "shift") as Tensor);
  }
}
const x = rand([3, 2]);

test("tensors stand in for parameters and buffers during the call only", () => {
  const net = new Tied();
  const before = net.forward(x);
  const eye = tensor([
    [1, 0],
    [0, 1],
  ]);
  const out = functionalCall(net, { "a.weight": eye, shift: zeros([2]) }, x) as Tensor;
  assert.ok(out.equal(x));
  assert.ok(net.forward(x).equal(before));
  assert.deepEqual([...net.stateDict().keys()], ["shift", "a.weight", "b.weight"]);
  const apart = functionalCall(
    net,
    new Map([["a.weight", eye]]),
    [x],
    { twice: true },
    { tieWeights: false },
  ) as Tensor;
  assert.ok(apart.equal(net.b.forward(x).add(1)));
  assert.deepEqual(net.options.at(-1), { twice: true });
  const joined = functionalCall(net, [{ "b.weight": eye }, { shift: zeros([2]) }], x, { strict: true }) as Tensor;
  assert.ok(joined.equal(x));
});

test("what does not fit is refused, and the module has its own tensors after an error", () => {
  const net = new Tied();
  const { weight } = net.a;
  const refused = (call: () => unknown, message: RegExp): void => assert.throws(call, { message });
  refused(
    () => functionalCall(net, { "a.weight": x, "b.weight": zeros([2, 2]) }, x),
    /one value for a\.weight, b\.weight/,
  );
  refused(() => functionalCall(net, [{ shift: x }, { shift: x }], x), /names in one of the dicts only/);
  refused(
    () => functionalCall(net, { "c.weight": x }, x, { strict: true }),
    /missing: a\.weight, b\.weight, shift; unexpected: c\.weight/,
  );
  refused(() => functionalCall(net, { shift: 3 as unknown as Tensor }, x), /tensors by name, also for shift/);
  assert.throws(() => functionalCall(net, { "a.weight": zeros([3, 3]) }, x));
  assert.equal(net.a.weight, weight);
  assert.equal(net.b.weight, weight);
});

test("a vector of all parameters, and back", () => {
  const net = new nn.Linear(2, 3);
  const vector = parametersToVector(net.parameters());
  vector.sum().backward();
  assert.deepEqual(net.bias?.grad?.tolist(), [1, 1, 1]);
  const { weight } = net;
  vectorToParameters(vector.detach().mul(2), net.parameters());
  assert.equal(net.weight, weight);
  assert.ok(parametersToVector(net.parameters()).equal(vector.mul(2)));
  assert.throws(() => vectorToParameters(ones([8]), net.parameters()), {
    message: /as many elements as the parameters \(9\)/,
  });
  assert.throws(() => parametersToVector([x, 3 as unknown as Tensor]), { message: /parameters to be tensors/ });
});

test("clipGradNorm_: no limit leaves gradients, and the norm alone comes back", () => {
  const p = new nn.Parameter(ones([2]));
  p.grad = tensor([3, 4]);
  assert.equal(clipGradNorm_(p, Infinity).item(), 5);
  assert.deepEqual(p.grad.tolist(), [3, 4]);
  assert.equal(clipGradNorm_({ parameters: [p], maxNorm: 0, normType: 1 }).item(), 7);
  assert.deepEqual(p.grad.tolist(), [0, 0]);
  p.grad = tensor([Infinity, 1]);
  assert.throws(() => clipGradNorm_(p, 1, { errorIfNonfinite: true }), { code: "NON_FINITE_NORM" });
  assert.throws(() => clipGradNorm_(p, -1), { code: "ERR_ARGUMENT", message: /maxNorm to be a number ≥ 0/ });
});

test("several modules of one class as one: stacked tensors, one call each", () => {
  const models = [0, 1, 2].map(() => new nn.Sequential(new nn.Linear(2, 3), new nn.BatchNorm1d(3)).eval());
  const [parameters, buffers] = func.stackModuleState(models);
  assert.deepEqual(Object.keys(parameters), ["0.weight", "0.bias", "1.weight", "1.bias"]);
  assert.deepEqual([...(parameters["0.weight"]?.shape ?? [])], [3, 3, 2]);
  assert.ok(Object.values(parameters).every((t) => t.isLeaf && t.requiresGrad));
  assert.deepEqual([...(buffers["1.num_batches_tracked"]?.shape ?? [])], [3]);
  models.forEach((model, i) => {
    const one = Object.fromEntries(
      Object.entries({ ...parameters, ...buffers }).map(([name, t]) => [name, t.select(0, i)]),
    );
    const out = func.functionalCall(models[0] as nn.Module, one, x) as Tensor;
    assert.ok(out.equal(model.forward(x)));
  });
  assert.throws(() => func.stackModuleState([]), { message: /at least one model/ });
  assert.throws(() => func.stackModuleState([models[0] as nn.Module, new nn.Linear(2, 2).eval()]), {
    message: /one class/,
  });
  assert.throws(() => func.stackModuleState([new nn.Linear(2, 2), new nn.Linear(2, 2).eval()]), {
    message: /one mode/,
  });
});
