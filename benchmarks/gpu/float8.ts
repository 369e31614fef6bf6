/**
 * float8 linear layers against bfloat16: node float8.js [hidden 4096] [tokens 16384] [steps 30] → one line of JSON per
 * row. A block of two layers (hidden → 4 · hidden → hidden with GELU), forward and backward with a fused optimizer's
 * step, bf16 parameters; and one square layer alone, forward and backward. Eager and as a CUDA graph; the median of
 * five rounds.
 */
import { convertToFloat8, FLOAT8_RECIPES, type Float8RecipeName } from "@nbit/lowbit";
import { cuda, nn, optim, randn, scope, seedEverything, type Tensor } from "@nbit/torch";

const [hidden = 4096, tokens = 16384, steps = 30] = process.argv.slice(2).map(Number);

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1] ?? NaN;
}

/** Milliseconds per call, by the device's clock seen from the host: five rounds of `steps` calls. */
function time(step: () => void): number {
  for (let i = 0; i < 5; i++) step();
  cuda.synchronize();
  return median(
    Array.from({ length: 5 }, () => {
      const start = performance.now();
      for (let i = 0; i < steps; i++) step();
      cuda.synchronize();
      return (performance.now() - start) / steps;
    }),
  );
}

interface Row {
  readonly net: nn.Module & { forward(x: Tensor): Tensor };
  readonly optimizer: optim.Optimizer | null;
}

function build(model: string, recipe: Float8RecipeName | "bf16"): Row {
  seedEverything(1);
  const options = { device: "cuda", dtype: "bfloat16" } as const;
  const net =
    model === "square"
      ? new nn.Sequential(new nn.Linear(hidden, hidden, { ...options, bias: false }))
      : new nn.Sequential(
          new nn.Linear(hidden, 4 * hidden, options),
          new nn.GELU(),
          new nn.Linear(4 * hidden, hidden, options),
        );
  if (recipe !== "bf16") convertToFloat8(net, { recipe });
  return { net, optimizer: model === "square" ? null : new optim.AdamW(net.parameters(), { lr: 1e-4, fused: true }) };
}

for (const model of ["square", "block"]) {
  const baseline = new Map<string, number>();
  for (const recipe of ["bf16", ...(Object.keys(FLOAT8_RECIPES) as Float8RecipeName[])] as const)
    for (const mode of ["eager", "graph"]) {
      const { net, optimizer } = build(model, recipe);
      cuda.emptyCache();
      cuda.resetPeakMemoryStats();
      const x = randn([tokens, hidden], { device: "cuda" }).bfloat16().requiresGrad_();
      const g = randn([tokens, hidden], { device: "cuda" }).bfloat16();
      const step = (): void =>
        scope(() => {
          x.grad = null;
          net.zeroGrad();
          net.forward(x).backward({ gradient: g });
          optimizer?.step();
        });
      let run = step;
      if (mode === "graph") {
        const graph = new cuda.CudaGraph();
        for (let i = 0; i < 3; i++) graph.warmUp(step);
        graph.capture(step);
        run = () => graph.replay();
      }
      const ms = time(run);
      if (recipe === "bf16") baseline.set(mode, ms);
      const { peakAllocated } = cuda.memoryStats();
      console.log(
        JSON.stringify({
          model,
          hidden,
          tokens,
          recipe,
          mode,
          ms: Number(ms.toFixed(3)),
          speedup: Number(((baseline.get(mode) ?? NaN) / ms).toFixed(3)),
          peakMiB: Math.round(peakAllocated / 2 ** 20),
          device: cuda.getDeviceProperties(0).name,
        }),
      );
      x.dispose();
      g.dispose();
      for (const p of net.parameters()) p.dispose();
    }
}
