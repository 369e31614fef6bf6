import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@nbit/torch";
import { func, manualSeed, nn, ones, onesLike, rand, randn, stack, tensor, zeros, type Tensor } from "@nbit/torch";

const close = (a: Tensor, b: Tensor, tolerance = 1e-5): void => {
  assert.deepEqual([a.shape, a.dtype], [b.shape, b.dtype]);
  assert.ok(torch.allclose(a, b, { rtol: tolerance, atol: tolerance }), `${a} against ${b}`);
};
const loop = (f: (...each: Tensor[]) => Tensor, ...batch: Tensor[]): Tensor =>
  stack(Array.from({ length: batch[0]?.size(0) ?? 0 }, (_, i) => f(...batch.map((t) => t.select(0, i)))));

// ---------------------------------------------------------------- vmap

test("vmap computes all samples as a loop over them does", () => {
  manualSeed(0);
  const [a, b] = [randn([5, 3]), randn([5, 3])];
  const dot = (x: Tensor, y: Tensor): Tensor => x.dot(y);
  close(func.vmap(dot)(a, b), loop(dot as never, a, b));
  assert.deepEqual(func.vmap((x: Tensor) => x.shape.length, 0, null)(a), 1);
  const lstsq = (x: Tensor): Tensor => torch.linalg.inv(x.matmul(x.T).add(torch.eye(3))).sum(0);
  const x = randn([4, 3, 3]);
  close(func.vmap(lstsq)(x), loop(lstsq, x), 1e-4);
  const layers = new nn.Sequential(new nn.Linear(3, 8), new nn.GELU(), new nn.LayerNorm(8), new nn.Linear(8, 2));
  close(func.vmap((row: Tensor) => layers.forward(row) as Tensor)(a), layers.forward(a) as Tensor);
  const conv = new nn.Conv2d(2, 3, 3, { padding: 1 });
  const images = randn([4, 2, 6, 6]);
  close(func.vmap((image: Tensor) => conv.forward(image))(images), conv.forward(images));
});

test("inDims and outDims choose dimensions in arguments and results of any structure", () => {
  const x = randn([2, 5]);
  const w = randn([2]);
  close(func.vmap((c: Tensor, v: Tensor) => c.dot(v), [1, null])(x, w), x.T.matmul(w));
  close(func.vmap((c: Tensor) => c.mul(2), -1, 1)(x), x.mul(2));
  const both = func.vmap(
    ({ a, list }: { a: Tensor; list: readonly Tensor[] }) => ({ sum: a.add(list[0] as Tensor), all: [a, w] }),
    [{ a: 0, list: [1] }],
    { sum: 1, all: [0, null] },
  );
  const y = randn([5, 2]);
  const found = both({ a: y, list: [x] });
  close(found.sum, y.add(x.T).T);
  close(found.all[0] as Tensor, y);
  close(found.all[1] as Tensor, w);
  // What does not depend on a sample is repeated.
  assert.deepEqual(
    func
      .vmap((_: Tensor) => tensor([1, 2]))(y)
      .tolist(),
    Array.from({ length: 5 }, () => [1, 2]),
  );
  assert.deepEqual(func.vmap((t: Tensor) => t.add(1))(zeros([0, 3])).shape, [0, 3]);
});

test("vmap in vmap, and in parts", () => {
  const [a, b] = [randn([4, 3]), randn([5, 3])];
  const products = func.vmap((x: Tensor) => func.vmap((y: Tensor) => x.dot(y))(b))(a);
  close(products, a.matmul(b.T));
  for (const chunkSize of [1, 3, 4, 9])
    close(func.vmap((x: Tensor) => x.sin().sum(), { chunkSize })(a), a.sin().sum(1));
  close(func.vmap((x: Tensor) => x.sin(), 0, 1, { chunkSize: 2 })(a), a.sin().T);
});

test("randomness is an error, the same, or different, as it says", () => {
  const x = zeros([3, 4]);
  const noisy = (t: Tensor): Tensor => t.add(torch.randnLike(t));
  assert.throws(() => func.vmap(noisy)(x), /random/i);
  const rows = (t: Tensor): number => new Set((t.tolist() as number[][]).map(String)).size;
  assert.equal(rows(func.vmap((_: Tensor) => rand([4]), { randomness: "same" })(x)), 1);
  assert.equal(rows(func.vmap((_: Tensor) => rand([4]), { randomness: "same", chunkSize: 1 })(x)), 1);
  assert.equal(rows(func.vmap(noisy, 0, 0, "different")(x)), 3);
  const dropout = new nn.Dropout(0.5);
  assert.equal(
    rows(func.vmap((t: Tensor) => dropout.forward(t.add(torch.arange(1, 5))), 0, 0, "different")(x)) > 1,
    true,
  );
});

test("what vmap cannot do is an error with a code, and nothing stays switched on", () => {
  const x = randn([3, 2]);
  const codes: readonly [() => unknown, RegExp | { code: string }][] = [
    [() => func.vmap((t: Tensor) => t.sum().item(), 0, null)(x), /item/],
    [() => func.vmap((t: Tensor) => t.tolist() as never)(x), { code: "ERR_FUNC_TRANSFORM" }],
    [() => func.vmap((t?: Tensor) => t)(), /called with arguments/],
    [() => func.vmap((t: Tensor) => t)(3 as never), /to be tensors/],
    [() => func.vmap((t: Tensor) => t, 2)(x), /-2 ≤ dim < 2/],
    [() => func.vmap((t: Tensor) => t, [0, 0])(x), /inDims of the structure of the arguments, \[·\]/],
    [() => func.vmap((t: Tensor) => t, [null])(x), /at least one tensor to map over/],
    [() => func.vmap((t: Tensor, u: Tensor) => t.add(u))(x, randn([4, 2])), /the same size of all/],
    [() => func.vmap((t: Tensor) => t, 0, null)(x), /differs among samples/],
    [() => func.vmap((_: Tensor) => 3 as never)(x), /func to return tensors/],
    [() => func.vmap((t: Tensor) => [t, t], 0, [0])(x), /outDims of the structure of the results, \[·, ·\]/],
    [() => func.vmap((t: Tensor) => t, 0, 5)(x), /outDims with -2 ≤ dim < 2/],
    [() => func.vmap((t: Tensor) => Promise.resolve(t) as never)(x), { code: "ERR_ASYNC_MODE" }],
    [() => func.vmap((t: Tensor) => t, { chunks: 1 } as never), /options among func, inDims/],
    [() => func.vmap((t: Tensor) => Doubled.apply(t))(x), { code: "ERR_FUNC_TRANSFORM" }],
    [() => func.vmap((t: Tensor) => ones([2]).add_(t))(x), { code: "TORCH" }],
  ];
  class Doubled extends torch.AutogradFunction {
    static forward(_: torch.FunctionContext, t: Tensor): Tensor {
      return t.mul(2);
    }
    static backward(_: torch.FunctionContext, g: Tensor): Tensor {
      return g.mul(2);
    }
  }
  for (const [run, expected] of codes) {
    assert.throws(run, expected);
    assert.deepEqual(x.add(1).shape, [3, 2]);
    assert.equal(x.sum().ndim, 0);
  }
  // What escapes is of no use, and ends nothing.
  let escaped: Tensor | undefined;
  func.vmap((t: Tensor) => {
    escaped = torch.keep(t.mul(2));
    return t;
  })(x);
  assert.throws(() => escaped?.tolist());
  assert.throws(() => escaped?.add(1).tolist());
});

// ---------------------------------------------------------------- grad

test("grad is the derivative, also of itself, by any argument and in any structure", () => {
  const x = tensor(0.7);
  close(func.grad((t: Tensor) => t.sin())(x), x.cos());
  close(func.grad(func.grad((t: Tensor) => t.sin()))(x), x.sin().neg());
  close(func.grad(func.grad(func.grad((t: Tensor) => t.exp())))(x), x.exp());
  const f = (a: Tensor, { w, rest }: { w: Tensor; rest: readonly Tensor[] }): Tensor =>
    a
      .mul(w)
      .sum()
      .add((rest[0] as Tensor).pow(2).sum());
  const [a, w, r] = [randn([3]), randn([3]), randn([2])];
  const byWeights = func.grad(f, 1)(a, { w, rest: [r] }) as unknown as { w: Tensor; rest: Tensor[] };
  close(byWeights.w, a);
  close(byWeights.rest[0] as Tensor, r.mul(2));
  const [byA] = func.grad(f, [0, -1])(a, { w, rest: [r] }) as unknown as [Tensor];
  close(byA, w);
  // Zeros where nothing depends on it; and no graph is left behind.
  const none = func.grad((t: Tensor, u: Tensor) => u.sum().add(t.detach().sum()))(a, w);
  assert.deepEqual([none.tolist(), none.requiresGrad], [[0, 0, 0], false]);
});

test("gradAndValue gives both, and what comes along", () => {
  const x = randn([3]);
  const [g, v] = func.gradAndValue((t: Tensor) => t.pow(2).sum())(x);
  close(g, x.mul(2));
  close(v, x.pow(2).sum());
  const [h, [value, aux]] = func.gradAndValue<[Tensor], Tensor, [Tensor, Tensor]>(
    (t: Tensor) => [t.pow(2).sum(), t.exp()],
    { hasAux: true },
  )(x);
  close(h, x.mul(2));
  close(value, v);
  close(aux, x.exp());
  const [gradient, along] = func.grad<[Tensor], [Tensor, Tensor]>((t: Tensor) => [t.sum(), t], 0, true)(x);
  close(gradient, onesLike(x));
  close(along, x);
});

test("noGrad around a transform does not change it, inside of it does; leaves outside get no gradient", () => {
  const x = tensor([1, 2], { requiresGrad: true, dtype: "float32" });
  const f = (t: Tensor): Tensor =>
    t
      .pow(2)
      .sum()
      .sub(torch.noGrad(() => t.pow(3).sum()));
  close(
    torch.noGrad(() => func.grad(f)(x)),
    x.detach().mul(2),
  );
  assert.equal(x.grad, null);
  // What is outside goes on: the gradient is differentiable by x.
  const g = func.grad((t: Tensor) => t.pow(3).sum())(x);
  assert.equal(g.requiresGrad, true);
  g.sum().backward();
  close(x.grad as unknown as Tensor, x.detach().mul(6));
});

test("a gradient for each sample, and for each model of an ensemble", () => {
  manualSeed(1);
  const net = new nn.Sequential(new nn.Linear(3, 4), new nn.Tanh(), new nn.Linear(4, 2));
  const [x, y] = [randn([6, 3]), tensor([0, 1, 1, 0, 1, 0], { dtype: "int64" })];
  const weights = Object.fromEntries([...net.namedParameters()].map(([name, p]) => [name, p.detach()]));
  const lossOf = (w: Record<string, Tensor>, sample: Tensor, target: Tensor): Tensor =>
    nn.functional.crossEntropy(func.functionalCall(net, w, sample.unsqueeze(0)) as Tensor, target.unsqueeze(0));
  const each = func.vmap(func.grad(lossOf), [null, 0, 0])(weights, x, y) as Record<string, Tensor>;
  for (let i = 0; i < 6; i++) {
    net.zeroGrad();
    nn.functional.crossEntropy(net.forward(x.narrow(0, i, 1)) as Tensor, y.narrow(0, i, 1)).backward();
    for (const [name, p] of net.namedParameters()) close((each[name] as Tensor).select(0, i), p.grad as Tensor);
  }
  const models = [1, 2, 3].map(() => new nn.Linear(3, 2));
  const [parameters, buffers] = func.stackModuleState(models);
  const base = models[0] as nn.Linear;
  const outputs = func.vmap(
    (p: Record<string, Tensor>, b: Record<string, Tensor>, t: Tensor) => func.functionalCall(base, [p, b], t) as Tensor,
    [0, 0, null],
  )(parameters, buffers, x);
  close(outputs, stack(models.map((model) => model.forward(x))));
});

// ---------------------------------------------------------------- vjp, jvp

test("vjp and jvp multiply by the Jacobian from either side", () => {
  const [x, w] = [randn([3]), randn([2, 3])];
  const f = (t: Tensor, m: Tensor): readonly Tensor[] => [m.matmul(t).sin(), t.mul(2)];
  const [[y] = [], back] = func.vjp(f, x, w);
  close(y as Tensor, w.matmul(x).sin());
  const v = randn([2]);
  const [gx, gw] = back([v, zeros([3])]);
  const inner = v.mul(w.matmul(x).cos());
  close(gx, w.T.matmul(inner));
  close(gw, inner.outer(x));
  close(back([v, ones([3])])[0], w.T.matmul(inner).add(2));
  assert.throws(() => back(v), /cotangents of the structure \[·, ·\]/);
  const [out, along, aux] = func.vjp((t: Tensor) => [t.exp(), t] as const, x, { hasAux: true } as never) as unknown as [
    Tensor,
    (c: Tensor) => [Tensor],
    Tensor,
  ];
  close(out, x.exp());
  close(along(onesLike(x))[0], x.exp());
  close(aux, x);

  const d = randn([3]);
  const [value, tangent] = func.jvp(f, [x, w], [d, zeros([2, 3])]);
  close((value as readonly Tensor[])[0] as Tensor, w.matmul(x).sin());
  close((tangent as readonly Tensor[])[0] as Tensor, w.matmul(x).cos().mul(w.matmul(d)));
  const constant = (): Tensor => tensor([1]);
  assert.deepEqual((func.jvp(constant as never, [x] as never, [d] as never)[1] as Tensor).tolist(), [0]);
  assert.throws(
    () => func.jvp(constant as never, [x] as never, [d] as never, { strict: true }),
    /an output that depends on the inputs/,
  );
  assert.throws(() => func.jvp((t: Tensor) => t, [x], [] as never), /tangents of the structure of the primals/);
  const [same, linear] = func.linearize((t: Tensor) => t.sin(), x);
  close(same, x.sin());
  close(linear(d), x.cos().mul(d));
});

test("forward over reverse, reverse over forward, and both under vmap", () => {
  const x = randn([3], { dtype: "float64" });
  const v = randn([3], { dtype: "float64" });
  const f = (t: Tensor): Tensor => t.pow(3).sum();
  const hv = x.mul(6).mul(v);
  close(func.jvp(func.grad(f), [x], [v])[1] as Tensor, hv, 1e-10);
  close(func.grad((t: Tensor) => func.jvp(f, [t], [v])[1])(x), hv, 1e-10);
  const batch = randn([4, 3], { dtype: "float64" });
  close(func.vmap((t: Tensor) => func.jvp(func.grad(f), [t], [v])[1] as Tensor)(batch), batch.mul(6).mul(v), 1e-10);
  close(
    func.jvp((t: Tensor) => func.jvp((u: Tensor) => u.pow(3), [t], [v])[1], [x], [v])[1],
    x.mul(6).mul(v).mul(v),
    1e-10,
  );
});

// ---------------------------------------------------------------- Jacobians

test("jacrev, jacfwd and hessian", () => {
  const x = randn([3], { dtype: "float64" });
  const w = randn([2, 3], { dtype: "float64" });
  const f = (t: Tensor, m: Tensor): Tensor => m.matmul(t).sin();
  const expected = w.matmul(x).cos().unsqueeze(1).mul(w);
  close(func.jacrev(f)(x, w), expected, 1e-10);
  close(func.jacfwd(f)(x, w), expected, 1e-10);
  for (const chunkSize of [1, 2]) close(func.jacrev(f, { chunkSize })(x, w), expected, 1e-10);
  const [byX, byW] = func.jacrev(f, [0, 1])(x, w) as unknown as [Tensor, Tensor];
  const [forwardX, forwardW] = func.jacfwd(f, [0, 1])(x, w) as unknown as [Tensor, Tensor];
  close(byX, expected, 1e-10);
  close(forwardX, expected, 1e-10);
  assert.deepEqual(byW.shape, [2, 2, 3]);
  close(byW, forwardW, 1e-10);
  const several = func.jacrev((t: Tensor) => ({ a: t.sin(), b: [t.sum()] }))(x) as unknown as {
    a: Tensor;
    b: Tensor[];
  };
  close(several.a, torch.diag(x.cos()), 1e-10);
  close(several.b[0] as Tensor, ones([3], { dtype: "float64" }), 1e-10);
  const alike = func.jacfwd((t: Tensor) => ({ a: t.sin(), b: [t.sum()] }))(x) as unknown as { a: Tensor; b: Tensor[] };
  close(alike.a, several.a, 1e-10);
  close(alike.b[0] as Tensor, several.b[0] as Tensor, 1e-10);
  const pair = (t: Tensor): Tensor[] => [t.sin(), t.exp()];
  for (const [j, aux] of [
    func.jacrev<[Tensor], [Tensor, Tensor]>(pair, 0, { hasAux: true })(x),
    func.jacfwd<[Tensor], [Tensor, Tensor]>(pair, 0, true)(x),
  ]) {
    close(j, torch.diag(x.cos()), 1e-10);
    close(aux, x.exp(), 1e-10);
  }
  const h = torch.diag(x.sin().neg());
  close(func.hessian((t: Tensor) => t.sin().sum())(x), h, 1e-10);
  close(func.jacrev(func.jacrev((t: Tensor) => t.sin().sum()))(x), h, 1e-10);
  const batch = randn([4, 3], { dtype: "float64" });
  close(func.vmap(func.hessian((t: Tensor) => t.sin().sum()))(batch), torch.diagEmbed(batch.sin().neg()), 1e-10);
  assert.equal(func.jacrev(f)(x, w).requiresGrad, false);
  // A network, against the Jacobian that takes a backward for each row.
  const net = new nn.Sequential(new nn.Linear(3, 4), new nn.Tanh(), new nn.Linear(4, 2)).double();
  close(
    func.jacrev((t: Tensor) => net.forward(t) as Tensor)(x),
    torch.autograd.functional.jacobian((t) => net.forward(t) as Tensor, x) as Tensor,
    1e-10,
  );
});

test("derivatives of what has none are errors with a code", () => {
  const x = randn([3]);
  const cases: readonly [() => unknown, RegExp | { code: string }][] = [
    [() => func.grad((t: Tensor) => t)(x), /one number, a tensor of shape \[\]/],
    [() => func.grad((t: Tensor) => t.sum(), 1)(x), /argnums of the 1 arguments/],
    [() => func.grad((t: Tensor) => t.sum(), [0, 0])(x), /each once/],
    [() => func.grad((t: Tensor) => t.sum(), 0.5), /argnums/],
    [() => func.grad((t: Tensor) => t.sum())(tensor([1], { dtype: "int64" })), /floating or complex/],
    [() => func.grad((t: Tensor) => t.sum())(3 as never), /to be tensors/],
    [() => func.grad((t: Tensor) => t.sum(), { hasAux: true })(x), /\[output, aux\] under hasAux/],
    [() => func.vjp((t: Tensor) => t.gt(0), x), /floating or complex tensors/],
    [() => func.vjp(3 as never, x), /func to be a function/],
    [() => func.jacrev((t: Tensor) => torch.complex(t, t))(x), /real outputs/],
    [() => func.jacfwd((t: Tensor) => t)(torch.complex(x, x)), /real arguments/],
    [() => torch.inferenceMode(() => func.grad((t: Tensor) => t.sum())(x)), { code: "ERR_FUNC_TRANSFORM" }],
    [() => func.grad(...([(t: Tensor) => t.sum(), 0, true, 1] as never as [() => Tensor])), /hasAux/],
  ];
  for (const [run, expected] of cases) assert.throws(run, expected);
  assert.equal(x.add(1).ndim, 1);
});

test("debugUnwrap shows what a tensor inside of a transform holds", () => {
  const x = randn([3, 2]);
  func.vmap((t: Tensor) => {
    assert.deepEqual(func.debugUnwrap(t).shape, [3, 2]);
    return t;
  })(x);
  func.grad((t: Tensor) => {
    close(func.debugUnwrap(t), x);
    assert.deepEqual(func.debugUnwrap(t, { recurse: false }).tolist(), x.tolist());
    return t.sum();
  })(x);
  assert.equal(func.debugUnwrap(x).numel(), 6);
});

test("transforms leave no tensors behind", () => {
  const x = randn([3, 2]);
  const run = (): void =>
    void torch.scope(() => {
      func.vmap(func.grad((t: Tensor) => t.sin().sum()))(x);
      func.hessian((t: Tensor) => t.sin().sum())(x.select(0, 0));
      func.vmap((t: Tensor) => t.mul(2))(x);
    });
  run();
  const before = torch.memory().tensors;
  run();
  assert.equal(torch.memory().tensors, before);
});

// ---------------------------------------------------------------- the rest

test("rearrange", () => {
  const x = torch.arange(24).view([2, 3, 4]);
  assert.deepEqual(func.rearrange(x, "a b c -> c a b").tolist(), x.permute([2, 0, 1]).tolist());
  assert.deepEqual(func.rearrange(x, "a b c -> a (c b)").tolist(), x.transpose(1, 2).reshape([2, 12]).tolist());
  assert.deepEqual(
    func.rearrange(x, "a b (c d) -> (a d) 1 c b", { d: 2 }).tolist(),
    x.view([2, 3, 2, 2]).permute([0, 3, 2, 1]).reshape([4, 1, 2, 3]).tolist(),
  );
  assert.deepEqual(func.rearrange(x, "a ... -> ... a").shape, [3, 4, 2]);
  assert.deepEqual(func.rearrange(x, "a ... -> (... a)").shape, [24]);
  assert.deepEqual(func.rearrange([x, x], "n a b c -> a b (n c)").shape, [2, 3, 8]);
  const wrongs: readonly [string, Record<string, number>?][] = [
    ["a b c"],
    ["a b c -> a b"],
    ["a b b -> a b b"],
    ["a b -> b a"],
    ["a b (c d) -> a b c d"],
    ["a b (c d) -> a b c d", { c: 3 }],
    ["a b c -> a c b", { d: 3 }],
    ["a b c -> a (c b"],
  ];
  for (const [pattern, sizes] of wrongs)
    assert.throws(() => func.rearrange(x, pattern, sizes ?? {}), { code: "ERR_ARGUMENT" }, pattern);
});

test("replaceAllBatchNormModules_ takes running statistics away", () => {
  const net = new nn.Sequential(new nn.Conv2d(1, 2, 1), new nn.BatchNorm2d(2), new nn.InstanceNorm2d(2));
  assert.equal(func.replaceAllBatchNormModules_(net), net);
  assert.deepEqual([...net.stateDict().keys()], ["0.weight", "0.bias", "1.weight", "1.bias"]);
  net.eval();
  const x = randn([4, 1, 3, 3]);
  const y = func.vmap((t: Tensor) => net.forward(t.unsqueeze(0)) as Tensor, { randomness: "different" })(x);
  assert.deepEqual(y.shape, [4, 1, 2, 3, 3]);
});
