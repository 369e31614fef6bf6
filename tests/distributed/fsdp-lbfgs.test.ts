/** LBFGS over shards: its inner products are sums over the ranks, and it remembers what one process would. */
import assert from "node:assert/strict";
import { isTensor, manualSeed, nn, optim, randn, scope, tensor, type Tensor } from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import { testRanks, type RankCase } from "../helpers/ranks.js";

type Net = nn.Sequential;
const make = (width = 24): Net => {
  manualSeed(3);
  return new nn.Sequential(
    new nn.Linear(width, 2 * width),
    new nn.Tanh(),
    new nn.Linear(2 * width, width),
    new nn.Tanh(),
    new nn.Linear(width, 3),
  ).double();
};
const batch = (rank: number): readonly [Tensor, Tensor] => {
  manualSeed(100 + rank);
  return [randn([16, 24], { dtype: "float64" }), randn([16, 3], { dtype: "float64" })];
};
const loss = (net: Net, rank: number): Tensor => {
  const [x, y] = batch(rank);
  return net.forward(x).sub(y).square().mean();
};
const SEARCHES = [null, "strong_wolfe"] as const;
const create = (net: Net, lineSearchFn: (typeof SEARCHES)[number]): optim.LBFGS =>
  new optim.LBFGS(net.parameters(), { lr: 0.5, maxIter: 4, historySize: 3, lineSearchFn });

/** Steps of one process that has the batches of all ranks. */
function stepAlone(net: Net, optimizer: optim.LBFGS, world: number): number {
  return scope(() =>
    optimizer
      .step(() => {
        optimizer.zeroGrad();
        let mean = loss(net, 0);
        for (let r = 1; r < world; r++) mean = mean.add(loss(net, r));
        mean = mean.div(world);
        mean.backward();
        return mean;
      })
      .item(),
  );
}
function stepShards(net: Net, optimizer: optim.LBFGS, rank: number): void {
  scope(() =>
    optimizer.step(() => {
      optimizer.zeroGrad();
      const own = loss(net, rank);
      own.backward();
      return own;
    }),
  );
}
const apart = (a: Tensor, b: Tensor): number =>
  scope(() => a.sub(b).abs().max().item() / Math.max(1, b.abs().max().item()));

function sameStates(got: optim.OptimizerState, expected: optim.OptimizerState): void {
  const [a, b] = [got.state["0"] ?? {}, expected.state["0"] ?? {}];
  assert.deepEqual(Object.keys(got.state), ["0"]);
  assert.deepEqual(Object.keys(a).sort(), Object.keys(b).sort());
  for (const [name, value] of Object.entries(b)) {
    const [mine, theirs] = [[a[name]].flat(), [value].flat()];
    assert.equal(mine.length, theirs.length, name);
    theirs.forEach((v, i) => {
      const own = mine[i];
      if (isTensor(v)) {
        assert.ok(isTensor(own), name);
        assert.deepEqual(own.shape, v.shape, name);
        assert.ok(apart(own, v) < 1e-10, name);
      } else assert.ok(Math.abs(Number(own) - Number(v)) <= 1e-10 * Math.max(1, Math.abs(Number(v))), name);
    });
  }
}

const cases: Record<string, RankCase> = {};
for (const stage of [1, 2, 3] as const)
  for (const search of SEARCHES)
    cases[
      `stage ${stage}, ${search ?? "steps of a fixed length"}: equals one process, state too, and goes on from it`
    ] = (rank, world) => {
      const [alone, net] = [make(), make()];
      const [one, optimizer] = [create(alone, search), create(net, search)];
      dist.fullyShard(net, { stage });
      dist.shardOptimizer(net, optimizer);
      const same = (): void => {
        const whole = dist.fullStateDict(net);
        for (const [key, t] of alone.stateDict()) assert.ok(apart(whole.get(key) as Tensor, t) < 1e-12, key);
      };
      for (let i = 0; i < 3; i++) {
        stepAlone(alone, one, world);
        stepShards(net, optimizer, rank);
      }
      same();
      const state = dist.fullOptimizerStateDict(net, optimizer);
      sameStates(state, one.stateDict());
      // New ones go on: the whole state, the state in parts, and that of a model that was not shared out before.
      const whole = dist.fullStateDict(net);
      for (const way of ["whole", "parts", "before"] as const) {
        const again = make();
        again.loadStateDict(whole);
        const next = create(again, search);
        if (way === "before") next.loadStateDict(state);
        dist.fullyShard(again, { stage });
        dist.shardOptimizer(again, next);
        if (way === "whole") dist.loadFullOptimizerStateDict(again, next, one.stateDict());
        if (way === "parts") {
          const parts = dist
            .allGatherObject(
              Object.entries(dist.shardedOptimizerStateDict(net, optimizer).state).flatMap(([name, fields]) =>
                Object.entries(fields).flatMap(([field, v]) =>
                  typeof v === "object" && v !== null && "start" in v
                    ? [{ at: `${name} ${field}`, start: v.start, values: v.data.tolist() as number[] }]
                    : [],
                ),
              ),
            )
            .flat();
          dist.loadShardedOptimizerStateDict(
            again,
            next,
            dist.describeOptimizerState(net, optimizer),
            (name, field, start, end) => {
              const all = parts
                .filter(({ at }) => at === `${name} ${field}`)
                .sort((a, b) => a.start - b.start)
                .flatMap(({ values }) => values);
              return tensor(all.slice(start, end), { dtype: "float64" });
            },
          );
        }
        const expected = make();
        expected.loadStateDict(whole);
        const reference = create(expected, search);
        reference.loadStateDict(state);
        stepAlone(expected, reference, world);
        stepShards(again, next, rank);
        const after = dist.fullStateDict(again);
        for (const [key, t] of expected.stateDict())
          assert.ok(apart(after.get(key) as Tensor, t) < 1e-10, `${way} ${key}`);
      }
    };
cases["a rank that has nothing of a model takes part, and remembers as much"] = (rank, world) => {
  const [alone, net] = [new nn.Linear(1, 1, { bias: false }).double(), new nn.Linear(1, 1, { bias: false }).double()];
  for (const m of [alone, net]) dist.broadcast(m.weight.detach());
  net.weight.detach().copy_(alone.weight.detach());
  const options = { lr: 0.2, maxIter: 2, historySize: 2 };
  const one = new optim.LBFGS(alone.parameters(), options);
  dist.fullyShard(net);
  const optimizer = new optim.LBFGS(net.parameters(), options);
  dist.shardOptimizer(net, optimizer);
  assert.equal(optimizer.paramGroups[0]?.params.length, rank === 0 ? 1 : 0);
  const x = randn([4, 1], { dtype: "float64" });
  dist.broadcast(x);
  const step = (m: nn.Linear, o: optim.LBFGS): void => {
    scope(() =>
      o.step(() => {
        o.zeroGrad();
        const l = m.call(x).sub(3).square().mean();
        l.backward();
        return l;
      }),
    );
  };
  for (let i = 0; i < 2; i++) {
    step(alone, one);
    step(net, optimizer);
  }
  dist.loadFullOptimizerStateDict(net, optimizer, one.stateDict());
  step(alone, one);
  step(net, optimizer);
  assert.ok(apart(dist.fullStateDict(net).get("weight") as Tensor, alone.weight.detach()) < 1e-12);
  assert.ok(world > 1);
};
testRanks(import.meta.url, 2, cases);
