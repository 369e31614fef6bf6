/** DistributedDataParallel in a loop of one's own against the whole batch in one process. */
import assert from "node:assert/strict";
import { manualSeed, nn, optim, randn, type Tensor } from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import { testRanks, type RankCase } from "../helpers/ranks.js";

class Net extends nn.Module {
  fc1 = new nn.Linear(4, 8);
  norm = new nn.BatchNorm1d(8);
  fc2 = new nn.Linear(8, 2);
  unused = new nn.Linear(2, 2);
  constructor(readonly all: boolean) {
    super();
  }
  override forward(x: Tensor): Tensor {
    const y = this.fc2.call(this.norm.call(this.fc1.call(x)).relu());
    return this.all ? this.unused.call(y) : y;
  }
}
const make = (seed: number, all = true): Net => {
  manualSeed(seed);
  return new Net(all);
};
const close = (a: Tensor, b: Tensor): boolean => a.sub(b).abs().max().item() < 1e-6;

const cases: Record<string, RankCase> = {
  "steps are those of the averaged gradients, and rank 0's weights are everybody's"(rank, worldSize) {
    const ddp = new dist.DistributedDataParallel(make(rank), { broadcastBuffers: false });
    const alone = make(0);
    assert.ok([...ddp.stateDict().keys()].every((key) => key.startsWith("module.")));
    const optimizer = new optim.SGD(ddp.parameters(), { lr: 0.1 });
    const other = new optim.SGD(alone.parameters(), { lr: 0.1 });
    manualSeed(7);
    for (let step = 0; step < 3; step++) {
      const batches = Array.from({ length: worldSize }, () => randn([6, 4]));
      optimizer.zeroGrad();
      ddp
        .call(batches[rank] as Tensor)
        .square()
        .mean()
        .backward();
      optimizer.step();
      other.zeroGrad();
      // BatchNorm looks at each rank's rows alone.
      for (const x of batches) alone.forward(x).square().mean().div(worldSize).backward();
      other.step();
      ddp.parameters().forEach((p, i) => assert.ok(close(p, alone.parameters()[i] as Tensor), `${step}, ${i}`));
    }
  },
  "inside noSync gradients add up on their rank"(rank) {
    const ddp = new dist.DistributedDataParallel({ module: make(0), broadcastBuffers: false });
    const x = randn([5, 4]).add(rank);
    ddp.noSync(() => ddp.call(x).sum().backward());
    const own = ddp.module.fc2.bias?.grad?.clone() as Tensor;
    ddp.call(x).sum().backward();
    const sum = own.mul(2);
    dist.allReduce(sum);
    assert.ok(close(ddp.module.fc2.bias?.grad as Tensor, sum.div(2)));
  },
  "parameters that no backward reaches are named at the next forward"() {
    const ddp = new dist.DistributedDataParallel(make(0, false), { broadcastBuffers: false });
    ddp
      .call(randn([3, 4]))
      .sum()
      .backward();
    assert.throws(() => ddp.call(randn([3, 4])), { code: "ERR_DIST_UNUSED_PARAMETERS" });
    const other = new dist.DistributedDataParallel(make(0, false), { findUnusedParameters: true });
    for (let i = 0; i < 2; i++)
      other
        .call(randn([3, 4]))
        .sum()
        .backward();
  },
};
testRanks(import.meta.url, 2, cases);
