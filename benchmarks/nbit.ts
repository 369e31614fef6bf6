/**
 * One measurement of nbit, in a process of its own: one line of JSON.
 *
 *     node nbit.js step <model> <trainer|loop> <default|fused> <32|bf16> <threads> <steps> [cold] [accumulate] [casts]
 *     node nbit.js add <threads>     node nbit.js memory <steps>     node nbit.js import
 */
import { getHeapStatistics } from "node:v8";
import type { ModelName } from "./models.js";

const torch = await import("@nbit/torch");
const { Callback, LightningModule, MixedPrecision, Trainer } = await import("@nbit/lightning");
const { build } = await import("./models.js");
type Tensor = InstanceType<typeof torch.Tensor>;
type Optimizer = InstanceType<typeof torch.optim.Optimizer>;

const [what = "step", ...rest] = process.argv.slice(2);
const print = (result: object): void => console.log(JSON.stringify(result));
const median = (times: number[]): number => times.sort((a, b) => a - b)[times.length >> 1] ?? NaN;

/**
 * Time all steps from the second on, as a process that has just begun takes them, instead of warming up for a fourth of
 * them.
 */
const cold = rest.includes("cold");
/** Four batches to an optimizer step; with the casts of weights kept between them. Only in bf16, by the Trainer. */
const accumulateGradBatches = rest.includes("accumulate") ? 4 : 1;
const cacheWeightCasts = rest.includes("casts");

/**
 * A measurement: losses of the first steps, which prove that both sides compute the same; then so many times of so many
 * steps. baseline.py has the same lines.
 */
function plan(steps: number): { checked: number; warmUp: number; chunks: number; chunk: number } {
  const checked = Math.min(10, Math.max(2, steps >> 1));
  if (cold) return { checked, warmUp: 1, chunks: 1, chunk: steps };
  const chunks = Math.min(20, steps);
  return { checked, warmUp: Math.max(checked, steps >> 2), chunks, chunk: Math.floor(steps / chunks) };
}

function parts(
  model: ModelName,
  optimizer: string,
): { workload: ReturnType<typeof build>; makeOptimizer: () => Optimizer } {
  torch.seedEverything(42);
  const workload = build(model);
  return {
    workload,
    makeOptimizer: () =>
      new torch.optim.AdamW(workload.net.parameters(), { lr: 1e-3, ...(optimizer === "fused" ? { fused: true } : {}) }),
  };
}

class Endless extends torch.Dataset<Tensor[]> {
  readonly length = 10 ** 7;
  constructor(readonly pair: Tensor[]) {
    super();
  }
  get(): Tensor[] {
    return this.pair;
  }
}

async function trainerSteps(model: ModelName, optimizer: string, bf16: boolean, steps: number): Promise<void> {
  const { workload, makeOptimizer } = parts(model, optimizer);
  const losses: number[] = [];
  const times: number[] = [];
  const { checked, warmUp, chunks, chunk } = plan(steps);
  let from = 0;
  class Meter extends Callback {
    override onTrainBatchEnd(
      _trainer: unknown,
      _module: unknown,
      _outputs: unknown,
      _batch: unknown,
      index: number,
    ): void {
      const done = index + 1 - warmUp;
      if (done < 0 || done % chunk !== 0) return;
      const now = performance.now();
      if (done > 0) times.push(((now - from) / chunk) * 1000);
      from = now;
    }
  }
  class Module extends LightningModule {
    readonly net = workload.net;
    override trainingStep([x, y]: [Tensor, Tensor], index: number): Tensor {
      const loss = workload.loss(workload.net.forward(x), y);
      if (index < checked) losses.push(loss.item());
      return loss;
    }
    override configureOptimizers(): Optimizer {
      return makeOptimizer();
    }
  }
  const trainer = new Trainer({
    accelerator: "cpu",
    ...(bf16 ? { plugins: new MixedPrecision({ precision: "bf16-mixed", cacheWeightCasts }) } : { precision: 32 }),
    accumulateGradBatches,
    maxSteps: Math.ceil((warmUp + chunk * chunks) / accumulateGradBatches),
    logger: false,
    enableCheckpointing: false,
    enableProgressBar: false,
    enableModelSummary: false,
    callbacks: [new Meter()],
  });
  const pair = [torch.keep(workload.x), torch.keep(workload.y)];
  await trainer.fit(new Module(), { trainDataloaders: new torch.DataLoader(new Endless(pair), { batchSize: null }) });
  print({ us: median(times), losses });
}

function loopSteps(model: ModelName, optimizer: string, bf16: boolean, steps: number): void {
  const { workload, makeOptimizer } = parts(model, optimizer);
  const opt = makeOptimizer();
  const losses: number[] = [];
  const forward = (): Tensor => workload.loss(workload.net.forward(workload.x), workload.y);
  const step = (record: boolean): void =>
    torch.scope(() => {
      opt.zeroGrad();
      const loss = bf16 ? torch.autocast({ deviceType: "cpu", dtype: "bfloat16" }, forward) : forward();
      if (record) losses.push(loss.item());
      loss.backward();
      opt.step();
    });
  const { checked, warmUp, chunks, chunk } = plan(steps);
  for (let i = 0; i < warmUp; i++) step(i < checked);
  const times: number[] = [];
  for (let c = 0; c < chunks; c++) {
    const from = performance.now();
    for (let i = 0; i < chunk; i++) step(false);
    times.push(((performance.now() - from) / chunk) * 1000);
  }
  print({ us: median(times), losses });
}

/** One `add` of two 4×4 tensors without autograd, the result given back at once: from call to result. */
function smallAdd(): void {
  const a = torch.ones([4, 4]);
  const b = torch.ones([4, 4]);
  const times: number[] = [];
  let last = 0;
  torch.noGrad(() => {
    for (let chunk = 0; chunk < 60; chunk++) {
      const from = performance.now();
      for (let i = 0; i < 5000; i++) torch.add(a, b).dispose();
      if (chunk >= 20) times.push((performance.now() - from) / 5);
    }
    last = torch.scope(() => torch.add(a, b).sum().item());
  });
  print({ us: median(times), losses: [last] });
}

/**
 * Resident memory after 100 steps of the Trainer, when V8 has grown its heap to what the program needs, and at the end.
 */
async function memoryOfSteps(steps: number): Promise<void> {
  const { workload, makeOptimizer } = parts("mlp", "fused");
  const pair = [torch.keep(workload.x), torch.keep(workload.y)];
  const seen: { step: number; mib: number; heapMib: number; tensors: number }[] = [];
  class Watch extends Callback {
    override onTrainBatchEnd(
      _trainer: unknown,
      _module: unknown,
      _outputs: unknown,
      _batch: unknown,
      index: number,
    ): void {
      if (index + 1 === 100 || index + 1 === steps * 0.3 || index + 1 === steps) {
        const { residentBytes, tensors } = torch.memory();
        seen.push({
          step: index + 1,
          mib: residentBytes / 2 ** 20,
          heapMib: getHeapStatistics().total_physical_size / 2 ** 20,
          tensors,
        });
      }
    }
  }
  class Module extends LightningModule {
    readonly net = workload.net;
    override trainingStep([x, y]: [Tensor, Tensor]): Tensor {
      return workload.loss(workload.net.forward(x), y);
    }
    override configureOptimizers(): Optimizer {
      return makeOptimizer();
    }
  }
  const trainer = new Trainer({
    accelerator: "cpu",
    maxSteps: steps,
    logger: false,
    enableCheckpointing: false,
    enableProgressBar: false,
    enableModelSummary: false,
    callbacks: [new Watch()],
  });
  await trainer.fit(new Module(), { trainDataloaders: new torch.DataLoader(new Endless(pair), { batchSize: null }) });
  print({ first: seen[0], middle: seen[1], last: seen[2] });
}

/**
 * Steps of AdamW8bit over ten million elements; the mean parameter afterwards says that both ways computed the same.
 */
async function optimizerSteps(reference: boolean): Promise<void> {
  const { AdamW8bit } = await import("@nbit/lowbit");
  torch.seedEverything(0);
  const p = new torch.nn.Parameter(torch.randn([1e7]).mul(0.1));
  p.grad = torch.randn([1e7]).mul(0.01);
  const optimizer = new AdamW8bit([p]);
  if (reference) Object.defineProperty(optimizer, "family", { value: { ...optimizer.family, fused: null } });
  optimizer.step();
  optimizer.step();
  const losses = [p.abs().mean().item()];
  const times: number[] = [];
  for (let i = 0; i < (reference ? 3 : 15); i++) {
    const from = performance.now();
    optimizer.step();
    times.push((performance.now() - from) * 1000);
  }
  print({ us: median(times), losses, stateBytes: optimizer.stateBytes() });
}

if (what === "step") {
  const [model, how, optimizer = "default", precision, threads, steps] = rest;
  torch.setNumThreads(Number(threads));
  process.on("warning", () => undefined); // emulated bfloat16 is said in the report
  if (how === "trainer") await trainerSteps(model as ModelName, optimizer, precision === "bf16", Number(steps));
  else loopSteps(model as ModelName, optimizer, precision === "bf16", Number(steps));
} else if (what === "add") {
  torch.setNumThreads(Number(rest[0]));
  smallAdd();
} else if (what === "optimizer") {
  torch.setNumThreads(Number(rest[1]));
  await optimizerSteps(rest[0] === "reference");
} else if (what === "memory") {
  torch.setNumThreads(1);
  await memoryOfSteps(Number(rest[0]));
} else {
  torch.ones([1]).item();
  print({ us: performance.now() * 1000, losses: [] }); // since the process began
}
