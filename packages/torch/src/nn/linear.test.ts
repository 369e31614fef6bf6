import assert from "node:assert/strict";
import { test } from "node:test";
import {
  autocast,
  grad,
  inferenceMode,
  memory,
  nn,
  noGrad,
  ones,
  randn,
  scope,
  seedEverything,
  traceOperators,
  type DType,
  type Tensor,
} from "../index.js";
import { native } from "../native.js";

const { linear } = nn.functional;
const bits = (t: Tensor): string =>
  `${t.dtype} [${t.shape.join(", ")}] ${t.stride().join(",")} ${Buffer.from(t.detach().contiguous().toBytes()).toString("base64")}`;

/** As libtorch composes it of a view, a transposition, a product and a view. */
function composed<T>(fn: () => T): T {
  native.setLinearNode(false);
  try {
    return fn();
  } finally {
    native.setLinearNode(true);
  }
}

const INPUTS: Readonly<Record<string, () => Tensor>> = {
  "[5, 6]": () => randn([5, 6]),
  "[1, 6]": () => randn([1, 6]),
  "[3, 4, 6]": () => randn([3, 4, 6]),
  "[1, 1, 6]": () => randn([1, 1, 6]),
  "[2, 2, 3, 6]": () => randn([2, 2, 3, 6]),
  "[6]": () => randn([6]),
  "[5, 6], transposed": () => randn([6, 5]).t(),
  "[4, 3, 6], every second row": () => randn([4, 6, 6]).slice(1, 0, 6, 2),
  "[0, 6]": () => randn([0, 6]),
};
for (const dtype of ["float32", "float64", "bfloat16"] satisfies DType[])
  test(`linear: output and gradients equal libtorch's composition, bit for bit and in layout: ${dtype}`, () => {
    seedEverything(1);
    for (const [name, make] of Object.entries(INPUTS))
      for (const hasBias of [true, false])
        for (const wanted of [
          [true, true],
          [false, true],
          [true, false],
        ] as const)
          scope(() => {
            const x = make().to(dtype).requiresGrad_(wanted[0]);
            const weight = randn([7, 6]).to(dtype).requiresGrad_(wanted[1]);
            const bias = hasBias ? randn([7]).to(dtype).requiresGrad_(wanted[1]) : null;
            const along = randn([...x.shape.slice(0, -1), 7]).to(dtype);
            const inputs = [x, weight, ...(bias === null ? [] : [bias])].filter((t) => t.requiresGrad);
            const run = (): string[] => {
              const y = linear(x, weight, bias);
              // One gradient that is dense, and one that is a single number seen everywhere.
              return [y, ...grad(y.mul(along).sum(), inputs), ...grad(linear(x, weight, bias).sum(), inputs)].map(bits);
            };
            assert.deepEqual(run(), composed(run), `${name}, bias ${String(hasBias)}, gradients of ${String(wanted)}`);
          });
  });

test("linear: the graph has one node where libtorch's has four, and only the products run in backward", () =>
  scope(() => {
    seedEverything(2);
    const layer = new nn.Linear(4, 3);
    const x = randn([2, 5, 4]).requiresGrad_();
    const nodes = (): string[] =>
      traceOperators(() => layer.forward(x).sum().backward())
        .events.filter((e) => e.scope === "backward")
        .map((e) => e.name)
        .filter((name) => /^[A-Z]\w*Backward\d$/.test(name));
    assert.deepEqual(nodes(), ["SumBackward0", "AddmmBackward0"]);
    assert.deepEqual(
      composed(nodes).sort(),
      ["AddmmBackward0", "SumBackward0", "TBackward0", "ViewBackward0", "ViewBackward0"].sort(),
    );
    assert.equal(layer.forward(x).gradFn, "AddmmBackward0");
    assert.equal(linear(x, layer.weight).gradFn, "MmBackward0");
  }));

test("linear: under autocast both ways compute the same", () =>
  scope(() => {
    seedEverything(3);
    const layer = new nn.Linear(6, 6);
    const x = randn([2, 3, 6]).requiresGrad_();
    const run = (): string[] => {
      const y = autocast({ deviceType: "cpu", dtype: "bfloat16" }, () => layer.forward(layer.forward(x)));
      assert.equal(y.dtype, "bfloat16");
      return [y, ...grad(y.pow(2).sum(), [x, ...layer.parameters()])].map(bits);
    };
    assert.deepEqual(run(), composed(run));
  }));

test("linear: second gradients agree with the composition's", () =>
  scope(() => {
    seedEverything(4);
    for (const shape of [
      [5, 6],
      [2, 3, 6],
    ]) {
      const x = randn(shape, { dtype: "float64" }).requiresGrad_();
      const weight = randn([4, 6], { dtype: "float64" }).requiresGrad_();
      const bias = randn([4], { dtype: "float64" }).requiresGrad_();
      const run = (): Tensor[] => {
        const first = grad(linear(x, weight, bias).pow(3).sum(), [x, weight, bias], { createGraph: true });
        return grad(
          first.map((g) => g.pow(2).sum()).reduce((a, b) => a.add(b)),
          [x, weight, bias],
        );
      };
      const plain = composed(run);
      run().forEach((g, i) =>
        assert.ok(
          g
            .sub(plain[i] as Tensor)
            .abs()
            .max()
            .item() <=
            1e-9 * (plain[i] as Tensor).abs().max().item(),
        ),
      );
    }
  }));

test("linear: a weight used three times collects the same sum, in the same order", () =>
  scope(() => {
    seedEverything(5);
    const layer = new nn.Linear(8, 8);
    const x = randn([4, 8]);
    const run = (): string[] => {
      layer.zeroGrad();
      layer
        .forward(layer.forward(layer.forward(x).tanh()).tanh())
        .sum()
        .backward();
      return layer.parameters().map((p) => bits(p.grad as Tensor));
    };
    assert.deepEqual(run(), composed(run));
  }));

test("linear: a second backward, a weight changed in between, and wrong shapes are errors; nothing leaks", () => {
  seedEverything(6);
  const layer = new nn.Linear(4, 4);
  const x = ones([2, 4]);
  const before = memory().unreleased;
  scope(() => {
    const loss = layer.forward(layer.forward(x)).sum();
    grad(loss, [layer.weight], { retainGraph: true });
    grad(loss, [layer.weight]);
    assert.throws(() => grad(loss, [layer.weight]), /backward through the graph a second time/);
    const stale = layer.forward(layer.forward(x)).sum();
    noGrad(() => layer.weight.mul_(2));
    assert.throws(() => grad(stale, [layer.weight]), /modified by an inplace operation/);
    const refusal = (): string => {
      try {
        layer.forward(ones([2, 3]));
        return "none";
      } catch (error) {
        return (error as Error).message;
      }
    };
    assert.match(refusal(), /mat1 and mat2 shapes cannot be multiplied \(2x3 and 4x4\)/);
    assert.equal(refusal(), composed(refusal));
  });
  assert.equal(memory().unreleased, before);
  assert.equal(
    scope(() => inferenceMode(() => layer.forward(x).gradFn)),
    null,
  );
});
