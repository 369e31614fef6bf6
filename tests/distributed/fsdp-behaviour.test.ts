/** What sharding does besides the numbers: memory, freed parameters, windows, state dicts, errors. */
import assert from "node:assert/strict";

import {
  keep,
  manualSeed,
  memory,
  nn,
  NbitError,
  noGrad,
  optim,
  randn,
  relu,
  scope,
  tensor,
  type Tensor,
} from "@nbit/torch";
import { AdamW8bit, LAMB32bit, LAMB8bit, LARS8bit } from "@nbit/lowbit";
import * as dist from "@nbit/torch/distributed";
import { collectGarbage } from "../helpers/collect-garbage.js";
import { testRanks, type RankCase } from "../helpers/ranks.js";

class Block extends nn.Module {
  readonly up: nn.Linear;
  readonly down: nn.Linear;
  /** Computed on the way, and not returned. */
  aside: Tensor | null = null;
  constructor(width: number) {
    super();
    this.up = new nn.Linear(width, 2 * width);
    this.down = new nn.Linear(2 * width, width);
  }
  forward(x: Tensor): Tensor {
    const h = relu(this.up.forward(x));
    if (this.keepsAside) this.aside = keep(h);
    return x.add(this.down.forward(h));
  }
  keepsAside = false;
}
class Net extends nn.Module {
  readonly blocks: nn.ModuleList<Block>;
  readonly head: nn.Linear;
  constructor(width = 64, depth = 3) {
    super();
    this.blocks = new nn.ModuleList(Array.from({ length: depth }, () => new Block(width)));
    this.head = new nn.Linear(width, 3);
    this.registerBuffer("count", tensor([7]));
  }
  forward(x: Tensor): Tensor {
    let h = x;
    for (const block of this.blocks) h = block.call(h);
    return this.head.forward(h);
  }
}
const make = (width = 64, depth = 3): Net => {
  manualSeed(3);
  return new Net(width, depth);
};
const lossOf = (net: Net, x: Tensor): Tensor => net.call(x).square().mean();
const inputs = (seed: number, width = 64): Tensor => {
  manualSeed(seed);
  return randn([4, width]);
};
const bytesOf = (t: Tensor): string => Buffer.from(t.detach().toBytes()).toString("base64");
const values = (net: Net): string[] => net.parameters().map(bytesOf);
function codeOf(fn: () => unknown): string {
  try {
    fn();
  } catch (error) {
    assert.ok(error instanceof NbitError, String(error));
    return error.code;
  }
  return "none";
}

const OPTIMIZERS = {
  SGD: (net: Net) => new optim.SGD(net.parameters(), { lr: 0.05, momentum: 0.9 }),
  AdamW: (net: Net) => new optim.AdamW(net.parameters(), { lr: 0.01 }),
  AdamW8bit: (net: Net) => new AdamW8bit(net.parameters(), { lr: 0.01 }),
  LAMB32bit: (net: Net) => new LAMB32bit(net.parameters(), { lr: 0.01, weightDecay: 0.1 }),
  LAMB8bit: (net: Net) => new LAMB8bit(net.parameters(), { lr: 0.01, weightDecay: 0.1 }),
  LARS8bit: (net: Net) => new LARS8bit(net.parameters(), { lr: 0.1, momentum: 0.9, weightDecay: 0.1 }),
};

/** Each element by itself, too; once is enough. */
const ELEMENTWISE = {
  Adadelta: (net: Net) => new optim.Adadelta(net.parameters(), { lr: 0.5 }),
  Adagrad: (net: Net) => new optim.Adagrad(net.parameters(), { lr: 0.1, lrDecay: 0.1 }),
  Adamax: (net: Net) => new optim.Adamax(net.parameters(), { lr: 0.01 }),
  ASGD: (net: Net) => new optim.ASGD(net.parameters(), { lr: 0.1, t0: 1, lambd: 0.1 }),
  NAdam: (net: Net) => new optim.NAdam(net.parameters(), { lr: 0.01 }),
  RAdam: (net: Net) => new optim.RAdam(net.parameters(), { lr: 0.01, betas: [0.8, 0.9] }),
  RMSprop: (net: Net) => new optim.RMSprop(net.parameters(), { lr: 0.01, momentum: 0.5, centered: true }),
  Rprop: (net: Net) => new optim.Rprop(net.parameters(), { lr: 0.01 }),
};

const cases: Record<string, RankCase> = {};
for (const stage of [1, 2, 3] as const)
  for (const [name, create] of Object.entries(stage === 2 ? { ...OPTIMIZERS, ...ELEMENTWISE } : OPTIMIZERS))
    cases[`stage ${stage}, ${name}: equal batches on all ranks give the bits of one process, state too`] = () => {
      const alone = make();
      const one = create(alone);
      const net = make();
      const optimizer = create(net);
      dist.fullyShard(net, { stage });
      dist.shardOptimizer(net, optimizer);
      for (let i = 0; i < 3; i++)
        for (const [m, o] of [
          [alone, one],
          [net, optimizer],
        ] as const)
          scope(() => {
            o.zeroGrad();
            lossOf(m, inputs(i)).backward();
            o.step();
          });
      assert.deepEqual(
        dist.summonFullParams(net, () => values(net)),
        values(alone),
      );
      const state = dist.fullOptimizerStateDict(net, optimizer);
      const expected = one.stateDict();
      assert.deepEqual(Object.keys(state.state), Object.keys(expected.state));
      assert.deepEqual(state.paramGroups, expected.paramGroups);
      for (const [position, fields] of Object.entries(expected.state))
        for (const [field, value] of Object.entries(fields)) {
          const got = state.state[position]?.[field];
          if (typeof value === "object" && value !== null && "dtype" in value) {
            assert.ok(typeof got === "object" && got !== null && "dtype" in got, `${position} ${field}`);
            assert.deepEqual(got.shape, value.shape, `${position} ${field}`);
            assert.equal(bytesOf(got), bytesOf(value), `${position} ${field}`);
          } else assert.equal(got, value, `${position} ${field}`);
        }
      // One process reads it, and every rank reads that of one process.
      const again = create(make());
      again.loadStateDict(state);
      dist.loadFullOptimizerStateDict(net, optimizer, expected);
      const back = dist.fullOptimizerStateDict(net, optimizer, { rank0Only: true });
      assert.equal(Object.keys(back.state).length, dist.getRank() === 0 ? Object.keys(expected.state).length : 0);
    };

cases["stage 3: parameters, gradients and optimizer state are 1/N of those of one process"] = async (_, world) => {
  const width = 256;
  const all = make(width)
    .parameters()
    .reduce((sum, p) => sum + p.nbytes, 0);
  await collectGarbage();
  const before = memory().allocatedBytes;
  const net = make(width);
  const optimizer = new optim.AdamW(net.parameters());
  dist.fullyShard(net, { stage: 3 });
  dist.shardOptimizer(net, optimizer);
  const near = async (times: number): Promise<void> => {
    const share = (times * all) / world;
    const off = (): number => Math.abs(memory().allocatedBytes - before - share);
    // gloo's threads let go of a message a moment after it was waited for.
    for (let i = 0; i < 100 && off() > 0.05 * share + 60_000; i++) await collectGarbage();
    assert.ok(off() < 0.05 * share + 60_000, `${share} bytes (${times} × ${all} / ${world}), off by ${off()}`);
  };
  await near(1);
  scope(() => lossOf(net, inputs(0, width)).backward());
  await near(2);
  optimizer.step();
  await near(4);
};
cases["memory of freed parameters cannot be read, by views, autograd or printing: an error with a code"] = () => {
  const net = make();
  const optimizer = new optim.SGD(net.parameters(), { lr: 0.1 });
  dist.fullyShard(net, { stage: 3 });
  dist.shardOptimizer(net, optimizer);
  const first = net.blocks[0] as Block;
  const view = dist.summonFullParams(net, () => first.up.weight.detach().t());
  assert.deepEqual(view.shape, [64, 128]);
  const freed = "ERR_DIST_FREED_PARAMETER";
  assert.equal(
    codeOf(() => view.add(1)),
    freed,
  );
  assert.equal(
    codeOf(() => view.sum().item()),
    freed,
  );
  assert.equal(
    codeOf(() => view.matmul(view.t())),
    freed,
  );
  assert.equal(
    codeOf(() => view.fill_(1)),
    freed,
  );
  assert.equal(
    codeOf(() => view.tolist()),
    freed,
  );
  assert.equal(
    codeOf(() => String(view)),
    freed,
  );
  assert.equal(
    codeOf(() => view.dataPtr()),
    freed,
  );
  // Backward of something that the unit did not return: nobody gathers its parameters.
  for (const block of net.blocks) block.keepsAside = true;
  const x = inputs(0).requiresGrad_();
  scope(() => {
    net.call(x);
    const aside = first.aside as Tensor;
    // The memory is not there, or a parameter shows its part, whose shape does not fit.
    assert.match(
      codeOf(() => aside.square().mean().backward()),
      /^(ERR_DIST_FREED_PARAMETER|TORCH)$/,
    );
    aside.dispose();
    // Beside what the unit returned it works: its parameters are there by then.
    net.zeroGrad();
    const loss = lossOf(net, x);
    loss.add((first.aside as Tensor).square().mean()).backward();
  });
  // And it goes on.
  for (const block of net.blocks) block.keepsAside = false;
  optimizer.zeroGrad();
  scope(() => lossOf(net, inputs(1)).backward());
  optimizer.step();
  assert.equal(net.head.weight.ndim, 1);
};
for (const reduceEveryBatch of [true, false])
  for (const stage of [2, 3] as const)
    cases[`stage ${stage}: a window of two batches is one of their mean, reduceEveryBatch: ${reduceEveryBatch}`] = (
      rank,
      world,
    ) => {
      const alone = make().double();
      const one = new optim.SGD(alone.parameters(), { lr: 0.1 });
      const net = make().double();
      const optimizer = new optim.SGD(net.parameters(), { lr: 0.1 });
      const sharded = dist.fullyShard(net, { stage, reduceEveryBatch });
      dist.shardOptimizer(net, optimizer);
      for (let window = 0; window < 2; window++) {
        one.zeroGrad();
        optimizer.zeroGrad();
        for (let b = 0; b < 2; b++)
          scope(() => {
            for (let r = 0; r < world; r++)
              lossOf(alone, inputs(window * 100 + b * 10 + r).double())
                .div(2 * world)
                .backward();
            sharded.setRequiresGradientSync(b === 1);
            lossOf(net, inputs(window * 100 + b * 10 + rank).double())
              .div(2)
              .backward();
            const has = optimizer.paramGroups[0]?.params[0]?.grad !== null;
            assert.equal(has, reduceEveryBatch || b === 1);
          });
        one.step();
        optimizer.step();
      }
      const got = dist.fullStateDict(net);
      for (const [key, t] of alone.stateDict()) {
        const other = got.get(key);
        assert.ok(other !== undefined, key);
        assert.ok(other.double().sub(t.double()).abs().max().item() < 1e-13, key);
      }
    };
cases["paramDtype and reduceDtype: bfloat16 and float16 travel, shards stay float32"] = () => {
  for (const stage of [2, 3] as const)
    for (const [paramDtype, reduceDtype] of [
      ["bfloat16", null],
      ["bfloat16", "bfloat16"],
      ["float16", "float16"],
      [null, "float16"],
    ] as const) {
      const alone = make();
      const one = new optim.SGD(alone.parameters(), { lr: 0.1 });
      const net = make();
      const optimizer = new optim.SGD(net.parameters(), { lr: 0.1 });
      dist.fullyShard(net, {
        stage,
        mpPolicy: new dist.MixedPrecisionPolicy({ paramDtype, reduceDtype, outputDtype: "float32" }),
      });
      dist.shardOptimizer(net, optimizer);
      for (let i = 0; i < 3; i++)
        scope(() => {
          for (const o of [one, optimizer]) o.zeroGrad();
          const a = lossOf(alone, inputs(i));
          const loss = lossOf(net, inputs(i));
          assert.equal(loss.dtype, "float32");
          assert.ok(Math.abs(a.item() - loss.item()) < 0.02 * Math.abs(a.item()), `${a.item()} ${loss.item()}`);
          a.backward();
          loss.backward();
          for (const o of [one, optimizer]) o.step();
        });
      for (const p of optimizer.paramGroups[0]?.params ?? []) assert.equal(p.dtype, "float32");
      const got = dist.fullStateDict(net);
      for (const [key, t] of alone.stateDict()) {
        const other = got.get(key);
        assert.equal(other?.dtype, t.dtype);
        assert.ok(other !== undefined && other.sub(t).abs().max().item() < 0.01, key);
      }
    }
};
cases["offload: shards, gradients and state are on the CPU; numbers are the same"] = () => {
  const nets = [null, new dist.CPUOffloadPolicy()].map((offloadPolicy) => {
    const net = make();
    const optimizer = new optim.AdamW(net.parameters(), { lr: 0.01 });
    dist.fullyShard(net, { offloadPolicy });
    dist.shardOptimizer(net, optimizer);
    for (let i = 0; i < 2; i++)
      scope(() => {
        optimizer.zeroGrad();
        lossOf(net, inputs(i)).backward();
        optimizer.step();
      });
    return [...dist.fullStateDict(net)].map(([key, t]) => [key, bytesOf(t)]);
  });
  assert.deepEqual(nets[1], nets[0]);
};
cases["LAMB of 16-bit parameters with Kahan sums: norms are of what the step finds, in one message"] = () => {
  const train = (net: Net, step: (o: optim.Optimizer) => void): void => {
    const optimizer = new LAMB32bit(net.parameters(), { lr: 0.01, rounding: "kahan" });
    step(optimizer);
    for (let i = 0; i < 3; i++)
      scope(() => {
        optimizer.zeroGrad();
        lossOf(net, inputs(i).bfloat16()).backward();
        optimizer.step();
      });
  };
  const [alone, net] = [make().bfloat16(), make().bfloat16()];
  train(alone, () => undefined);
  let messages = 0;
  train(net, (optimizer) => {
    dist.fullyShard(net, { stage: 3 });
    dist.shardOptimizer(net, optimizer);
    const { shards } = optimizer;
    assert.ok(shards !== null);
    optimizer.shards = { ...shards, reduce: (...args) => (messages++, shards.reduce(...args)) };
  });
  assert.deepEqual(
    dist.summonFullParams(net, () => values(net)),
    values(alone),
  );
  assert.equal(messages, 3);
};
for (const stage of [1, 2, 3] as const)
  for (const paramDtype of [null, "float16"] as const)
    cases[
      `stage ${stage}, paramDtype ${paramDtype}: gathered in bfloat16 for a while, parameters are what one process casts`
    ] = () => {
      const net = make();
      dist.fullyShard(net, { stage, mpPolicy: new dist.MixedPrecisionPolicy({ paramDtype }) });
      const sharded = dist.shardedModuleOf(net);
      const held = (): [string, string][] => [...dist.fullStateDict(net)].map(([key, t]) => [key, bytesOf(t)]);
      const before = held();
      const forward = (m: Net): string => noGrad(() => bytesOf(m.call(inputs(1).bfloat16())));
      sharded?.gatherIn("bfloat16");
      assert.ok(forward(net) === forward(make().bfloat16()));
      const weight = (net.blocks[0] as Block).up.weight;
      // Reading is no write: shards have more bits than what is gathered.
      assert.equal(
        dist.summonFullParams(net, () => weight.dtype),
        "bfloat16",
      );
      assert.ok(String(held()) === String(before));
      sharded?.gatherIn(null);
      assert.equal(
        dist.summonFullParams(net, () => weight.dtype),
        paramDtype ?? "float32",
      );
      assert.ok(String(held()) === String(before));
      dist.summonFullParams(net, () => noGrad(() => void weight.view([-1]).narrow(0, 5, 1).fill_(3)));
      const expected = make();
      noGrad(() => void (expected.blocks[0] as Block).up.weight.view([-1]).narrow(0, 5, 1).fill_(3));
      for (const [key, bytes] of held())
        assert.ok(bytes === bytesOf(expected.stateDict().get(key) as Tensor), `${key} after a write`);
    };
cases["state dicts in parts go from one way of sharding to another, and back to one process"] = () => {
  const net = make();
  const optimizer = new AdamW8bit(net.parameters(), { lr: 0.01 });
  dist.fullyShard(net, { stage: 3 });
  dist.shardOptimizer(net, optimizer);
  scope(() => lossOf(net, inputs(0)).backward());
  optimizer.step();
  const whole = dist.fullStateDict(net);
  const wholeState = dist.fullOptimizerStateDict(net, optimizer);
  const names = net.parameters().length;
  assert.equal(dist.shardedStateDict(net).size, names + 1);
  // All parts together are the whole.
  const mine = [...dist.shardedStateDict(net)].map(([key, { start, end }]) => [key, start, end] as const);
  const ranges = dist.allGatherObject(mine);
  for (const [key, t] of whole) {
    if (key === "count") continue;
    const parts = ranges.map((list) => list.find(([name]) => name === key));
    assert.equal(
      parts.reduce((sum, part) => sum + (part?.[2] ?? 0) - (part?.[1] ?? 0), 0),
      t.numel(),
      key,
    );
  }
  const description = dist.describeOptimizerState(net, optimizer);
  // Into a model that is shared out in another way, and began elsewhere.
  manualSeed(99);
  const other = new Net();
  const second = new AdamW8bit(other.parameters(), { lr: 0.5 });
  dist.fullyShard(other, { stage: 1, shardModules: [nn.Linear] });
  dist.shardOptimizer(other, second);
  dist.loadShardedStateDict(other, (key, start, end) =>
    (whole.get(key) as Tensor).view([-1]).narrow(0, start, end - start),
  );
  const positions = new Map([...net.namedParameters()].map(([name], i) => [name, i]));
  dist.loadShardedOptimizerStateDict(other, second, description, (name, field, start, end) => {
    const value = wholeState.state[String(positions.get(name))]?.[field] as Tensor;
    return value.reshape([-1]).narrow(0, start, end - start);
  });
  assert.equal(second.paramGroups[0]?.lr, 0.01);
  for (const [m, o] of [
    [net, optimizer],
    [other, second],
  ] as const)
    scope(() => {
      o.zeroGrad();
      lossOf(m, inputs(1)).backward();
      o.step();
    });
  const [a, b] = [dist.fullStateDict(net), dist.fullStateDict(other)];
  for (const [key, t] of a) assert.equal(bytesOf(b.get(key) as Tensor), bytesOf(t), key);
  // A whole one back into shards, and into a module of one process.
  dist.loadFullStateDict(net, whole);
  const alone = make();
  alone.loadStateDict(whole);
  assert.deepEqual(
    dist.summonFullParams(net, () => values(net)),
    values(alone),
  );
  assert.equal(
    codeOf(() => dist.loadFullStateDict(net, new Map())),
    "STATE_DICT_MISMATCH",
  );
  dist.unshardModule(net);
  assert.equal(
    codeOf(() => optimizer.step()),
    "ERR_DIST_NOT_SHARDED",
  );
  assert.deepEqual(values(net), values(alone));
  assert.equal(net.head.weight.ndim, 2);
};
cases["a backward that fails leaves nothing to the next"] = () => {
  const net = make();
  const optimizer = new optim.SGD(net.parameters(), { lr: 0.1 });
  dist.fullyShard(net);
  dist.shardOptimizer(net, optimizer);
  const before = dist.fullStateDict(net);
  scope(() => {
    const x = inputs(0).requiresGrad_();
    x.registerHook(() => {
      throw new RangeError("meant");
    });
    assert.throws(() => lossOf(net, x).backward(), { message: "meant" });
  });
  optimizer.zeroGrad();
  scope(() => lossOf(net, inputs(1)).backward());
  optimizer.step();
  const alone = make();
  alone.loadStateDict(before);
  const one = new optim.SGD(alone.parameters(), { lr: 0.1 });
  scope(() => lossOf(alone, inputs(1)).backward());
  one.step();
  assert.deepEqual(
    dist.summonFullParams(net, () => values(net)),
    values(alone),
  );
};
cases["what cannot be shared out is refused"] = () => {
  const net = make();
  dist.fullyShard(net);
  assert.equal(
    codeOf(() => dist.fullyShard(net)),
    "ERR_ARGUMENT",
  );
  class Rotated extends optim.SGD {
    override get needsWholeParameters(): string {
      return "it rotates each matrix";
    }
  }
  const own = make();
  const rotated = new Rotated(own.parameters(), { lr: 1 });
  dist.fullyShard(own);
  assert.equal(
    codeOf(() => dist.shardOptimizer(own, rotated)),
    "ERR_DIST_WHOLE_PARAMETERS",
  );
  const odd = make();
  const blocks = new AdamW8bit(odd.parameters(), { blockSize: 1000 });
  dist.fullyShard(odd);
  assert.equal(
    codeOf(() => dist.shardOptimizer(odd, blocks)),
    "ERR_ARGUMENT",
  );
  assert.equal(
    codeOf(() => dist.shardOptimizer(net, new optim.SGD(make().parameters(), { lr: 1 }))),
    "ERR_ARGUMENT",
  );
};
cases["a rank that has nothing of a model takes part"] = (rank, world) => {
  const net = new nn.Linear(1, 1, { bias: false });
  dist.broadcast(net.weight.detach());
  const optimizer = new optim.Adam(net.parameters(), { lr: 0.1 });
  dist.fullyShard(net);
  dist.shardOptimizer(net, optimizer);
  assert.equal(optimizer.paramGroups[0]?.params.length, rank === 0 ? 1 : 0);
  for (let i = 0; i < 2; i++) {
    optimizer.zeroGrad();
    net
      .call(tensor([[rank + 1]]))
      .sum()
      .backward();
    const norm = dist.clipShardedGradNorm(net, optimizer, 0.5);
    assert.ok(Math.abs(norm.item() - (world + 1) / 2) < 1e-6);
    optimizer.step();
  }
  const state = dist.fullOptimizerStateDict(net, optimizer);
  assert.deepEqual(Object.keys(state.state), ["0"]);
};

testRanks(import.meta.url, 2, cases);
const some = ["stage 1, SGD", "stage 3, AdamW8bit", "a rank that has nothing", "stage 3: parameters, gradients and"];
testRanks(
  import.meta.url,
  4,
  Object.fromEntries(Object.entries(cases).filter(([name]) => some.some((begin) => name.startsWith(begin)))),
);
