import assert from "node:assert/strict";
import { test } from "node:test";
import { ArgumentError, noGrad, optim, tensor, type Tensor } from "../index.js";

const f64 = { dtype: "float64" } as const;
type Make = (p: Tensor[]) => optim.Optimizer;
/**
 * One step of torch.optim's classes of PyTorch 2.13 with `differentiable=True`: p = p₀, its gradient c · [1, 3]; then
 * the gradients of Σp² in p₀ and in c.
 */
const PEER: readonly (readonly [
  name: string,
  make: Make,
  p: readonly number[],
  ofStart: readonly number[],
  ofC: number,
])[] = [
  [
    "SGD",
    (p) => new optim.SGD(p, 0.1, 0.9, 0, 0.1, true, { differentiable: true }),
    [0.886, -2.247],
    [1.75428, -4.449059999999999],
    1.171,
  ],
  [
    "Adam",
    (p) => new optim.Adam(p, { lr: 0.1, weightDecay: 0.1, differentiable: true }),
    [0.9000006667535134, -2.0999993341439107],
    [1.800001333007033, -4.199998668039304],
    2.4555831812378415e-9,
  ],
  [
    "AdamW with amsgrad",
    (p) => new optim.AdamW(p, { lr: 0.1, amsgrad: true, differentiable: true }),
    [0.8990006670868425, -2.0979993342464733],
    [1.7962033328395113, -4.191802669824454],
    -1.5973193878693337e-9,
  ],
  [
    "Adadelta",
    (p) => new optim.Adadelta(p, { lr: 0.5, eps: 1e-2, differentiable: true }),
    [0.8663693790437879, -2.154713186938819],
    [1.7327387580875757, -4.309426373877638],
    -0.07556998570269735,
  ],
  [
    "Adagrad",
    (p) => new optim.Adagrad(p, { lr: 0.1, initialAccumulatorValue: 0.1, differentiable: true }),
    [0.9154845745414341, -2.0978492109516336],
    [1.8309691490828681, -4.195698421903267],
    -0.05348572596886654,
  ],
  [
    "Adamax",
    (p) => new optim.Adamax(p, { lr: 0.1, eps: 1e-2, differentiable: true }),
    [0.9019607843137255, -2.0993377483443707],
    [1.803921568627451, -4.198675496688741],
    -0.0014111616555144701,
  ],
  [
    "ASGD",
    (p) => new optim.ASGD(p, { lr: 0.1, lambd: 0.1, differentiable: true }),
    [0.9399999991059304, -2.1300000019371508],
    [1.8611999979496003, -4.217400003200769],
    1.0900000175833702,
  ],
  [
    "NAdam",
    (p) => new optim.NAdam(p, { lr: 0.1, weightDecay: 0.1, differentiable: true }),
    [0.8943548149341664, -2.1056451860139314],
    [1.78870962934342, -4.211290371764607],
    2.6485518882235493e-9,
  ],
  [
    "RAdam",
    (p) => new optim.RAdam(p, { lr: 0.1, betas: [0.8, 0.5], differentiable: true }),
    [0.95, -2.15],
    [1.9, -4.3],
    1.1,
  ],
  [
    "RMSprop",
    (p) =>
      new optim.RMSprop(p, { lr: 0.1, centered: true, momentum: 0.5, alpha: 0.5, eps: 1e-2, differentiable: true }),
    [0.8076923076923077, -2.1973684210526314],
    [1.6153846153846154, -4.394736842105263],
    -0.0010703728719128058,
  ],
];
const near = (received: readonly number[], expected: readonly number[]): void =>
  received.forEach((v, i) => {
    const e = expected[i] as number;
    // PyTorch makes corrections of float32 counts then; here they are numbers as ever.
    assert.ok(Math.abs(v - e) <= 3e-6 * Math.max(1, Math.abs(e)), `${String(received)} for ${String(expected)}`);
  });

for (const [name, make, after, ofStart, ofC] of PEER)
  test(`${name}: gradients through a step are PyTorch's`, () => {
    const start = tensor([1, -2], { ...f64, requiresGrad: true });
    const c = tensor(0.5, { ...f64, requiresGrad: true });
    const p = start.mul(1);
    const optimizer = make([p]);
    p.grad = c.mul(tensor([1, 3], f64));
    optimizer.step();
    near(p.tolist() as number[], after);
    p.pow(2).sum().backward();
    near((start.grad as Tensor).tolist() as number[], ofStart);
    near([(c.grad as Tensor).item()], [ofC]);
  });

test("without it, results of operators are refused, and a step is not recorded", () => {
  const start = tensor([1, -2], { ...f64, requiresGrad: true });
  assert.throws(() => new optim.SGD([start.mul(1)], 0.1), ArgumentError);
  start.grad = noGrad(() => start.mul(1));
  new optim.SGD([start], 0.1).step();
  assert.ok(start.isLeaf);
});
