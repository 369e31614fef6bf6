/** Weights of float8 layers are gathered in codes of one byte, cast by each rank's part with a scale that all share. */
import assert from "node:assert/strict";
import { manualSeed, memory, nn, noGrad, optim, randn, scope, type DType, type Tensor } from "@nbit/torch";
import { convertToFloat8, Float8Linear, type Float8RecipeName } from "@nbit/lowbit";
import * as dist from "@nbit/torch/distributed";
import { collectGarbage } from "../helpers/collect-garbage.js";
import { testRanks, type RankCase } from "../helpers/ranks.js";

class Block extends nn.Module {
  readonly up: nn.Linear;
  readonly down: nn.Linear;
  constructor(width: number) {
    super();
    this.up = new nn.Linear(width, 2 * width);
    this.down = new nn.Linear(2 * width, width);
  }
  forward(x: Tensor): Tensor {
    return x.add(this.down.forward(this.up.forward(x).tanh()));
  }
}
interface Setup {
  readonly recipe: Float8RecipeName;
  readonly dtype?: DType;
  readonly width?: number;
}
function make({ recipe, dtype = "bfloat16", width = 48 }: Setup): nn.Sequential {
  manualSeed(3);
  const net = new nn.Sequential(new Block(width), new Block(width), new Block(width));
  net.to({ dtype });
  convertToFloat8(net, { recipe, historyLength: 3 });
  return net;
}
const lossOf = (net: nn.Sequential, seed: number, { dtype = "bfloat16", width = 48 }: Setup): Tensor => {
  manualSeed(seed);
  return net
    .forward(randn([16, width]).to(dtype))
    .float()
    .square()
    .mean();
};
const bitsOf = (t: Tensor): string => Buffer.from(t.detach().contiguous().toBytes()).toString("base64");
const dictOf = (state: Iterable<[string, Tensor]>): string =>
  JSON.stringify([...state].map(([k, t]) => [k, bitsOf(t)]));
const layersOf = (net: nn.Module): Float8Linear[] => [...net.modules()].filter((m) => m instanceof Float8Linear);
function codeOf(fn: () => unknown): string {
  try {
    fn();
  } catch (error) {
    return String(Reflect.get(error as object, "code"));
  }
  return "none";
}

const cases: Record<string, RankCase> = {};
for (const recipe of ["tensorwise", "delayed"] as const)
  for (const dtype of ["bfloat16", "float32"] as const)
    for (const reshardAfterForward of [true, false])
      cases[
        `${recipe}, ${dtype} weights, reshardAfterForward ${reshardAfterForward}: losses, weights and histories of one process, to the bit`
      ] = () => {
        const setup = { recipe, dtype };
        const [alone, net] = [make(setup), make(setup)];
        const [one, optimizer] = [alone, net].map((m) => new optim.AdamW(m.parameters(), { lr: 0.01 }));
        assert.ok(one !== undefined && optimizer !== undefined);
        dist.fullyShard(net, { stage: 3, reshardAfterForward });
        dist.shardOptimizer(net, optimizer);
        assert.ok(layersOf(net).every((m) => m.gathersWeight));
        const losses = ([m, o]: readonly [nn.Sequential, optim.Optimizer]): number[] =>
          scope(() => {
            const seen: number[] = [];
            for (let i = 0; i < 4; i++) {
              o.zeroGrad();
              // A window of two batches, and a look in between, which no history gets.
              for (const seed of [2 * i, 2 * i + 1]) {
                const loss = lossOf(m, seed, setup);
                seen.push(loss.item());
                loss.div(2).backward();
              }
              o.step();
              m.eval();
              seen.push(noGrad(() => lossOf(m, 50, setup).item()));
              m.train();
            }
            return seen;
          });
        assert.deepEqual(losses([net, optimizer]), losses([alone, one]));
        const state = dist.fullStateDict(net);
        assert.ok(dictOf(state) === dictOf(alone.stateDict()));
        // What is loaded, or written while whole, has new scales.
        manualSeed(8);
        const other = new Map(
          [...state].map(([k, t]) => [
            k,
            t.isFloatingPoint()
              ? randn([...t.shape])
                  .mul(3)
                  .to(t.dtype)
              : t,
          ]),
        );
        alone.loadStateDict(other);
        dist.loadFullStateDict(net, other);
        const look = (m: nn.Sequential): number => scope(() => noGrad(() => lossOf(m, 60, setup).item()));
        assert.equal(look(net), look(alone));
        const [first] = layersOf(net);
        assert.ok(first !== undefined);
        dist.summonFullParams(net, () => noGrad(() => void first.weight.mul_(5)));
        noGrad(() => void layersOf(alone)[0]?.weight.mul_(5));
        assert.equal(look(net), look(alone));
        // Whole again, the layer casts by itself.
        dist.unshardModule(net);
        assert.ok(layersOf(net).every((m) => !m.gathersWeight));
        assert.equal(look(net), look(alone));
      };
cases["NaN in one rank's part shows on all"] = (rank) => {
  const setup = { recipe: "tensorwise" } as const;
  const net = make(setup);
  dist.fullyShard(net, { stage: 3 });
  const [first] = layersOf(net);
  assert.ok(first !== undefined);
  dist.summonFullParams(net, () => noGrad(() => void first.weight.view([-1]).narrow(0, 0, 1).fill_(NaN)));
  assert.ok(Number.isNaN(scope(() => noGrad(() => lossOf(net, 1, setup).item()))), `rank ${rank}`);
};
cases["while its unit is gathered, a weight has a shape and no memory: one byte for each element is there"] =
  async () => {
    const width = 512;
    const held: { shape: readonly number[]; read: string; bytes: number }[] = [];
    class Watched extends nn.Module {
      readonly fc = new nn.Linear(width, 4 * width, { bias: false });
      forward(x: Tensor): Tensor {
        const { weight } = this.fc;
        held.push({ shape: weight.shape, read: codeOf(() => weight.sum()), bytes: memory().allocatedBytes - before });
        return this.fc.forward(x).narrow(-1, 0, width);
      }
    }
    const net = new nn.Sequential(new Watched(), new Watched()).to({ dtype: "bfloat16" });
    convertToFloat8(net);
    dist.fullyShard(net, { stage: 3 });
    await collectGarbage();
    const before = memory().allocatedBytes;
    scope(() => noGrad(() => net.forward(randn([16, width]).bfloat16())));
    const [first] = held;
    assert.deepEqual(first?.shape, [4 * width, width]);
    assert.equal(first.read, "ERR_DIST_FREED_PARAMETER");
    // The next unit may be on its way; in 16 bits one alone were more.
    const elements = 4 * width * width;
    assert.ok(first.bytes >= elements && first.bytes < 1.8 * elements, `${first.bytes} bytes of ${elements} elements`);
  };
cases["scales for each row: weights are gathered as they are, and cast by every rank"] = () => {
  const setup = { recipe: "rowwise" } as const;
  const [alone, net] = [make(setup), make(setup)];
  dist.fullyShard(net, { stage: 3 });
  assert.ok(layersOf(net).every((m) => !m.gathersWeight));
  const [mine, theirs] = scope(() => [net, alone].map((m) => lossOf(m, 1, setup).item()));
  assert.equal(mine, theirs);
};
testRanks(import.meta.url, 2, cases);
