import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import * as torch from "../index.js";
import { cachedWeightCast } from "./weight-casts.js";

const {
  amp,
  autocast,
  inferenceMode,
  manualSeed,
  nn,
  noGrad,
  ones,
  optim,
  randint,
  randn,
  scope,
  tensor,
  traceOperators,
} = torch;
type Tensor = torch.Tensor;
type DType = torch.DType;

torch.setNumThreads(1);
beforeEach(() => void manualSeed(7));

const hex = (t: Tensor): string => Buffer.from(t.detach().contiguous().toBytes()).toString("hex");
const region = <T>(dtype: DType, fn: () => T): T => autocast({ dtype, cacheEnabled: false }, fn);

interface Model {
  readonly net: torch.nn.Module;
  readonly loss: () => Tensor;
}

class Tied extends nn.Module {
  readonly embedding = new nn.Embedding(11, 8);
  readonly norm = new nn.LayerNorm([8]);
  forward(x: Tensor): Tensor {
    return torch.linear(this.norm.forward(this.embedding.forward(x)), this.embedding.weight);
  }
}
class Shared extends nn.Module {
  readonly layer = new nn.Linear(6, 6);
  readonly scale = new nn.Parameter(randn([6, 6]));
  forward(x: Tensor): Tensor {
    return this.layer
      .forward(this.layer.forward(this.layer.forward(x).tanh()).tanh())
      .matmul(this.scale)
      .add(x.mm(this.scale));
  }
}
const MODELS: Readonly<Record<string, () => Model>> = {
  "an MLP": () => {
    const net = new nn.Sequential(new nn.Linear(5, 7), new nn.ReLU(), new nn.Linear(7, 3));
    const x = randn([4, 5]);
    return { net, loss: () => (net.forward(x) as Tensor).float().square().mean() };
  },
  "weights used three times and twice": () => {
    const net = new Shared();
    const x = randn([4, 6]);
    return { net, loss: () => net.forward(x).float().square().mean() };
  },
  "convolutions and batch norm": () => {
    const net = new nn.Sequential(new nn.Conv2d(2, 4, 3), new nn.BatchNorm2d(4), new nn.ReLU(), new nn.Conv2d(4, 2, 1));
    const x = randn([2, 2, 5, 5]);
    return { net, loss: () => (net.forward(x) as Tensor).float().square().mean() };
  },
  "an embedding that is the head, too": () => {
    const net = new Tied();
    const x = randint(0, 11, [6]);
    const y = randint(0, 11, [6]);
    return { net, loss: () => nn.functional.crossEntropy(net.forward(x), y) };
  },
};

/** Losses, gradients of every batch and weights of three optimizer steps with two batches each, as bits. */
function train(make: () => Model, dtype: DType, kept: boolean): string[] {
  manualSeed(3);
  const { net, loss } = make();
  const optimizer = new optim.AdamW(net.parameters(), { lr: 0.05 });
  const casts = kept ? new amp.WeightCasts(net) : null;
  const seen: string[] = [];
  for (let step = 0; step < 3; step++) {
    for (let batch = 0; batch < 2; batch++) {
      scope(() => {
        const l = region(dtype, () => (casts === null ? loss() : casts.run(loss)));
        l.backward();
        seen.push(
          hex(l),
          ...[...net.parameters()].map((p) => (p.grad === null ? "none" : `${p.grad.dtype} ${hex(p.grad)}`)),
        );
      });
    }
    optimizer.step();
    optimizer.zeroGrad();
    seen.push(...[...net.parameters()].map(hex));
  }
  casts?.dispose();
  return seen;
}

for (const [name, make] of Object.entries(MODELS)) {
  test(`with cached casts training is the same to the last bit: ${name}`, () => {
    for (const dtype of ["bfloat16", "float16"] as const)
      assert.deepEqual(train(make, dtype, true), train(make, dtype, false), dtype);
  });
}

/** How many 16-bit casts, and how many joint ones, `fn` makes. */
function casts(fn: () => unknown): { alone: number; joint: number } {
  return scope(() => {
    const { events } = traceOperators(() => void fn());
    const to16 = (e: torch.TraceEvent): boolean =>
      e.name === "aten::_to_copy" && ["float16", "bfloat16"].includes(e.outputs[0]?.dtype ?? "");
    return { alone: events.filter(to16).length, joint: events.filter((e) => e.name === "aten::_foreach_copy_").length };
  });
}

test("weights are cast once per window, together from the second on; norms and embeddings never", () => {
  const net = new nn.Sequential(new nn.Linear(4, 8), new nn.LayerNorm([8]), new nn.Linear(8, 4));
  const x = randn([2, 4]);
  const loss = (): Tensor => (net.forward(x) as Tensor).float().square().sum();
  const optimizer = new optim.SGD(net.parameters(), { lr: 0.1 });
  using kept = new amp.WeightCasts(net);
  const batch = (): void => region("bfloat16", () => kept.run(loss)).backward();
  scope(batch);
  assert.equal(kept.bytes, 2 * (32 + 8 + 32 + 4));
  const plain = casts(() => region("bfloat16", loss)).alone;
  const within = casts(() => region("bfloat16", () => kept.run(loss)));
  assert.deepEqual(within, { alone: plain - 4, joint: 0 }, "the second batch of a window casts activations only");
  for (let step = 0; step < 3; step++) {
    optimizer.step();
    assert.deepEqual(
      casts(() => region("bfloat16", () => kept.run(loss))),
      { alone: plain - 4, joint: 1 },
    );
    assert.deepEqual(
      casts(() => region("bfloat16", () => kept.run(loss))),
      { alone: plain - 4, joint: 0 },
    );
  }
  assert.equal(kept.bytes, 2 * (32 + 8 + 32 + 4), "in the memory that they have");
  assert.deepEqual(
    casts(() => kept.run(loss)),
    { alone: 0, joint: 0 },
    "nothing outside a region",
  );
});

test("a weight that is changed is cast again, however it was changed", () => {
  const w = new nn.Parameter(ones([2, 2]));
  const x = ones([2, 2]);
  const step = (o: torch.optim.Optimizer) => (): void => {
    w.grad = ones([2, 2]);
    o.step();
    o.zeroGrad();
  };
  const changes: readonly (readonly [string, () => void])[] = [
    ["fill_", () => noGrad(() => void w.fill_(3))],
    ["through detach", () => void w.detach().mul_(2)],
    ["through a view", () => void w.detach().select(0, 0).zero_()],
    ["a list", () => noGrad(() => void torch.aten["_foreach_add_"]?.["Scalar"]?.([w], 5))],
    ["an optimizer", step(new optim.SGD([w], { lr: 1 }))],
    ["a fused optimizer", step(new optim.AdamW([w], { lr: 1, fused: true }))],
    [
      "setData",
      () =>
        w.setData(
          tensor([
            [7, 8],
            [9, 10],
          ]),
        ),
    ],
    [
      "setData twice, the second time perhaps to where the first memory was",
      () =>
        [1, 2].forEach((k) =>
          w.setData(
            tensor([
              [k, 8],
              [9, 10],
            ]),
          ),
        ),
    ],
    ["requiresGrad off, and changed", () => noGrad(() => void w.requiresGrad_(false).mul_(3))],
    ["requiresGrad on again", () => void w.requiresGrad_(true)],
  ];
  using kept = new amp.WeightCasts([w]);
  for (const [name, change] of changes)
    scope(() =>
      region("bfloat16", () =>
        kept.run(() => {
          x.mm(w);
          change();
          assert.deepEqual(
            x.mm(w).tolist(),
            autocast({ enabled: false }, () => x.bfloat16().mm(w.detach().bfloat16())).tolist(),
            name,
          );
        }),
      ),
    );
});

test("a graph that still waits for its backward keeps the cast that it was made with", () => {
  const gradients = (kept: boolean): string[] => {
    manualSeed(5);
    const w = new nn.Parameter(randn([3, 3]));
    const x = randn([2, 3]).requiresGrad_(true);
    const held = new amp.WeightCasts([w]);
    const product = (): Tensor => region("bfloat16", () => (kept ? held.run(() => x.mm(w)) : x.mm(w)));
    scope(() => {
      const first = product();
      noGrad(() => void w.mul_(2));
      const second = product();
      first.float().square().sum().backward();
      second.float().square().sum().backward();
    });
    held.dispose();
    return [hex(x.grad as Tensor), hex(w.grad as Tensor)];
  };
  assert.deepEqual(gradients(true), gradients(false));
});

test("a cast made in inference mode is used in training; a refreshed cast has no autograd history", () => {
  const w = new nn.Parameter(randn([3, 3]));
  const x = randn([2, 3]);
  using kept = new amp.WeightCasts([w]);
  const loss = (): Tensor =>
    region("float16", () => kept.run(() => x.mm(w)))
      .float()
      .square()
      .sum();
  inferenceMode(() => scope(() => void loss()));
  scope(() => loss().backward());
  assert.equal(w.grad?.dtype, "float32");
  for (let i = 0; i < 3; i++) {
    inferenceMode(() => scope(() => void noGrad(() => w.detach().mul_(1))));
    torch.optim.clipGradNorm([w], 1);
    new optim.SGD([w], { lr: 0.1 }).step();
    scope(() => void loss());
  }
  scope(() => {
    const cast = noGrad(() => kept.run(() => cachedWeightCast(w, "float16")));
    assert.deepEqual([cast?.dtype, cast?.requiresGrad, cast?.isLeaf], ["float16", false, true]);
    assert.equal(cachedWeightCast(w, "float16"), null, "outside run");
    assert.equal(
      kept.run(() => cachedWeightCast(x, "float16")),
      null,
      "not a weight",
    );
  });
});

test("two regions of different dtype have a cast each; policies around are obeyed; backward can be differentiated", () => {
  const w = new nn.Parameter(
    tensor([
      [1.0009765625, 0],
      [0, 1],
    ]),
  ); // exact in float16, 1 in bfloat16
  using kept = new amp.WeightCasts([w]);
  using wide = new amp.AutocastPolicy({ mm: "float32" });
  kept.run(() => {
    const seen = ["bfloat16", "float16", "bfloat16"].map((dtype) =>
      region(
        dtype as DType,
        () => `${w.mm(w).dtype} ${(w.mm(w).float().select(0, 0).select(0, 0).item() as number) > 1.0009}`,
      ),
    );
    assert.deepEqual(seen, ["bfloat16 false", "float16 true", "bfloat16 false"]);
  });
  assert.equal(kept.bytes, 2 * 2 * 4);
  assert.equal(
    wide.run(() => region("bfloat16", () => kept.run(() => w.mm(w).dtype))),
    "float32",
  );
  assert.equal(
    kept.run(() => region("bfloat16", () => wide.run(() => w.mm(w).dtype))),
    "float32",
  );

  const second = (fn: <T>(f: () => T) => T): unknown => {
    const y = region("bfloat16", () => fn(() => w.mm(w)))
      .float()
      .square()
      .sum();
    const [g] = torch.grad([y], [w], { createGraph: true });
    return torch.grad([(g as Tensor).square().sum()], [w])[0]?.tolist();
  };
  assert.deepEqual(
    second((f) => kept.run(f)),
    second((f) => f()),
  );
});

test("errors of cached casts, and their end", () => {
  const w = new nn.Parameter(ones([2, 2]));
  const kept = new amp.WeightCasts([w, w]);
  region("bfloat16", () => kept.run(() => w.mm(w)));
  assert.equal(kept.bytes, 8);
  assert.throws(() => kept.run(() => assert.fail("inside")), /inside/);
  kept.dispose();
  kept.dispose();
  assert.equal(kept.bytes, 0);
  assert.throws(() => kept.run(() => w), {
    code: "POLICY_DISPOSED",
    message: "WeightCasts.run: expected casts that are in use. Received: ones that were disposed of.",
  });
  assert.throws(() => new amp.WeightCasts([3 as never]), {
    code: "ERR_ARGUMENT",
    message: "WeightCasts: expected a module or tensors. Received: 3.",
  });
  assert.equal(
    region("bfloat16", () => w.mm(w).dtype),
    "bfloat16",
    "libtorch's kernels are back",
  );
});
