/**
 * What nn.utils makes of small layers, from the same seed: keys, values, outputs, the losses of three steps, and what is
 * left when it is taken off again. The fixtures are made by make_utils.py.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { arange, isTensor, manualSeed, nn, noGrad, optim, randint, tensor, type Tensor } from "@nbit/torch";

type State = readonly (readonly [key: string, shape: readonly number[], values: readonly number[]])[];
interface Layer {
  readonly name: string;
  readonly shape: readonly number[];
  readonly repr: string;
  readonly initial: State;
  readonly parameters: readonly string[];
  readonly losses: readonly number[];
  readonly output: readonly number[];
  readonly trained: State;
  readonly after: number;
  readonly finished?: State;
  readonly finishedParameters?: readonly string[];
  readonly finishedOutput?: readonly number[];
}
interface Clipping {
  readonly name: "clipping";
  readonly clips: readonly {
    readonly normType: string;
    readonly total: readonly number[];
    readonly only: readonly number[];
    readonly grads: readonly (readonly number[])[];
  }[];
  readonly withNorm: readonly (readonly number[])[];
  readonly byValue: readonly (readonly number[])[];
  readonly vector: readonly number[];
}
interface Fused {
  readonly name: string;
  readonly shape: readonly number[];
  readonly state: State;
  readonly output: readonly number[];
  readonly requiresGrad: readonly boolean[];
}
interface Functional {
  readonly name: "functionalCall";
  readonly output: readonly number[];
  readonly grads: readonly (readonly number[])[];
}
const url = new URL("../../../parity/utils/utils.jsonl", import.meta.url);
const lines = readFileSync(url, "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as Layer | Fused | Clipping | Functional);
const lineOf = <T>(name: string): T => {
  const found = lines.find((line) => line.name === name);
  assert.ok(found !== undefined, name);
  return found as T;
};

const { parametrizations, parametrize, prune, weightNorm, removeWeightNorm, spectralNorm, removeSpectralNorm } =
  nn.utils;
type Model = nn.Module & { forward(x: Tensor): Tensor };
const numbers = (t: Tensor): number[] => t.detach().double().flatten().tolist() as number[];
function formula(shape: readonly number[]): Tensor {
  const n = shape.reduce((a, b) => a * b, 1);
  return arange(n, { dtype: "float64" })
    .mul(0.7)
    .add(0.3)
    .sin()
    .float()
    .reshape([...shape]);
}
function near(actual: readonly number[], expected: readonly number[], what: string): void {
  assert.equal(actual.length, expected.length, what);
  const size = Math.max(1, ...expected.map(Math.abs));
  actual.forEach((v, i) => {
    const e = expected[i] as number;
    assert.ok(v === e || Math.abs(v - e) <= 3e-6 * size, `${what} [${i}]: ${v} is not ${e}`);
  });
}
function sameState(module: nn.Module, expected: State, what: string): void {
  const state = module.stateDict();
  assert.deepEqual(
    [...state.keys()],
    expected.map(([key]) => key),
    what,
  );
  for (const [key, shape, values] of expected) {
    const value = state.get(key) as Tensor;
    assert.deepEqual([...value.shape], shape, `${what} ${key}`);
    near(numbers(value), values, `${what} ${key}`);
  }
}
const names = (module: nn.Module): string[] => Array.from(module.namedParameters(), ([name]) => name);

class Symmetric extends nn.Module {
  forward(x: Tensor): Tensor {
    return x.triu().add(x.triu(1).transpose(-1, -2));
  }
}
class Scaled extends nn.Module {
  forward(x: Tensor): Tensor {
    return x.mul(0.5);
  }
  rightInverse(x: Tensor): Tensor {
    return x.mul(2);
  }
}
class Again extends Scaled {}
const L = (i = 4, o = 3): nn.Linear => new nn.Linear(i, o);
const C = (): nn.Conv2d => new nn.Conv2d(2, 3, 3);

/** How each line was made, and what its end was. */
const LAYERS: Readonly<Record<string, readonly [make: () => Model, finish?: (module: Model) => void]>> = {
  weightNorm: [() => weightNorm(L()), (m) => removeWeightNorm(m)],
  "weightNorm of bias, dim null": [() => weightNorm(L(), "bias", null), (m) => removeWeightNorm(m, "bias")],
  "weightNorm of a convolution, dim 1": [() => weightNorm(C(), { dim: 1 }), (m) => removeWeightNorm(m)],
  spectralNorm: [() => spectralNorm(L()), (m) => removeSpectralNorm(m)],
  "spectralNorm of a convolution": [
    () => spectralNorm(C(), { nPowerIterations: 2, dim: 1 }),
    (m) => removeSpectralNorm(m),
  ],
  "spectralNorm of a transposed convolution": [() => spectralNorm(new nn.ConvTranspose2d(3, 2, 3))],
  "parametrizations.spectralNorm of a transposed convolution": [
    () => parametrizations.spectralNorm(new nn.ConvTranspose1d(3, 2, 3)),
  ],
  "parametrizations.weightNorm": [
    () => parametrizations.weightNorm(L()),
    (m) => parametrize.removeParametrizations(m, "weight"),
  ],
  "parametrizations.weightNorm, dim null": [() => parametrizations.weightNorm(L(), "weight", null)],
  "parametrizations.spectralNorm": [
    () => parametrizations.spectralNorm(L(), { nPowerIterations: 2 }),
    (m) => parametrize.removeParametrizations(m, "weight"),
  ],
  "parametrizations.spectralNorm of a convolution": [() => parametrizations.spectralNorm(C(), { dim: 1 })],
  "parametrizations.spectralNorm of a vector": [() => parametrizations.spectralNorm(L(), "bias")],
  ...Object.fromEntries(
    (
      [
        ["matrix_exp", 4, 4],
        ["cayley", 4, 4],
        ["householder", 4, 4],
        ["matrix_exp", 5, 3],
        ["cayley", 3, 5],
        ["householder", 5, 3],
        ["householder", 3, 5],
      ] as const
    ).flatMap(([orthogonalMap, i, o]) => [
      [
        `orthogonal, ${orthogonalMap}, ${o} by ${i}`,
        [
          () => parametrizations.orthogonal(L(i, o), { orthogonalMap }),
          (m: Model) => parametrize.removeParametrizations(m, "weight"),
        ],
      ] as const,
      [
        `orthogonal, ${orthogonalMap}, ${o} by ${i}, plain`,
        [() => parametrizations.orthogonal(L(i, o), "weight", orthogonalMap, { useTrivialization: false })],
      ] as const,
    ]),
  ),
  "orthogonal, default": [() => parametrizations.orthogonal(L(3, 5))],
  symmetric: [
    () => parametrize.registerParametrization(L(3, 3), "weight", new Symmetric()),
    (m) => parametrize.removeParametrizations(m, "weight"),
  ],
  "symmetric, left": [
    () => parametrize.registerParametrization(L(3, 3), "weight", new Symmetric()),
    (m) => parametrize.removeParametrizations(m, "weight", { leaveParametrized: false }),
  ],
  "two, and an assignment": [
    () => {
      const module = L(3, 3);
      parametrize.registerParametrization(module, "weight", new Scaled());
      parametrize.registerParametrization(module, "weight", new Again());
      parametrize.registerParametrization({ module, tensorName: "bias", parametrization: new Scaled() });
      noGrad(() => Reflect.set(module, "weight", formula([3, 3])));
      return module;
    },
    (m) => parametrize.removeParametrizations(m, "weight"),
  ],
  "prune.identity": [() => prune.identity(L(), "weight"), (m) => prune.remove(m, "weight")],
  "prune.randomUnstructured": [
    () => prune.randomUnstructured(L(), "weight", 0.3),
    (m) => prune.remove({ module: m, name: "weight" }),
  ],
  "prune.l1Unstructured": [() => prune.l1Unstructured(L(), "weight", 5), (m) => prune.remove(m, "weight")],
  "prune.l1Unstructured by scores": [
    () => prune.l1Unstructured(L(), "bias", { amount: 1, importanceScores: formula([3]) }),
    (m) => prune.remove(m, "bias"),
  ],
  "prune.randomStructured": [() => prune.randomStructured(C(), "weight", 0.5, 0), (m) => prune.remove(m, "weight")],
  "prune.lnStructured": [
    () => prune.lnStructured(C(), "weight", 0.34, { n: 2, dim: -1 }),
    (m) => prune.remove(m, "weight"),
  ],
  "prune.lnStructured, infinity": [
    () => prune.lnStructured(L(), "weight", 1, { n: Infinity, dim: 0 }),
    (m) => prune.remove(m, "weight"),
  ],
  "prune.customFromMask": [() => prune.customFromMask(L(), "bias", tensor([1, 0, 1])), (m) => prune.remove(m, "bias")],
  "prune twice, unstructured": [
    () => prune.randomUnstructured(prune.l1Unstructured(L(), "weight", 0.25), "weight", 0.5),
    (m) => prune.remove(m, "weight"),
  ],
  "prune twice, structured": [
    () => prune.lnStructured(prune.lnStructured(C(), "weight", 1, 1, 0), "weight", 0.5, 2, 0),
    (m) => prune.remove(m, "weight"),
  ],
  "prune thrice, mixed": [
    () =>
      prune.customFromMask(
        prune.randomStructured(prune.randomUnstructured(L(), "weight", 2), "weight", 1, 1),
        "weight",
        formula([3, 4]).gt(-0.8),
      ),
    (m) => prune.remove(m, "weight"),
  ],
  "prune.globalUnstructured": [
    () => {
      const [a, b] = [L(4, 3), L(3, 2)];
      const net = new nn.Sequential(a, b);
      prune.l1Unstructured(a, "weight", 2);
      prune.globalUnstructured(
        [
          [a, "weight"],
          [b, "weight"],
          [a, "bias"],
        ],
        { pruningMethod: prune.L1Unstructured, importanceScores: [[b, "weight", formula([2, 3])]], amount: 0.4 },
      );
      return net;
    },
    (m) => prune.remove((m as nn.Sequential)[1] as nn.Linear, "weight"),
  ],
};

/** A layer, the normalisation behind it, and the two as one. */
const FUSED: Readonly<Record<string, () => readonly [Model, nn.BatchNorm1d | nn.BatchNorm2d, () => Model]>> = {
  "fused Conv2d": () => {
    const [conv, bn] = [new nn.Conv2d(2, 3, 3, { bias: false }), new nn.BatchNorm2d(3)];
    return [conv, bn, () => nn.utils.fuseConvBnEval(conv, bn)];
  },
  "fused ConvTranspose1d": () => {
    const [conv, bn] = [new nn.ConvTranspose1d(2, 3, 3), new nn.BatchNorm1d(3, { affine: false })];
    return [conv, bn, () => nn.utils.fuseConvBnEval(conv, bn, { transpose: true })];
  },
  "fused Linear": () => {
    const [linear, bn] = [new nn.Linear(4, 3), new nn.BatchNorm1d(3, { eps: 0.1 })];
    return [linear, bn, () => nn.utils.fuseLinearBnEval(linear, bn)];
  },
  "fused Linear, one feature": () => {
    const [linear, bn] = [new nn.Linear(4, 3, { bias: false }), new nn.BatchNorm1d(1)];
    return [linear, bn, () => nn.utils.fuseLinearBnEval({ linear, bn })];
  },
};
for (const [name, make] of Object.entries(FUSED))
  test(name, () => {
    const expected = lineOf<Fused>(name);
    manualSeed(0);
    const [layer, bn, fuse] = make();
    const all = [...bn.parameters(), bn.runningMean as Tensor, bn.runningVar as Tensor];
    noGrad(() =>
      all.forEach((t, i) =>
        t.copy_(
          formula(t.shape)
            .mul(0.5)
            .add(1 + 0.1 * i),
        ),
      ),
    );
    assert.throws(fuse, { code: "ERR_ARGUMENT", message: /layers in evaluation/ });
    layer.eval();
    bn.eval();
    const fused = fuse();
    assert.notEqual(fused, layer);
    sameState(fused, expected.state, "fused");
    assert.deepEqual(
      fused.parameters().map((p) => p.requiresGrad),
      expected.requiresGrad,
    );
    const x = formula(expected.shape);
    near(numbers(fused.forward(x)), expected.output, "output");
    if (bn.numFeatures > 1) near(numbers(fused.forward(x)), numbers(bn.forward(layer.forward(x))), "the two");
  });

test("every line is made here", () => {
  assert.deepEqual(
    [...Object.keys(LAYERS), ...Object.keys(FUSED), "clipping", "functionalCall"],
    lines.map((line) => line.name),
  );
});

for (const [name, [make, finish]] of Object.entries(LAYERS))
  test(name, () => {
    const expected = lineOf<Layer>(name);
    manualSeed(0);
    const module = make();
    assert.equal(String(module), expected.repr);
    sameState(module, expected.initial, "at first");
    assert.deepEqual(names(module), expected.parameters);
    const x = formula(expected.shape);
    const optimizer = new optim.SGD(module.parameters(), { lr: 0.1 });
    const losses: number[] = [];
    for (let step = 0; step < 3; step++) {
      const loss = module.call(x).pow(2).mean();
      losses.push(loss.item());
      optimizer.zeroGrad();
      loss.backward();
      optimizer.step();
    }
    near(losses, expected.losses, "losses");
    module.eval();
    near(numbers(module.forward(x)), expected.output, "output");
    sameState(module, expected.trained, "trained");
    assert.equal(randint(0, 2 ** 31, [1], { dtype: "int64" }).item(), expected.after, "random numbers drawn");
    if (finish === undefined) return;
    finish(module);
    sameState(module, expected.finished ?? [], "finished");
    assert.deepEqual(names(module), expected.finishedParameters);
    near(numbers(module.forward(x)), expected.finishedOutput ?? [], "finished output");
  });

test("clipping, vectors, and a call with other tensors", () => {
  const expected = lineOf<Clipping>("clipping");
  const { utils } = nn;
  manualSeed(0);
  const net = new nn.Sequential(L(4, 3), L(3, 2));
  net
    .call(formula([5, 4]))
    .pow(2)
    .sum()
    .backward();
  const parameters = net.parameters();
  const grads = parameters.map((p) => (p.grad as Tensor).clone());
  const reset = (): void => parameters.forEach((p, i) => void (p.grad = (grads[i] as Tensor).clone()));
  const all = (): number[][] => parameters.map((p) => numbers(p.grad as Tensor));
  const nearAll = (found: readonly number[][], wanted: readonly (readonly number[])[]): void =>
    found.forEach((g, i) => near(g, wanted[i] ?? [], "gradient"));
  for (const clip of expected.clips) {
    reset();
    const normType = clip.normType === "inf" ? Infinity : Number(clip.normType);
    near(numbers(utils.clipGradNorm_(parameters, 0.5, normType)), clip.total, "norm");
    near(numbers(utils.getTotalNorm(grads, { normType })), clip.only, "norm alone");
    nearAll(all(), clip.grads);
  }
  reset();
  utils.clipGradsWithNorm_(parameters, 0.5, tensor(3));
  nearAll(all(), expected.withNorm);
  utils.clipGradValue_(parameters, { clipValue: 0.01 });
  nearAll(all(), expected.byValue);
  const vector = utils.parametersToVector(parameters);
  near(numbers(vector), expected.vector, "vector");

  const called = lineOf<Functional>("functionalCall");
  const given = { "0.weight": formula([3, 4]).requiresGrad_(), "1.bias": formula([2]).requiresGrad_() };
  const result = utils.stateless.functionalCall(net, given, [formula([5, 4])]);
  assert.ok(isTensor(result));
  near(numbers(result), called.output, "output");
  result.pow(2).sum().backward();
  Object.values(given).forEach((t, i) => near(numbers(t.grad as Tensor), called.grads[i] ?? [], "gradient"));
});
