/** Frozen weights in few bits: their codes are shared out in stage 3, gathered unit by unit, and freed. */
import assert from "node:assert/strict";
import { manualSeed, memory, nn, optim, randn, scope, type Tensor } from "@nbit/torch";
import { addLora, loraParameters, QuantizedLinear, quantizeWeights, type WeightFormat } from "@nbit/lowbit";
import * as dist from "@nbit/torch/distributed";
import { collectGarbage } from "../helpers/collect-garbage.js";
import { testRanks, type RankCase } from "../helpers/ranks.js";

class Block extends nn.Module {
  readonly fc: nn.Linear;
  constructor(width: number) {
    super();
    this.fc = new nn.Linear(width, width);
  }
  forward(x: Tensor): Tensor {
    return x.add(this.fc.forward(x).tanh());
  }
}
/** `frozen`: the last block has no adapter, so nothing in it learns. */
function make(format: WeightFormat, width = 64, frozen = false): nn.Sequential {
  manualSeed(3);
  const net = new nn.Sequential(new Block(width), new Block(width), new Block(width));
  quantizeWeights(net, { format });
  addLora(net, { rank: 2, targets: (_, path) => !frozen || !path.startsWith("2") });
  return net;
}
const codesOf = (net: nn.Module): Tensor[] =>
  [...net.modules()].flatMap((m) =>
    m instanceof QuantizedLinear
      ? [m.weight, m.weightAbsmax, ...(m.weightNested === null ? [] : [m.weightNested])]
      : [],
  );
const bytes = (tensors: readonly Tensor[]): number => tensors.reduce((sum, t) => sum + t.nbytes, 0);
const bitsOf = (t: Tensor): string => Buffer.from(t.detach().toBytes()).toString("base64");
const dictOf = (state: Iterable<[string, Tensor]>): string =>
  JSON.stringify([...state].map(([k, t]) => [k, t.shape, bitsOf(t)]));
const lossOf = (net: nn.Sequential, width = 64): Tensor => {
  manualSeed(9);
  return net
    .forward(randn([8, width]))
    .square()
    .mean();
};

const cases: Record<string, RankCase> = {};
for (const format of ["nf4", "fp4-dq", "int8"] as const)
  cases[`${format}: losses, adapters and state dicts are those of one process, to the bit`] = (_, world) => {
    const [alone, net] = [make(format), make(format)];
    const [one, optimizer] = [alone, net].map((m) => new optim.AdamW(loraParameters(m), { lr: 0.01 }));
    assert.ok(one !== undefined && optimizer !== undefined);
    const whole = bytes(codesOf(net));
    dist.fullyShard(net, { stage: 3 });
    dist.shardOptimizer(net, optimizer);
    // Of each tensor a rank has its part; chunks end at multiples of a block.
    assert.ok(bytes(codesOf(net)) <= whole / world + 4096, `${bytes(codesOf(net))} of ${whole} bytes`);
    for (let i = 0; i < 3; i++)
      for (const [m, o] of [
        [alone, one],
        [net, optimizer],
      ] as const)
        scope(() => {
          o.zeroGrad();
          lossOf(m).backward();
          o.step();
        });
    const [mine, theirs] = scope(() => [lossOf(net).item(), lossOf(alone).item()]);
    assert.equal(mine, theirs);
    const state = dist.fullStateDict(net);
    assert.ok(dictOf(state) === dictOf(alone.stateDict()));
    // Another one reads it, in parts as well.
    const again = make(format);
    again.stateDict().forEach((t) => (t.isFloatingPoint() ? t.detach().zero_() : t));
    for (const codes of codesOf(again)) codes.zero_();
    dist.fullyShard(again, { stage: 3 });
    dist.loadFullStateDict(again, state);
    assert.ok(dictOf(dist.fullStateDict(again)) === dictOf(state));
    const parts = dist.shardedStateDict(net);
    const key = [...parts.keys()].find((k) => k.endsWith("base.weight")) ?? "";
    const lengths = dist.allGatherObject((parts.get(key)?.end ?? 0) - (parts.get(key)?.start ?? 0));
    assert.equal(
      lengths.reduce((a, b) => a + b, 0),
      state.get(key)?.numel(),
    );
    assert.deepEqual(parts.get(key)?.shape, state.get(key)?.shape);
    dist.unshardModule(net);
    assert.ok(dictOf(net.stateDict()) === dictOf(state));
  };
for (const frozen of [false, true])
  cases[
    `a rank holds its share of codes before and after a step, ${frozen ? "a unit without adapters" : "adapters everywhere"}`
  ] = async (_, world) => {
    const width = 1024;
    await collectGarbage();
    const before = memory().allocatedBytes;
    const net = make("int8", width, frozen);
    const all = [...net.parameters(), ...codesOf(net)];
    const share = bytes(all) / world;
    dist.fullyShard(net, { stage: 3 });
    const near = async (): Promise<void> => {
      const off = (): number => memory().allocatedBytes - before - share;
      for (let i = 0; i < 100 && Math.abs(off()) > 0.1 * share; i++) await collectGarbage();
      assert.ok(Math.abs(off()) <= 0.1 * share, `${share} bytes of ${bytes(all)}, off by ${off()}`);
    };
    await near();
    scope(() => lossOf(net, width).backward());
    await near();
    // In a backward, what a unit gathered is freed when its part is over.
    const first = net[0] as Block;
    const last = net[2] as Block;
    const seen: boolean[] = [];
    const base = [...last.modules()].find((m): m is QuantizedLinear => m instanceof QuantizedLinear);
    scope(() => {
      manualSeed(9);
      const x = randn([8, width]);
      const between = first.call(x);
      between.registerHook(() => void seen.push(base?.weight.ndim === 2));
      (net[2] as Block)
        .call((net[1] as Block).call(between))
        .square()
        .mean()
        .backward();
    });
    assert.deepEqual(seen, [false]);
  };
cases["stages 1 and 2 keep codes whole"] = () => {
  for (const stage of [1, 2] as const) {
    const net = make("nf4");
    const whole = bytes(codesOf(net));
    dist.fullyShard(net, { stage });
    assert.equal(bytes(codesOf(net)), whole);
    lossOf(net).backward();
  }
};
testRanks(import.meta.url, 2, cases);
