/** Derivatives of functions as a whole, checks of gradients, and where NaN comes from. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "../index.js";
import { autograd, tensor, type FunctionContext, type Tensor } from "../index.js";

const { functional } = autograd;
const leaf = (values: number[]): Tensor => tensor(values, { requiresGrad: true, dtype: "float64" });

test("jacobians and hessians, by output and by input", () => {
  const x = tensor([1, 2]);
  assert.deepEqual((functional.jacobian((t) => t.pow(2), x) as Tensor).tolist(), [
    [2, 0],
    [0, 4],
  ]);
  const [ja, jb] = functional.jacobian((a, b) => (a as Tensor).mul(b as Tensor), [x, tensor([3, 4])]) as Tensor[];
  assert.deepEqual(
    [ja?.tolist(), jb?.tolist()],
    [
      [
        [3, 0],
        [0, 4],
      ],
      [
        [1, 0],
        [0, 2],
      ],
    ],
  );
  const two = functional.jacobian((t) => [t, t.sum()], { inputs: x }) as Tensor[];
  assert.deepEqual(
    two.map((t) => t.shape),
    [[2, 2], [2]],
  );
  const both = functional.jacobian((a, b) => [a, b as Tensor], [x, tensor([3])]) as Tensor[][];
  assert.deepEqual(both[0]?.[1]?.tolist(), [[0], [0]]);
  assert.deepEqual((functional.hessian((t) => t.pow(3).sum(), x) as Tensor).tolist(), [
    [6, 0],
    [0, 12],
  ]);
  const h = functional.hessian((a, b) => (a as Tensor).mul(b as Tensor).sum(), [x, tensor([3, 4])]) as Tensor[][];
  assert.deepEqual(h[0]?.[1]?.tolist(), [
    [1, 0],
    [0, 1],
  ]);
});

test("products, with and without a graph of their own", () => {
  const x = tensor([1, 2]);
  const v = tensor([1, 10]);
  const cube = (t: Tensor): Tensor => t.pow(3);
  const total = (t: Tensor): Tensor => t.pow(3).sum();
  assert.deepEqual((functional.vjp(cube, x, v)[1] as Tensor).tolist(), [3, 120]);
  assert.deepEqual((functional.jvp(cube, x, v)[1] as Tensor).tolist(), [3, 120]);
  for (const product of [functional.vhp, functional.hvp]) {
    const [out, p] = product(total, x, v) as [Tensor, Tensor];
    assert.deepEqual([out.item(), p.tolist()], [9, [6, 120]]);
  }
  assert.deepEqual((functional.vjp(total, x)[1] as Tensor).tolist(), [3, 12]);
  const y = tensor([1, 2], { requiresGrad: true });
  const [, p] = functional.vjp(cube, y, v, { createGraph: true }) as [Tensor, Tensor];
  p.sum().backward();
  assert.deepEqual(y.grad?.tolist(), [6, 120]);
  assert.equal((functional.vjp(cube, y, v)[1] as Tensor).requiresGrad, false);
});

test("what is wrong with a function, its inputs or its vector", () => {
  const x = tensor([1, 2]);
  assert.throws(() => functional.hessian((t) => t, x), /hessian: expected func to return a tensor of one element/);
  assert.throws(() => functional.vjp((t) => t, x), /vjp: expected v, because there is more than one number/);
  assert.throws(() => functional.vjp((t) => t, x, tensor([1])), /vjp: expected v to have the shape \[2\]/);
  assert.throws(() => functional.jacobian(() => 3 as never, x), /expected func to return a tensor/);
  assert.throws(
    () => functional.jacobian(() => tensor([1]), x, { strict: true }),
    /expected output 0 to depend on input 0/,
  );
  assert.deepEqual((functional.jacobian(() => tensor([1]), x) as Tensor).tolist(), [[0, 0]]);
});

class Half extends torch.autograd.Function {
  static forward(ctx: FunctionContext, x: Tensor): Tensor {
    ctx.saveForBackward(x);
    return x.mul(x);
  }
  static backward(ctx: FunctionContext, g: Tensor): Tensor {
    return g.mul(ctx.saved(0)); // a factor of 2 is lacking
  }
}

test("gradcheck tells a wrong derivative with its place and both numbers", () => {
  const x = leaf([0.5, 2]);
  assert.equal(
    autograd.gradcheck((t: Tensor) => t.sin(), x),
    true,
  );
  assert.equal(
    autograd.gradcheck((t: Tensor, n: number) => t.mul(n), [x, 3]),
    true,
  );
  assert.throws(() => autograd.gradcheck((t: Tensor) => Half.apply(t), [x]), {
    code: "ERR_GRADCHECK",
    message:
      /^gradcheck: expected the derivative of output 0, element \[0\], by input 0, element \[0\], to be (1|0\.99)\S*, as differences say\. Received: 0\.5 from backward\.$/,
  });
  assert.equal(
    autograd.gradcheck((t: Tensor) => Half.apply(t), [x], { raiseException: false }),
    false,
  );
  assert.throws(
    () => autograd.gradcheck((t: Tensor) => t, [tensor([1])]),
    /at least one input that requires a gradient/,
  );
  const z = torch.randn([2], { dtype: "complex128", requiresGrad: true });
  assert.equal(
    autograd.gradcheck((t: Tensor) => t.exp(), [z]),
    true,
  );
  assert.ok(new autograd.GradcheckError("x") instanceof torch.NbitError);
});

test("gradgradcheck differentiates the gradients", () => {
  const [x, y] = [leaf([0.5, 2]), leaf([1, 3])];
  assert.equal(
    autograd.gradgradcheck((a: Tensor, b: Tensor) => a.pow(3).mul(b), [x, y]),
    true,
  );
  assert.equal(
    autograd.gradgradcheck((a: Tensor) => a.exp(), x, tensor([1, 2], { dtype: "float64" })),
    true,
  );
  assert.throws(() => autograd.gradgradcheck((a: Tensor) => a.exp(), x, { gradOutputs: 3 as never }), {
    code: "ERR_ARGUMENT",
  });
});

test("a NaN of a backward is told with its operator and the line that called it", () => {
  const x = tensor([0, 1], { requiresGrad: true });
  const step = (): void =>
    x
      .sqrt()
      .mul(tensor([0, 1]))
      .sum()
      .backward();
  step(); // nobody looks
  assert.throws(() => autograd.detectAnomaly(step), {
    code: "ERR_ANOMALY",
    message:
      /^SqrtBackward0 returned NaN, from gradients without any\. SqrtBackward0 comes from sqrt\. At .*derivatives\.test\.\w+:\d+:\d+/,
  });
  assert.equal(autograd.isAnomalyEnabled(), false);
  autograd.detectAnomaly(step, { checkNan: false });
  autograd.setDetectAnomaly(true);
  try {
    assert.equal(autograd.isAnomalyEnabled(), true);
    assert.throws(step, autograd.AnomalyError);
    assert.throws(
      () =>
        torch.grad(
          x
            .sqrt()
            .mul(tensor([0, 1]))
            .sum(),
          x,
        ),
      autograd.AnomalyError,
    );
    x.mul(2).sum().backward();
  } finally {
    autograd.setDetectAnomaly(false);
  }
  assert.throws(
    () =>
      autograd.detectAnomaly(() => {
        const y = x.exp();
        y.add_(1);
        y.sum().backward();
      }),
    /modified by an inplace operation[^]*ExpBackward0 comes from exp\. At /,
  );
  assert.throws(() => autograd.detectAnomaly(async () => 1), { code: "ERR_ASYNC_MODE" });
});

test("PyTorch's names of what stands at the top level, too", () => {
  assert.equal(autograd.Function, torch.AutogradFunction);
  assert.equal(autograd.graph.savedTensorsHooks, torch.savedTensorsHooks);
  assert.equal(autograd.graph.saveOnCpu, torch.saveOnCpu);
  assert.equal(autograd.grad, torch.grad);
  assert.equal(autograd.noGrad, torch.noGrad);
});
