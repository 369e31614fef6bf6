/**
 * The fused kernels beside their plain references, each at the shapes of a GPT-2 124M step: node
 * benchmarks/dist/gpu/kernels.js → a table. Forward and backward together; microseconds, median of seven stretches.
 * `benchmarkKernels()` returns the rows.
 */
import { fileURLToPath } from "node:url";
import {
  autocast,
  backward,
  cuda,
  maxPool2d,
  maxPool2dWithIndices,
  nn,
  optim,
  randn,
  scope,
  seedEverything,
  type DType,
  type Tensor,
} from "@nbit/torch";
import { AdamW8bit, type LowBitOptimizer } from "@nbit/lowbit";

export interface KernelRow {
  readonly name: string;
  readonly fusedMicroseconds: number;
  readonly plainMicroseconds: number;
  /** Bytes that the fused form must read and write, for its share of the memory's speed. */
  readonly bytes: number;
}

function microseconds(fn: () => void, repeats: number): number {
  for (let i = 0; i < 5; i++) scope(fn);
  const times: number[] = [];
  for (let stretch = 0; stretch < 7; stretch++) {
    const start = new cuda.Event({ enableTiming: true }).record();
    for (let i = 0; i < repeats; i++) scope(fn);
    const end = new cuda.Event({ enableTiming: true }).record();
    end.synchronize();
    times.push((start.elapsedTime(end) * 1000) / repeats);
  }
  return times.sort((a, b) => a - b)[3] as number;
}
/** As a graph, so that the host's time does not count. */
function replayed(fn: () => void, repeats: number): number {
  const graph = new cuda.CudaGraph();
  graph.warmUp(() => {
    for (let i = 0; i < 3; i++) scope(fn);
  });
  graph.capture(() => scope(fn));
  return microseconds(() => graph.replay(), repeats);
}

export function benchmarkKernels(
  options: {
    readonly dtype?: "bfloat16" | "float16";
    readonly rows?: number;
    readonly width?: number;
    readonly repeats?: number;
  } = {},
): KernelRow[] {
  const { dtype = "bfloat16", rows = 8192, width = 768, repeats = 50 } = options;
  seedEverything(0);
  const leaf = (shape: number[], of: DType): Tensor => randn(shape, { device: "cuda" }).to(of).requiresGrad_();
  const region = { deviceType: "cuda", dtype } as const;
  const result: KernelRow[] = [];
  const n = rows * width;

  const x = leaf([rows, width], "float32");
  const branch = leaf([rows, width], dtype);
  const norm = new nn.LayerNorm(width).to("cuda");
  const forSum = randn([rows, width], { device: "cuda" });
  const forNormed = randn([rows, width], { device: "cuda" }).to(dtype);
  const clear = (...tensors: readonly (Tensor | null)[]): void =>
    tensors.forEach((t) => {
      if (t !== null) t.grad = null;
    });
  const through = (pair: readonly [Tensor, Tensor]): void => {
    backward(pair, [forSum, forNormed]);
    clear(x, branch, norm.weight, norm.bias);
  };
  result.push({
    name: `residual + LayerNorm, ${rows} × ${width}, float32 + ${dtype}`,
    fusedMicroseconds: replayed(() => through(autocast(region, () => norm.addTo(x, branch))), repeats),
    plainMicroseconds: replayed(
      () =>
        through(
          autocast(region, () => {
            const sum = x.add(branch);
            return [sum, norm.forward(sum).to(dtype)] as const;
          }),
        ),
      repeats,
    ),
    bytes: n * (4 + 2 + 4 + 2) + n * (2 + 4 + 4 + 4 + 2),
  });

  const hidden = leaf([rows, 4 * width], dtype);
  const bias = leaf([4 * width], "float32");
  const forHidden = randn([rows, 4 * width], { device: "cuda" }).to(dtype);
  const gelu = (y: Tensor): void => {
    y.backward({ gradient: forHidden });
    clear(hidden, bias);
  };
  result.push({
    name: `bias + GELU, ${rows} × ${4 * width}, ${dtype}`,
    fusedMicroseconds: replayed(() => gelu(nn.functional.biasGelu(hidden, bias)), repeats),
    plainMicroseconds: replayed(() => gelu(nn.functional.gelu(hidden.add(bias.to(dtype)))), repeats),
    bytes: 4 * n * (2 + 2) + 4 * n * (2 + 2 + 2),
  });

  // The widest and the deepest activations of ResNet-50.
  for (const [side, channels, withResidual] of [
    [56, 64, false],
    [56, 256, true],
    [7, 2048, true],
  ] as const) {
    const last = (): Tensor =>
      randn([256, channels, side, side], { device: "cuda" }).to(dtype).contiguous({ memoryFormat: "channelsLast" });
    const [input, other, along] = [last().requiresGrad_(), withResidual ? last().requiresGrad_() : null, last()];
    const bn = new nn.BatchNorm2d(channels).to("cuda");
    const elements = 256 * channels * side * side;
    for (const [what, residual, relu, more] of [
      [`${withResidual ? " + residual" : ""} + ReLU`, other, true, withResidual ? elements * (2 + 2 + 3 / 8) : 0],
      [" alone", null, false, 0],
    ] as const) {
      const pass = (path: "kernel" | "reference") => (): void => {
        bn.thenRelu(input, residual, { relu, path }).backward({ gradient: along });
        clear(input, residual, bn.weight, bn.bias);
      };
      result.push({
        name: `BatchNorm${what}, ${channels} × ${side}², ${dtype}`,
        fusedMicroseconds: replayed(pass("kernel"), repeats),
        plainMicroseconds: replayed(pass("reference"), repeats),
        bytes: elements * 2 * (3 + 5) + more,
      });
    }
  }

  const images = randn([256, 64, 112, 112], { device: "cuda" })
    .to(dtype)
    .contiguous({ memoryFormat: "channelsLast" })
    .requiresGrad_();
  const forPooled = randn([256, 64, 56, 56], { device: "cuda" }).to(dtype).contiguous({ memoryFormat: "channelsLast" });
  const pool = (pooled: Tensor): void => {
    pooled.backward({ gradient: forPooled });
    clear(images);
  };
  result.push({
    name: `max pool 3 × 3 by 2, 64 × 112², ${dtype}`,
    fusedMicroseconds: replayed(() => pool(maxPool2d(images, [3, 3], [2, 2], [1, 1])), repeats),
    plainMicroseconds: replayed(() => pool(maxPool2dWithIndices(images, [3, 3], [2, 2], [1, 1])[0]), repeats),
    bytes: images.numel() * (2 + 2) + forPooled.numel() * 2 * (2 + 1),
  });

  const parameters = [leaf([8 * n], "float32")];
  for (const p of parameters) p.grad = p.detach().mul(0.01);
  const stepOf = (o: LowBitOptimizer | optim.AdamW): number => microseconds(() => void o.step(), repeats);
  result.push({
    name: `AdamW8bit beside fused float32 AdamW, ${8 * n} elements`,
    fusedMicroseconds: stepOf(new AdamW8bit(parameters)),
    plainMicroseconds: stepOf(new optim.AdamW(parameters, { fused: true })),
    bytes: 8 * n * (4 + 4 + 4 + 1 + 1 + 1 + 1),
  });
  return result;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (!cuda.isAvailable()) console.log("benchmarks/gpu/kernels: skipped: needs a CUDA device");
  else {
    console.log("| kernel, forward and backward | fused µs | plain µs | plain / fused | fused GB/s |");
    console.log("|---|---|---|---|---|");
    for (const dtype of ["bfloat16", "float16"] as const)
      for (const r of benchmarkKernels({ dtype }).slice(0, dtype === "bfloat16" ? undefined : -1))
        console.log(
          `| ${r.name} | ${r.fusedMicroseconds.toFixed(1)} | ${r.plainMicroseconds.toFixed(1)} | ${(r.plainMicroseconds / r.fusedMicroseconds).toFixed(2)} | ${(r.bytes / r.fusedMicroseconds / 1000).toFixed(0)} |`,
        );
  }
}
