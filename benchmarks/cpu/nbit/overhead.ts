/** What the Trainer and the loader take for themselves. python/overhead.py does the same with Lightning and PyTorch. */
import { LightningModule, Trainer } from "@nbit/lightning";
import {
  DataLoader,
  Dataset,
  keep,
  nn,
  ones,
  optim,
  randn,
  scope,
  tensor,
  TensorDataset,
  type Tensor,
} from "@nbit/torch";
import type { OverheadJob } from "../job.js";
import { median } from "../statistics.js";

/** Takes so many steps, and returns the microseconds of each after the first fourth. */
type Run = (steps: number) => number | Promise<number>;

export async function overhead({ of, steps, rounds }: OverheadJob): Promise<object> {
  const [ours, byHand]: readonly [Run, Run] = of === "trainer" ? [trainer, loop] : [loader, gathers];
  const differences: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const first = i % 2 === 0 ? ours : byHand;
    const [a, b] = [await first(steps), await (first === ours ? byHand : ours)(steps)];
    // The first round is of code that is still interpreted.
    if (i > 0) differences.push(first === ours ? a - b : b - a);
  }
  return { us: median(differences), losses: [] };
}

class Stopwatch {
  #done = 0;
  #from = 0;
  us = 0;
  constructor(readonly steps: number) {}
  tick(): void {
    const warmUp = this.steps >> 2;
    if (++this.#done === warmUp) this.#from = performance.now();
    else if (this.#done === this.steps) this.us = ((performance.now() - this.#from) * 1000) / (this.steps - warmUp);
  }
}

class Endless extends Dataset<Tensor> {
  readonly length = 10 ** 7;
  readonly one = keep(ones([1]));
  get(): Tensor {
    return this.one;
  }
}

class Scale extends LightningModule {
  readonly weight = new nn.Parameter(ones([1]));
  constructor(readonly watch: Stopwatch) {
    super();
  }
  override trainingStep(batch: Tensor): Tensor {
    this.watch.tick();
    return this.weight.mul(batch);
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 1e-3 });
  }
}

async function trainer(steps: number): Promise<number> {
  const watch = new Stopwatch(steps);
  const run = new Trainer({
    accelerator: "cpu",
    logger: false,
    enableCheckpointing: false,
    enableProgressBar: false,
    enableModelSummary: false,
    maxSteps: steps,
  });
  await run.fit(new Scale(watch), { trainDataloaders: new DataLoader(new Endless(), { batchSize: null }) });
  return watch.us;
}

function loop(steps: number): number {
  const watch = new Stopwatch(steps);
  const module = new Scale(watch);
  const optimizer = module.configureOptimizers();
  const data = new Endless();
  for (let i = 0; i < steps; i++)
    scope(() => {
      const loss = module.trainingStep(data.get());
      optimizer.zeroGrad();
      loss.backward();
      optimizer.step();
    });
  return watch.us;
}

const ROWS = 8000;
const BATCH = 8;
const tensors = [keep(randn([ROWS, 32])), keep(randn([ROWS, 10]))] as const;

function loader(steps: number): number {
  const watch = new Stopwatch(steps);
  const batches = new DataLoader(new TensorDataset(...tensors), { batchSize: BATCH, shuffle: true });
  for (let done = 0; done < steps;) {
    const pass = batches[Symbol.iterator]();
    while (done < steps && scope(() => pass.next().done !== true)) {
      watch.tick();
      done++;
    }
  }
  return watch.us;
}

function gathers(steps: number): number {
  const watch = new Stopwatch(steps);
  const order = Int32Array.from({ length: ROWS }, (_, i) => (i * 4801) % ROWS);
  for (let done = 0; done < steps; done++) {
    const at = (done * BATCH) % ROWS;
    scope(() => {
      const positions = tensor(order.subarray(at, at + BATCH));
      for (const t of tensors) t.indexSelect(0, positions);
    });
    watch.tick();
  }
  return watch.us;
}
