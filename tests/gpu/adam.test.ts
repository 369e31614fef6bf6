/** Adam and AdamW in one kernel: libtorch's bits, and the casts of weights that are kept. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  amp,
  aten,
  autocast,
  cuda,
  nn,
  operators,
  optim,
  randn,
  scope,
  seedEverything,
  tensor,
  type Tensor,
} from "@nbit/torch";
import { Callback, MixedPrecision, type TrainerOptions } from "@nbit/lightning";
import { on, options, sgd, SmallGpt, train, type Training } from "./support.js";

const nbit = operators("nbit");
const SHAPES = [[128, 96], [96], [1], [7, 3], [70_001], [256, 33]] as const;
const bytesOf = (t: Tensor): string => Buffer.from(t.detach().toBytes()).toString("base64");

interface Side {
  readonly params: Tensor[];
  readonly grads: Tensor[];
  readonly moments: Tensor[];
  readonly squares: Tensor[];
}
const sideOf = (params: readonly Tensor[]): Side => ({
  params: params.map((p) => p.clone()),
  grads: params.map((p) => p.clone()),
  moments: params.map((p) => p.mul(0)),
  squares: params.map((p) => p.mul(0)),
});

for (const decoupled of [true, false])
  test(`the step is libtorch's to the last bit: ${decoupled ? "AdamW" : "Adam"}`, options, () =>
    scope(() => {
      seedEverything(1);
      const first = SHAPES.map((shape) => on(randn([...shape]).mul(0.1)));
      // Not 16-byte aligned: the elements one by one.
      first.push(on(randn([1025])).slice(0, 1));
      const [ours, theirs] = [sideOf(first), sideOf(first)];
      const counts = first.map(() => on(tensor(0)));
      const number = (v: number): Tensor => on(tensor(v));
      for (const [step, how] of [
        { scale: null, found: null, maximize: false, weightDecay: 0.1, byTensor: false },
        { scale: 1024, found: 0, maximize: false, weightDecay: 0.1, byTensor: true },
        { scale: 3000, found: 1, maximize: false, weightDecay: 0.1, byTensor: true },
        { scale: 3000, found: null, maximize: true, weightDecay: 0, byTensor: false },
        { scale: null, found: 0, maximize: false, weightDecay: 0.01, byTensor: true },
      ].entries()) {
        for (const c of counts) c.fill_(step + 1);
        const lr = Math.fround(3e-4 * (step + 1));
        const gradScale = how.scale === null ? null : number(how.scale);
        const foundInf = how.found === null ? null : number(how.found);
        for (const [i, g] of first.entries()) {
          const drawn = randn(g.shape)
            .mul(how.scale ?? 1)
            .to("cuda");
          (ours.grads[i] as Tensor).copy_(drawn);
          (theirs.grads[i] as Tensor).copy_(drawn);
        }
        const kept = ours.params.map(bytesOf);
        const { maximize, weightDecay } = how;
        aten[decoupled ? "_fused_adamw_" : "_fused_adam_"]?.(
          theirs.params,
          theirs.grads,
          theirs.moments,
          theirs.squares,
          [],
          counts,
          {
            lr: how.byTensor ? number(lr) : lr,
            beta1: 0.9,
            beta2: 0.95,
            weightDecay,
            eps: 1e-8,
            amsgrad: false,
            maximize,
            gradScale,
            foundInf,
          },
        );
        stepOf(decoupled, ours, counts, { lr, weightDecay, maximize, gradScale, foundInf, byTensor: how.byTensor });
        for (const kind of ["params", "grads", "moments", "squares"] as const)
          assert.deepEqual(ours[kind].map(bytesOf), theirs[kind].map(bytesOf), `step ${step}: ${kind}`);
        assert.equal(
          kept.every((b, i) => b === bytesOf(ours.params[i] as Tensor)),
          how.found === 1,
          "found-inf alone leaves everything as it is",
        );
      }
    }),
  );

/** The operator itself, as the optimizers call it. */
function stepOf(
  decoupled: boolean,
  side: Side,
  counts: readonly Tensor[],
  how: {
    readonly lr: number;
    readonly weightDecay: number;
    readonly maximize: boolean;
    readonly gradScale: Tensor | null;
    readonly foundInf: Tensor | null;
    readonly byTensor: boolean;
  },
): void {
  nbit["fused_adam_"]?.(
    side.params,
    side.grads,
    side.moments,
    side.squares,
    counts,
    how.byTensor ? on(tensor(how.lr)) : null,
    how.lr,
    0.9,
    0.95,
    how.weightDecay,
    1e-8,
    decoupled,
    how.maximize,
    how.gradScale,
    how.foundInf,
  );
}

test("a step leaves the casts of its weights where they are, and they are those of the weights", options, () => {
  seedEverything(2);
  const layers = [new nn.Linear(64, 32).to("cuda"), new nn.Linear(32, 48).to("cuda")] as const;
  const parameters = layers.flatMap((l) => l.parameters());
  const optimizer = new optim.AdamW(
    [
      { params: layers[0].parameters(), lr: 1e-2 },
      { params: layers[1].parameters(), weightDecay: 0.3 },
    ],
    { lr: 3e-3, fused: true },
  );
  const x = on(randn([16, 64]));
  for (const dtype of ["bfloat16", "float16"] as const) {
    using casts = new amp.WeightCasts(parameters, "cuda");
    const forward = (): Tensor =>
      autocast({ deviceType: "cuda", dtype, cacheEnabled: false }, () =>
        casts.run(() => layers[1].forward(layers[0].forward(x)).float()),
      );
    const plain = (): Tensor =>
      autocast({ deviceType: "cuda", dtype, cacheEnabled: false }, () =>
        layers[1].forward(layers[0].forward(x)).float(),
      );
    for (let i = 0; i < 4; i++) {
      scope(() => forward().square().mean().backward());
      optimizer.step();
      optimizer.zeroGrad();
      scope(() => assert.equal(bytesOf(forward()), bytesOf(plain()), `${dtype}, step ${i}`));
      assert.equal(casts.made, 4, "each once, before the first step");
    }
    // In place by hand, by another optimizer, by other memory: each makes the casts anew.
    scope(() => void layers[0].weight.detach().mul_(2));
    scope(() => assert.equal(bytesOf(forward()), bytesOf(plain())));
    const other = new optim.SGD(parameters, { lr: 0.1, fused: true });
    scope(() => forward().square().mean().backward());
    other.step();
    scope(() => assert.equal(bytesOf(forward()), bytesOf(plain())));
    optimizer.step();
    other.step();
    scope(() => assert.equal(bytesOf(forward()), bytesOf(plain())));
    layers[1].weight.setData(layers[1].weight.detach().clone().mul_(0.5));
    scope(() => assert.equal(bytesOf(forward()), bytesOf(plain())));
    optimizer.zeroGrad();
  }
});

test("a graph by hand finds the casts of the weights that are there, whoever wrote them", options, () => {
  seedEverything(3);
  const layer = new nn.Linear(64, 32).to("cuda");
  const x = on(randn([16, 64]));
  using casts = new amp.WeightCasts(layer, "cuda");
  const optimizer = new optim.AdamW(layer.parameters(), { lr: 1e-2, fused: true });
  optimizer.keepRatesOn("cuda");
  const out = on(randn([16, 32]));
  const region = <T>(fn: () => T): T =>
    autocast({ deviceType: "cuda", dtype: "bfloat16", cacheEnabled: false }, () => casts.run(fn));
  const step = (): void =>
    scope(() => {
      const y = region(() => layer.forward(x)).float();
      y.square().mean().backward();
      out.copy_(y.detach());
      optimizer.step();
      optimizer.zeroGrad();
    });
  const graph = new cuda.CudaGraph();
  graph.warmUp(() => {
    step();
    step();
  });
  graph.capture(step);
  const expected = (): string =>
    scope(() =>
      bytesOf(autocast({ deviceType: "cuda", dtype: "bfloat16", cacheEnabled: false }, () => layer.forward(x)).float()),
    );
  const replayed = (what: string): void => {
    const before = expected();
    graph.replay();
    assert.equal(bytesOf(out), before, what);
    // Eager code after a replay sees the casts of the weights that it left.
    scope(() => assert.equal(bytesOf(region(() => layer.forward(x)).float()), expected(), `${what}, after it`));
  };
  replayed("first");
  const { made } = casts;
  replayed("second");
  assert.equal(casts.made, made, "a replay whose step writes the casts asks for none");
  scope(() => void layer.weight.detach().mul_(-1.5));
  replayed("written in place");
  scope(() =>
    region(() => layer.forward(x))
      .square()
      .mean()
      .backward(),
  );
  optimizer.step();
  optimizer.zeroGrad();
  replayed("after an eager step");
  new optim.SGD(layer.parameters(), { lr: 0.1, fused: true }).step();
  replayed("after a step without gradients");
  graph.dispose();
});

test("a step counts as no version: a graph from before it goes backward after it", options, () =>
  scope(() => {
    const p = on(randn([64])).requiresGrad_();
    const optimizer = new optim.AdamW([p], { lr: 0.1, fused: true });
    const loss = p.square().sum();
    p.grad = on(randn([64]));
    const { version } = p;
    optimizer.step();
    assert.equal(p.version, version);
    loss.backward();
  }),
);

/** A run's losses and weights to the last bit. */
const outcome = ({ losses, module }: Training): unknown => ({ losses, weights: module.parameters().map(bytesOf) });

test("recorded steps cast no weight after their first replay", options, async () => {
  for (const [make, accumulateGradBatches] of [
    [() => new SmallGpt(), 1],
    [() => new SmallGpt(), 4],
  ] as const) {
    const plugin = new MixedPrecision({ precision: "bf16-mixed" });
    const seen: number[] = [];
    class Watch extends Callback {
      override onTrainBatchEnd(): void {
        seen.push(plugin.weightCastsMade);
      }
    }
    await train(make, SmallGpt.batches(40), {
      plugins: plugin,
      cudaGraph: true,
      accumulateGradBatches,
      callbacks: new Watch(),
    });
    assert.ok((seen.at(-1) as number) > 0, "they were kept");
    assert.equal(seen.at(-1), seen[25], seen.join(" "));
  }
});

for (const precision of ["bf16-mixed", "16-mixed"] as const)
  test(`recorded steps with and without kept casts are the same to the last bit: ${precision}`, options, async () => {
    const settings = (cacheWeightCasts: boolean | null, more: TrainerOptions): TrainerOptions => ({
      plugins: new MixedPrecision({
        precision,
        ...(cacheWeightCasts === null ? {} : { cacheWeightCasts }),
        // A first scale at which steps are skipped.
        ...(precision === "16-mixed" ? { scaler: { initScale: 2 ** 24, growthInterval: 5 } } : {}),
      }),
      ...more,
    });
    for (const more of [{}, { accumulateGradBatches: 4 }, { gradientClipVal: 0.5 }] as const)
      for (const make of [() => new SmallGpt(), () => new SmallGpt(sgd)]) {
        const run = async (cache: boolean | null, cudaGraph: boolean): Promise<unknown> =>
          outcome(await train(make, SmallGpt.batches(24), settings(cache, { ...more, cudaGraph })));
        const plain = await run(false, true);
        assert.deepEqual(await run(null, true), plain, JSON.stringify(more));
        assert.deepEqual(await run(true, true), plain, JSON.stringify(more));
        assert.deepEqual(await run(true, false), await run(false, false), JSON.stringify(more));
      }
  });
