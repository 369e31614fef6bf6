/** Sharded training against one process that trains with all batches: stages 1 to 3, optimizers, dtypes. */
import assert from "node:assert/strict";
import { cat, manualSeed, nn, optim, randn, relu, scope, tensor, type DType, type Tensor } from "@nbit/torch";
import { AdamW8bit, Lion32bit } from "@nbit/lowbit";
import * as dist from "@nbit/torch/distributed";
import { testRanks, type RankCase } from "../helpers/ranks.js";

class Block extends nn.Module {
  readonly norm = new nn.LayerNorm(WIDTH);
  readonly up = new nn.Linear(WIDTH, 2 * WIDTH);
  readonly down = new nn.Linear(2 * WIDTH, WIDTH);
  forward(x: Tensor): Tensor {
    return x.add(this.down.forward(relu(this.up.forward(this.norm.forward(x)))));
  }
}
const WIDTH = 48;

class Tied extends nn.Module {
  constructor(readonly weight: nn.Parameter) {
    super();
  }
  forward(x: Tensor): Tensor {
    return nn.functional.linear(x, this.weight);
  }
}

/** Embedding and head share their weight; a scale of one element; a frozen bias; a layer that is not always used. */
class Net extends nn.Module {
  readonly embed = new nn.Embedding(10, WIDTH);
  readonly blocks = new nn.ModuleList([new Block(), new Block(), new Block()]);
  readonly head = new Tied(this.embed.weight);
  readonly scale = new nn.Parameter(tensor([1.5]));
  readonly shift = new nn.Parameter(randn([10]), { requiresGrad: false });
  readonly spare = new nn.Linear(WIDTH, WIDTH);
  useSpare = false;
  forward(x: Tensor): Tensor {
    let h = this.embed.forward(x);
    for (const block of this.blocks) h = block.forward(h);
    if (this.useSpare) h = this.spare.forward(h);
    return this.head.forward(h).mul(this.scale).add(this.shift);
  }
}

const STEPS = 4;
function batches(rank: number, world: number): { x: Tensor; y: Tensor }[] {
  return Array.from({ length: STEPS }, (_, step) => {
    const parts = Array.from({ length: world }, (_, r) => ({
      x: tensor(
        [0, 1, 2, 3].map((i) => (i * 3 + r * 5 + step) % 10),
        { dtype: "int64" },
      ),
      y: tensor(
        [0, 1, 2, 3].map((i) => (i + r * 2 + step * 7) % 10),
        { dtype: "int64" },
      ),
    }));
    const mine = parts[rank];
    return mine ?? { x: cat(parts.map(({ x }) => x)), y: cat(parts.map(({ y }) => y)) };
  });
}
type Make = (net: Net) => optim.Optimizer;
const groups = (net: Net): { params: Tensor[]; lr?: number; weightDecay?: number }[] => {
  const all = [...net.namedParameters()].filter(([, p]) => p.requiresGrad);
  return [
    { params: all.filter(([, p]) => p.ndim > 1).map(([, p]) => p) },
    { params: all.filter(([, p]) => p.ndim <= 1).map(([, p]) => p), lr: 0.02, weightDecay: 0 },
  ];
};
const OPTIMIZERS: Readonly<Record<string, Make>> = {
  SGD: (net) => new optim.SGD(groups(net), { lr: 0.05, momentum: 0.9, weightDecay: 0.01 }),
  Adam: (net) => new optim.Adam(groups(net), { lr: 0.01 }),
  AdamW: (net) => new optim.AdamW(groups(net), { lr: 0.01, weightDecay: 0.1 }),
  AdamW8bit: (net) => new AdamW8bit(groups(net), { lr: 0.01 }),
  Lion: (net) => new Lion32bit(groups(net), { lr: 0.001, weightDecay: 0.1 }),
};
const make = (dtype: DType): Net => {
  manualSeed(1);
  return new Net().to(dtype);
};
interface Run {
  readonly losses: number[];
  readonly weights: number[];
}
const weightsOf = (net: Net): number[] =>
  scope(() => net.parameters().flatMap((p) => [...(p.detach().double().toTypedArray() as Float64Array)]));

function step(net: Net, { x, y }: { x: Tensor; y: Tensor }): Tensor {
  return nn.functional.crossEntropy(net.call(x), y);
}
/** One process, all batches. */
function alone(dtype: DType, create: Make, world: number, clip: number | null): Run {
  const net = make(dtype);
  const optimizer = create(net);
  const losses = batches(-1, world).map((batch, i) => {
    net.useSpare = i === 2;
    optimizer.zeroGrad();
    const loss = step(net, batch);
    loss.backward();
    if (clip !== null) optim.clipGradNorm(net.parameters(), clip);
    optimizer.step();
    return loss.item();
  });
  return { losses, weights: weightsOf(net) };
}
function sharded(dtype: DType, create: Make, clip: number | null, options: dist.FullyShardOptions): Run {
  const net = make(dtype);
  const optimizer = create(net);
  dist.fullyShard(net, options);
  dist.shardOptimizer(net, optimizer);
  const losses = batches(dist.getRank(), dist.getWorldSize()).map((batch, i) => {
    net.useSpare = i === 2;
    optimizer.zeroGrad();
    const loss = step(net, batch);
    loss.backward();
    if (clip !== null) dist.clipShardedGradNorm(net, optimizer, clip);
    optimizer.step();
    const mean = loss.detach().clone();
    dist.allReduce(mean, { op: "avg" });
    return mean.item();
  });
  return { losses, weights: dist.summonFullParams(net, () => weightsOf(net)) };
}
function close(a: readonly number[], b: readonly number[], within: number, what: string): void {
  assert.equal(a.length, b.length, what);
  const worst = Math.max(...a.map((v, i) => Math.abs(v - (b[i] ?? NaN)) / Math.max(1, Math.abs(v))));
  assert.ok(worst <= within, `${what}: ${worst} > ${within}; ${a.slice(0, 4).join(" ")} | ${b.slice(0, 4).join(" ")}`);
}

const cases: Record<string, RankCase> = {};
for (const stage of [1, 2, 3] as const)
  for (const [name, create] of Object.entries(OPTIMIZERS))
    for (const dtype of ["float64", "float32"] as const) {
      if (dtype === "float64" && (name === "AdamW8bit" || name === "Lion")) continue;
      cases[`stage ${stage}, ${name}, ${dtype}: losses of one process`] = (_, world) => {
        const clip = name === "SGD" ? 0.5 : null;
        const expected = alone(dtype, create, world, clip);
        const got = sharded(dtype, create, clip, { stage });
        const within = dtype === "float64" ? 1e-12 : 1e-6;
        close(expected.losses, got.losses, name === "AdamW8bit" ? 1e-4 : within, "losses");
        if (dtype === "float64") close(expected.weights, got.weights, 1e-11, "weights");
      };
    }

testRanks(import.meta.url, 2, cases);
