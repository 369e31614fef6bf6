import assert from "node:assert/strict";
import { test } from "node:test";
import { ArgumentError, Complex, manualSeed, nn, ones, optim, randn, tensor, type Tensor } from "../index.js";

type Make = (params: optim.ParamsLike) => optim.Optimizer;
/** Each with options that are not the defaults. */
const MAKE: Readonly<Record<string, Make>> = {
  Adadelta: (p) => new optim.Adadelta(p, 0.5, { rho: 0.8, weightDecay: 0.1 }),
  Adafactor: (p) => new optim.Adafactor(p, { lr: 0.05, weightDecay: 0.1 }),
  Adagrad: (p) => new optim.Adagrad(p, 0.1, { lrDecay: 0.1, initialAccumulatorValue: 0.1 }),
  "Adagrad, fused": (p) => new optim.Adagrad(p, 0.1, { fused: true }),
  Adamax: (p) => new optim.Adamax(p, 0.05, [0.8, 0.9]),
  ASGD: (p) => new optim.ASGD(p, 0.1, { t0: 2, lambd: 0.1 }),
  Muon: (p) => new optim.Muon(p, { lr: 0.1, nsSteps: 2 }),
  NAdam: (p) => new optim.NAdam(p, 0.05, { momentumDecay: 0.1 }),
  RAdam: (p) => new optim.RAdam(p, 0.05, [0.8, 0.9]),
  RMSprop: (p) => new optim.RMSprop(p, { lr: 0.01, momentum: 0.5, centered: true }),
  Rprop: (p) => new optim.Rprop(p, 0.1, [0.4, 1.3]),
};
const bits = (t: Tensor): readonly number[] => Array.from(t.detach().float().toTypedArray() as Float32Array);

function trained(
  make: Make,
  dtype: "float32" | "bfloat16",
  steps: number,
  from?: Tensor,
): { p: Tensor; optimizer: optim.Optimizer } {
  manualSeed(3);
  const p = new nn.Parameter(from ?? randn([3, 4]).to(dtype));
  const optimizer = make([p]);
  step(p, optimizer, 0, steps);
  return { p, optimizer };
}
function step(p: Tensor, optimizer: optim.Optimizer, from: number, to: number): void {
  for (let i = from; i < to; i++) {
    p.grad = p.detach().mul(0.3).add(Math.sin(i)).to(p.dtype);
    optimizer.step();
  }
}

for (const [name, make] of Object.entries(MAKE)) {
  test(`${name}: steps from a saved state, in our names and in PyTorch's, are those that go on`, () => {
    const { p, optimizer } = trained(make, "float32", 3);
    const copies = [optimizer.stateDict(), optim.toTorch(optimizer.stateDict())].map((dict) => {
      const other = new nn.Parameter(p.detach().clone());
      const resumed = make([other]);
      resumed.loadStateDict(dict as Record<string, unknown>);
      return { other, resumed };
    });
    step(p, optimizer, 3, 6);
    for (const { other, resumed } of copies) {
      step(other, resumed, 3, 6);
      assert.deepEqual(bits(other), bits(p));
    }
    const other = new optim.SGD([new nn.Parameter(ones([3, 4]))], 0.1, 0.9);
    assert.throws(() => other.loadStateDict(optimizer.stateDict()), { code: "OPTIMIZER_STATE" });
  });
  test(`${name}: 16 bits with Kahan and stochastic rounding, also from a saved state on`, () => {
    for (const rounding of ["kahan", "stochastic"] as const) {
      const rounded: Make = (params) => make([{ params: params as Tensor[], rounding, roundingSeed: 5 }]);
      if (name === "Adagrad, fused" && rounding === "stochastic") continue;
      const { p, optimizer } = trained(rounded, "bfloat16", 3);
      const other = new nn.Parameter(p.detach().clone());
      const resumed = rounded([other]);
      resumed.loadStateDict(optimizer.stateDict());
      step(p, optimizer, 3, 5);
      step(other, resumed, 3, 5);
      assert.deepEqual(bits(other), bits(p));
      const wide = trained(make, "float32", 5).p;
      const error = bits(p).map((v, i) => Math.abs(v - (bits(wide)[i] as number)));
      assert.ok(Math.max(...error) < 0.15, `${rounding}: ${Math.max(...error)}`);
    }
  });
  test(`${name}: parameters without gradients stay, and join later`, () => {
    const [p, late] = [new nn.Parameter(ones([2, 2])), new nn.Parameter(ones([2, 2]))];
    const optimizer = make([p, late]);
    p.grad = ones([2, 2]);
    optimizer.step();
    assert.deepEqual(late.tolist(), ones([2, 2]).tolist());
    assert.equal(optimizer.state.get(late), undefined);
    late.grad = ones([2, 2]);
    optimizer.step();
    const alone = new nn.Parameter(ones([2, 2]));
    const other = make([alone]);
    alone.grad = ones([2, 2]);
    other.step();
    assert.deepEqual(late.tolist(), alone.tolist());
    assert.ok((optimizer.expectedStateBytes(p) as number) > 0);
  });
}

const REAL = ["Adafactor", "Adagrad, fused", "Muon"];
for (const [name, make] of Object.entries(MAKE).filter(([each]) => !REAL.includes(each)))
  test(`${name}: a complex parameter is stepped as its two parts`, () => {
    const z = new nn.Parameter(tensor([new Complex(1, 2), new Complex(-0.5, 0.25)]));
    const x = new nn.Parameter(
      tensor([
        [1, 2],
        [-0.5, 0.25],
      ]),
    );
    const [complex, real] = [make([z]), make([x])];
    for (let i = 0; i < 4; i++) {
      z.grad = z
        .detach()
        .mul(0.5)
        .sub(tensor(new Complex(0.25 * i, 0.5 * i)));
      x.grad = x
        .detach()
        .mul(0.5)
        .sub(tensor([0.25 * i, 0.5 * i]));
      complex.step();
      real.step();
    }
    assert.deepEqual(
      (z.tolist() as Complex[]).map(({ re, im }) => [re, im]),
      x.tolist(),
    );
    const state = complex.state.get(z) ?? {};
    assert.ok(Object.values(state).some((v) => (v as Tensor).dtype === "complex64"));
    make([new nn.Parameter(z.detach())]).loadStateDict(complex.stateDict());
  });

test("by position, by name, mixed: the same groups", () => {
  const p = [new nn.Parameter(ones([1]))];
  const groups = (o: optim.Optimizer): object => ({ ...o.paramGroups[0], params: 0 });
  const expected = groups(new optim.RMSprop(p, { lr: 0.5, alpha: 0.9, eps: 1e-3 }));
  assert.deepEqual(groups(new optim.RMSprop(p, 0.5, 0.9, 1e-3)), expected);
  assert.deepEqual(groups(new optim.RMSprop(p, 0.5, { alpha: 0.9, eps: 1e-3 })), expected);
  assert.deepEqual(groups(new optim.RMSprop({ params: p, lr: 0.5, alpha: 0.9, eps: 1e-3 })), expected);
  assert.deepEqual(groups(new optim.SGD(p, 0.1, 0.9)), groups(new optim.SGD(p, { lr: 0.1, momentum: 0.9 })));
  assert.equal(new optim.Adam(p, { decoupledWeightDecay: true }).stateDict().algorithm, "AdamW");
});

const leaf = (): Tensor => new nn.Parameter(ones([2, 2]));
const WRONG: Readonly<Record<string, () => unknown>> = {
  "Adadelta rho": () => new optim.Adadelta([leaf()], { rho: 1.5 }),
  "Adafactor d": () => new optim.Adafactor([leaf()], { d: 0.5 }),
  "Adafactor beta2Decay": () => new optim.Adafactor([leaf()], { beta2Decay: 0.1 }),
  "Adafactor eps": () => new optim.Adafactor([leaf()], { eps: [null, null] as never }),
  "Adafactor complex": () => new optim.Adafactor([new nn.Parameter(tensor([new Complex(1, 1)]))]),
  "Adagrad fused and foreach": () => new optim.Adagrad([leaf()], { fused: true, foreach: true }),
  "Adamax betas": () => new optim.Adamax([leaf()], 0.1, [0.9, 1]),
  "ASGD lambd": () => new optim.ASGD([leaf()], { lambd: NaN }),
  "Muon vectors": () => new optim.Muon([new nn.Parameter(ones([3]))]),
  "Muon steps": () => new optim.Muon([leaf()], { nsSteps: 100 }),
  "Muon adjustLrFn": () => new optim.Muon([leaf()], { adjustLrFn: "other" as never }),
  "NAdam momentumDecay": () => new optim.NAdam([leaf()], { momentumDecay: -1 }),
  "RMSprop momentum": () => new optim.RMSprop([leaf()], { momentum: -1 }),
  "Rprop etas": () => new optim.Rprop([leaf()], { etas: [2, 3] }),
  "SparseAdam lr": () => new optim.SparseAdam([leaf()], 0),
  "an unknown option": () => new optim.RAdam([leaf()], { beta: [0.9, 0.9] } as never),
  "one too many": () => new optim.SparseAdam(...([[leaf()], 1, [0.9, 0.9], 1, true, 3] as never)),
  "a group's option": () => new optim.RMSprop([{ params: [leaf()], momentum: -1 }]),
  "differentiable over lists": () => new optim.Adam([leaf()], { differentiable: true, foreach: true }),
};
for (const [name, make] of Object.entries(WRONG))
  test(`refused: ${name}`, () => {
    assert.throws(make, (error) => error instanceof ArgumentError && error.message.includes("expected"));
  });

test("gradients of a layout that a step does not take are refused before anything changes", () => {
  const make = (sparse: boolean): nn.Embedding => new nn.Embedding(4, 2, { sparse });
  const backward = (e: nn.Embedding): void =>
    e
      .forward(tensor([1, 2], { dtype: "int64" }))
      .sum()
      .backward();
  for (const [sparse, optimizerOf] of [
    [true, (p: Tensor[]) => new optim.RMSprop(p)],
    [true, (p: Tensor[]) => new optim.Adagrad(p, { weightDecay: 0.1 })],
    [false, (p: Tensor[]) => new optim.SparseAdam(p)],
  ] as const) {
    const embedding = make(sparse);
    const optimizer = optimizerOf(embedding.parameters());
    const before = embedding.weight.tolist();
    backward(embedding);
    assert.throws(() => optimizer.step(), { code: "GRADIENT_LAYOUT" });
    assert.deepEqual(embedding.weight.tolist(), before);
  }
});

test("shards are refused where steps are of whole matrices, rows or columns", () => {
  assert.match(new optim.Adafactor([leaf()]).needsWholeParameters, /rows and columns/);
  assert.match(new optim.Muon([leaf()]).needsWholeParameters, /whole matrices/);
  assert.match(new optim.SparseAdam([leaf()]).needsWholeParameters, /sparse/);
  assert.equal(new optim.RAdam([leaf()]).needsWholeParameters, null);
});

/** What counts on the device; on a GPU a graph may record it. */
const CAPTURABLE: Readonly<Record<string, (p: optim.ParamsLike, capturable: boolean) => optim.Optimizer>> = {
  Adam: (p, capturable) => new optim.Adam(p, { lr: 0.05, amsgrad: true, weightDecay: 0.1, capturable }),
  AdamW: (p, capturable) => new optim.AdamW(p, { lr: 0.05, weightDecay: 0.1, maximize: true, capturable }),
  Adadelta: (p, capturable) => new optim.Adadelta(p, { lr: 0.5, capturable }),
  Adamax: (p, capturable) => new optim.Adamax(p, { lr: 0.05, capturable }),
  ASGD: (p, capturable) => new optim.ASGD(p, { lr: 0.1, t0: 2, lambd: 0.1, capturable }),
  NAdam: (p, capturable) => new optim.NAdam(p, { lr: 0.05, weightDecay: 0.1, decoupledWeightDecay: true, capturable }),
  RAdam: (p, capturable) => new optim.RAdam(p, { lr: 0.05, betas: [0.8, 0.9], capturable }),
  RMSprop: (p, capturable) => new optim.RMSprop(p, { lr: 0.01, momentum: 0.5, capturable }),
  Rprop: (p, capturable) => new optim.Rprop(p, { lr: 0.1, capturable }),
};
for (const [name, make] of Object.entries(CAPTURABLE))
  test(`${name}: counts that stay where the parameters are make the same steps, but for rounding`, () => {
    const [host, device] = [false, true].map((capturable) => trained((p) => make(p, capturable), "float32", 8));
    const expected = bits((host as { p: Tensor }).p);
    bits((device as { p: Tensor }).p).forEach((v, i) =>
      assert.ok(Math.abs(v - (expected[i] as number)) < 2e-5, `${v} for ${expected[i]}`),
    );
  });
