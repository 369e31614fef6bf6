import assert from "node:assert/strict";
import { test } from "node:test";
import {
  autocast,
  AutogradFunction,
  cuda,
  embedding,
  GradScaler,
  memory,
  nn,
  optim,
  randint,
  randn,
  scope,
  seedEverything,
  tensor,
  TorchError,
  type FunctionContext,
  type Tensor,
} from "@nbit/torch";
import { LightningModule, Trainer } from "@nbit/lightning";
import { SILENT } from "../helpers/training.js";
import { Losses, on, options } from "./support.js";

/** Two layers are enough to touch embeddings, matrix products, a norm, a nonlinearity and the loss. */
class Small extends LightningModule {
  readonly wte = new nn.Embedding(64, 32);
  readonly norm = new nn.LayerNorm(32);
  readonly fc = new nn.Linear(32, 128);
  readonly out = new nn.Linear(128, 32);
  override trainingStep(batch: unknown): Tensor {
    const [x, y] = batch as readonly [Tensor, Tensor];
    const h = embedding(this.wte.weight, x).view([-1, 32]);
    const z = h.add(this.out.forward(nn.functional.gelu(this.fc.forward(this.norm.forward(h)))));
    const loss = nn.functional.fusedLinearCrossEntropy(z, this.wte.weight, y.view([-1]));
    this.log("loss", loss, { onStep: true, onEpoch: true });
    return loss;
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.AdamW(this.parameters(), { lr: 1e-2, fused: true });
  }
}

async function train(
  precision: 32 | 64 | 16 | "bf16" | "16-true" | "bf16-true",
  cudaGraph: boolean,
  steps = 40,
): Promise<number[]> {
  seedEverything(1);
  const x = randint(64, [8, 16]);
  const batches = Array.from({ length: steps }, () => [on(x), on(x.roll(-1, 1))]);
  const losses = new Losses();
  seedEverything(7);
  const trainer = new Trainer({
    ...SILENT,
    accelerator: "gpu",
    devices: 1,
    precision,
    cudaGraph,
    maxSteps: steps,
    maxEpochs: 1,
    callbacks: [losses],
  });
  await trainer.fit(new Small(), { trainDataloaders: batches });
  return losses.read();
}

test("every precision trains to the loss of float32", options, async () => {
  const full = await train(32, false);
  const last = full[full.length - 1] as number;
  assert.ok(last < 0.5 * (full[0] as number), `float32 learns: ${full[0]} → ${last}`);
  for (const precision of [64, 16, "bf16", "bf16-true"] as const) {
    const losses = await train(precision, false);
    const end = losses[losses.length - 1] as number;
    assert.ok(Math.abs(end - last) < 0.15 * (full[0] as number), `${precision}: ${end}, float32 ${last}`);
  }
});

for (const precision of [32, 16, "bf16"] as const)
  test(`a whole step in one CUDA graph gives the losses of eager steps: ${precision}`, options, async () => {
    const eager = await train(precision, false);
    const graph = await train(precision, true);
    eager.forEach((loss, i) =>
      assert.ok(
        Math.abs(loss - (graph[i] as number)) <= 2e-3 * Math.max(1, loss),
        `step ${i}: eager ${loss}, graph ${graph[i]}`,
      ),
    );
  });

test("a steady step does not synchronize", options, () => {
  seedEverything(0);
  const net = new nn.Sequential(new nn.Linear(64, 128), new nn.GELU(), new nn.Linear(128, 10)).to("cuda");
  const optimizer = new optim.AdamW(net.parameters(), { fused: true });
  const scaler = new GradScaler({ device: "cuda" });
  const x = on(randn([32, 64]));
  const y = on(randint(10, [32]));
  const step = (): void =>
    scope(() => {
      optimizer.zeroGrad();
      const loss = autocast({ deviceType: "cuda", dtype: "float16" }, () => nn.functional.crossEntropy(net.call(x), y));
      scaler.scale(loss).backward();
      optim.clipGradNorm(net.parameters(), 1);
      scaler.step(optimizer);
      scaler.update();
    });
  for (let i = 0; i < 5; i++) step();
  cuda.setSyncDebugMode("error");
  try {
    for (let i = 0; i < 5; i++) step();
  } finally {
    cuda.setSyncDebugMode("default");
  }
});

for (const [rows, classes, dtype] of [
  [64, 1000, "bfloat16"],
  [33, 1001, "float16"],
  [8, 50304, "bfloat16"],
] as const)
  test(`fused linear cross entropy equals its reference: ${rows} × ${classes} ${dtype}`, options, () => {
    scope(() => {
      seedEverything(3);
      const make = (): readonly [Tensor, Tensor] => [
        on(randn([rows, 48])).requiresGrad_(),
        on(randn([classes, 48]).mul(0.1)).requiresGrad_(),
      ];
      seedEverything(3);
      const [x1, w1] = make();
      seedEverything(3);
      const [x2, w2] = make();
      const target = on(randint(classes, [rows]));
      target.select(0, 0).fill_(-100);
      const region = { deviceType: "cuda", dtype } as const;
      const fused = autocast(region, () => nn.functional.fusedLinearCrossEntropy(x1, w1, target));
      const chunked = autocast(region, () => nn.functional.fusedLinearCrossEntropy(x1, w1, target, { chunkRows: 16 }));
      const plain = autocast(region, () => nn.functional.linearCrossEntropyReference(x2, w2, target));
      assert.ok(Math.abs(fused.item() - plain.item()) < 1e-3 * plain.item(), `${fused.item()} ${plain.item()}`);
      assert.ok(Math.abs(chunked.item() - plain.item()) < 1e-3 * plain.item());
      fused.mul(1024).backward();
      plain.mul(1024).backward();
      const close = (a: Tensor | null, b: Tensor | null): void => {
        assert.ok(a !== null && b !== null);
        const error = a.sub(b).norm().item() / b.norm().item();
        assert.ok(error < 5e-3, `relative error ${error}`);
      };
      close(x1.grad, x2.grad);
      close(w1.grad, w2.grad);
      const before = (w1.grad as Tensor).clone();
      w1.grad = null;
      x1.grad = null;
      chunked.mul(1024).backward();
      close(w1.grad as Tensor | null, before);
    });
  });

test("a custom function's backward runs on this thread, also on a GPU", options, () => {
  class Square extends AutogradFunction {
    static forward(ctx: FunctionContext, x: Tensor): Tensor {
      ctx.saveForBackward(x);
      return x.mul(x);
    }
    static backward(ctx: FunctionContext, g: Tensor): Tensor {
      return g.mul(ctx.saved(0)).mul(2);
    }
  }
  const x = tensor([1, 2, 3], { device: "cuda", requiresGrad: true });
  Square.apply(x).sum().backward();
  assert.deepEqual(x.grad?.tolist(), [2, 4, 6]);
});

test("out of memory is an error with a code, and nothing is lost", options, () => {
  const before = memory().unreleased;
  assert.throws(
    () => randn([1 << 20, 1 << 20], { device: "cuda" }),
    (e) => e instanceof TorchError && e.code === "TORCH_OUT_OF_MEMORY",
  );
  assert.equal(memory().unreleased, before);
  assert.equal(tensor([2], { device: "cuda" }).add(1).item(), 3);
});

test("events, streams and memory statistics work", options, () => {
  const start = new cuda.Event({ enableTiming: true }).record();
  const side = cuda.Stream.create();
  side.waitEvent(start);
  const x = side.run(() => randn([256, 256], { device: "cuda" }).mm(randn([256, 256], { device: "cuda" })));
  cuda.Stream.current().waitStream(side);
  const end = new cuda.Event({ enableTiming: true }).record();
  end.synchronize();
  assert.ok(start.elapsedTime(end) >= 0);
  assert.equal(end.query(), true);
  const stats = cuda.memoryStats();
  assert.ok(stats.allocated >= x.nbytes && stats.peakAllocated >= stats.allocated && stats.reserved >= stats.allocated);
  cuda.resetPeakMemoryStats();
  cuda.emptyCache();
  assert.ok(cuda.getDeviceCapability()[0] >= 5);
});
