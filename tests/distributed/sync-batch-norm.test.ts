/** SyncBatchNorm of several ranks against BatchNorm on the whole batch in one process. */
import assert from "node:assert/strict";
import { backward, manualSeed, nn, noGrad, ones, randn, type DType, type Tensor } from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import { testRanks, type RankCase } from "../helpers/ranks.js";

const CHANNELS = 3;
type Layer = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm;

/** Weights that are not 1, the same on every rank. */
function vary(layer: Layer): void {
  manualSeed(3);
  noGrad(() => {
    layer.weight?.copy_(randn([CHANNELS]));
    layer.bias?.copy_(randn([CHANNELS]));
  });
}

function near(what: string, actual: Tensor | null, expected: Tensor | null, tolerance: number): void {
  assert.ok(actual !== null && expected !== null, what);
  assert.deepEqual(actual.shape, expected.shape, what);
  if (expected.numel() === 0) return;
  const scale = Math.max(1, expected.abs().max().item());
  const distance = actual.double().sub(expected.double()).abs().max().item() / scale;
  assert.ok(distance <= tolerance, `${what}: ${distance} is above ${tolerance}`);
}

interface Plan {
  readonly dtype: DType;
  readonly sizes: readonly number[];
  readonly rest: readonly number[];
  readonly momentum?: number | null;
  readonly affine?: boolean;
  readonly trackRunningStats?: boolean;
  readonly tolerance: number;
  /** Of parameters and buffers, where it is not that of inputs. */
  readonly parameters?: DType;
}

/** Two training batches and one of evaluation, on this rank's rows and on all of them. */
function compare(plan: Plan, rank: number): void {
  const { dtype, sizes, rest, tolerance, parameters = dtype } = plan;
  const { momentum = 0.1, affine = true, trackRunningStats = true } = plan;
  const options = { momentum, affine, trackRunningStats, dtype: parameters };
  const Whole = [nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d][rest.length];
  assert.ok(Whole);
  // 16 bits are compared with what float32 gives for the same values: BatchNorm in pure 16 bits rounds more often.
  const exact = dtype === "float64" ? dtype : "float32";
  const whole = new Whole(CHANNELS, { ...options, dtype: exact });
  const mine = new nn.SyncBatchNorm(CHANNELS, options);
  if (affine) vary(mine);
  whole.loadStateDict(mine.stateDict());
  const total = sizes.reduce((a, b) => a + b, 0);
  const from = sizes.slice(0, rank).reduce((a, b) => a + b, 0);
  const count = sizes[rank] ?? 0;
  for (let step = 0; step < 2; step++) {
    manualSeed(10 + step);
    // Far from 0, so that a mean of rounded squares would show.
    const all = randn([total, CHANNELS, ...rest], { dtype: "float64" })
      .mul(2)
      .add(5)
      .to(dtype);
    const upstream = randn([total, CHANNELS, ...rest], { dtype: "float64" }).to(dtype);
    const x = all.to(exact).clone().requiresGrad_();
    const part = all.narrow(0, from, count).clone().requiresGrad_();
    const y = whole.forward(x);
    backward(y, upstream.to(exact));
    const z = mine.forward(part);
    assert.equal(z.dtype, dtype);
    backward(z, upstream.narrow(0, from, count));
    near("output", z, y.narrow(0, from, count), tolerance);
    near("gradient of x", part.grad, x.grad?.narrow(0, from, count) ?? null, tolerance);
    for (const name of ["weight", "bias"] as const) {
      if (!affine) continue;
      const grad = mine[name]?.grad?.clone() ?? null;
      assert.ok(grad !== null);
      assert.equal(grad.dtype, parameters);
      dist.allReduce(grad);
      near(`gradient of ${name}`, grad, whole[name]?.grad ?? null, tolerance * 10);
    }
    whole.zeroGrad();
    mine.zeroGrad();
  }
  for (const [name, buffer] of whole.namedBuffers()) {
    const same = new Map(mine.namedBuffers()).get(name);
    near(name, same ?? null, buffer, tolerance);
  }
  manualSeed(50);
  const x = randn([4, CHANNELS, ...rest], { dtype: "float64" }).to(dtype);
  assert.deepEqual([...mine.stateDict().keys()], [...whole.stateDict().keys()]);
  const same = new Whole(CHANNELS, options);
  same.loadStateDict(mine.stateDict());
  assert.deepEqual(mine.eval().forward(x).tolist(), same.eval().forward(x).tolist());
}

const cases: Record<string, RankCase> = {
  "float64 is BatchNorm on the whole batch to 1e-12": (rank) => {
    for (const rest of [[], [7], [4, 3], [2, 3, 2]])
      compare({ dtype: "float64", sizes: [3, 5], rest, tolerance: 1e-12 }, rank);
  },
  "float32 to 1e-6": (rank) => {
    for (const rest of [[], [4, 3]]) compare({ dtype: "float32", sizes: [8, 8], rest, tolerance: 1e-6 }, rank);
    compare({ dtype: "float32", sizes: [2, 9], rest: [5], tolerance: 1e-6 }, rank);
  },
  "16-bit inputs with float32 and with 16-bit parameters": (rank) => {
    for (const [dtype, tolerance] of [
      ["bfloat16", 2 ** -7],
      ["float16", 2 ** -10],
    ] as const)
      for (const parameters of ["float32", dtype] as const)
        compare({ dtype, parameters, sizes: [6, 4], rest: [3, 3], tolerance }, rank);
  },
  "a rank may have no rows, or one": (rank) => {
    for (const sizes of [
      [0, 4],
      [5, 0],
      [1, 4],
      [1, 1],
    ])
      for (const rest of [[], [3]]) compare({ dtype: "float64", sizes, rest, tolerance: 1e-12 }, rank);
  },
  "momentum null, no weights, no running statistics": (rank) => {
    const plan = { dtype: "float64", sizes: [3, 4], rest: [2, 2], tolerance: 1e-12 } as const;
    compare({ ...plan, momentum: null }, rank);
    compare({ ...plan, affine: false }, rank);
    compare({ ...plan, trackRunningStats: false }, rank);
  },
  "one value per channel in all is an error on every rank, and leaves nothing changed": (rank) => {
    const layer = new nn.SyncBatchNorm(CHANNELS);
    assert.throws(() => layer.forward(ones([rank === 0 ? 1 : 0, CHANNELS])), /more than one value per channel/);
    assert.equal(layer.numBatchesTracked?.item(), 0);
  },
  "a group of its own: others' batches do not count": async (rank, world) => {
    const groups = [await dist.newGroup([0]), await dist.newGroup([1])];
    const processGroup = groups[rank] ?? null;
    const alone = new nn.SyncBatchNorm(CHANNELS, { processGroup });
    const plain = new nn.BatchNorm2d(CHANNELS);
    const x = randn([4, CHANNELS, 2, 2]).add(rank);
    assert.deepEqual(alone.forward(x).tolist(), plain.forward(x).tolist());
    assert.equal(world, 2);
  },
  "evaluation asks nobody": (rank) => {
    const layer = new nn.SyncBatchNorm(CHANNELS).eval();
    const untracked = new nn.SyncBatchNorm(CHANNELS, { trackRunningStats: false }).eval();
    if (rank === 0)
      for (const l of [layer, untracked]) assert.deepEqual(l.forward(randn([2, CHANNELS])).shape, [2, CHANNELS]);
    dist.barrier();
  },
  "thenRelu adds, cuts off, and is differentiated": (rank) => {
    const whole = new nn.BatchNorm2d(CHANNELS, { dtype: "float64" });
    const mine = nn.SyncBatchNorm.convertSyncBatchnorm(new nn.BatchNorm2d(CHANNELS, { dtype: "float64" }));
    manualSeed(4);
    const [all, other] = [0, 1].map(() => randn([6, CHANNELS, 2, 2], { dtype: "float64" })) as [Tensor, Tensor];
    const [x, part] = [
      all.clone().requiresGrad_(),
      all
        .narrow(0, rank * 3, 3)
        .clone()
        .requiresGrad_(),
    ];
    const y = whole.thenRelu(x, other);
    const z = mine.thenRelu(part, other.narrow(0, rank * 3, 3));
    y.square().sum().backward();
    z.square().sum().backward();
    near("output", z, y.narrow(0, rank * 3, 3), 1e-12);
    near("gradient", part.grad, x.grad?.narrow(0, rank * 3, 3) ?? null, 1e-12);
    assert.throws(() => mine.thenRelu(part, null, { path: "kernel" }), /path/);
  },
  "a second derivative is refused": () => {
    const layer = new nn.SyncBatchNorm(CHANNELS);
    const x = randn([4, CHANNELS]).requiresGrad_();
    const y = layer.forward(x).square().sum();
    assert.throws(() => y.backward({ createGraph: true }), { code: "ERR_SYNC_BATCH_NORM_TWICE" });
  },
  "convertSyncBatchnorm replaces layers, and keeps parameters, buffers, hooks, modes and names": () => {
    class Net extends nn.Module {
      readonly features = new nn.Sequential(
        new nn.Conv2d(1, 4, 3),
        new nn.BatchNorm2d(4, { eps: 0.01, momentum: null }),
      );
      readonly shared = new nn.BatchNorm1d(4, { affine: false });
      readonly again = this.shared;
      readonly head = new nn.Linear(4, 2);
      forward(x: Tensor): Tensor {
        return this.head.forward(this.again.forward(this.features.forward(x).mean([2, 3])));
      }
    }
    const net = new Net();
    const keys = [...net.stateDict().keys()];
    const values = [...net.stateDict({ keepVars: true }).values()];
    const old = net.features[1] as nn.BatchNorm2d;
    let seen = 0;
    old.registerForwardHook(() => void seen++);
    net.shared.eval();
    assert.equal(nn.SyncBatchNorm.convertSyncBatchnorm(net), net);
    const layer = net.features[1];
    assert.ok(layer instanceof nn.SyncBatchNorm);
    assert.deepEqual([layer.eps, layer.momentum, layer.numFeatures], [0.01, null, 4]);
    assert.ok((net.shared as nn.Module) instanceof nn.SyncBatchNorm && net.shared === net.again);
    assert.deepEqual([net.shared.training, layer.training], [false, true]);
    assert.deepEqual([...net.stateDict().keys()], keys);
    [...net.stateDict({ keepVars: true }).values()].forEach((tensor, i) => assert.equal(tensor, values[i]));
    net.forward(randn([2, 1, 5, 5]));
    assert.equal(seen, 1);
    assert.match(String(layer), /^SyncBatchNorm\(4, eps=0\.01, momentum=None, affine=True/);
    assert.throws(() => new nn.SyncBatchNorm(4, { processGroup: 1 as never }), /processGroup/);
  },
};

testRanks(import.meta.url, 2, cases);
