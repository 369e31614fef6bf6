/**
 * What a save costs training: `node benchmarks/dist/checkpoint/main.js [--folder DIR]`. Milliseconds of a step without a
 * save, of one that saves, and of those beside a write, for checkpoints of 64 and 256 MiB, saved at once and by a
 * thread. Prints a table.
 */
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import {
  AsyncCheckpointIO,
  Callback,
  LightningModule,
  TorchCheckpointIO,
  Trainer,
  type TrainerView,
} from "@nbit/lightning";
import { nn, optim, randn, zeros, type Tensor } from "@nbit/torch";

const SIZES = [64, 256]; // MiB
const SAVES = 4;
/** Enough for a write to end before the next begins. */
const STEPS_BETWEEN = 60;
const ROUNDS = 2;

/** A step of a few milliseconds, whatever is saved: the rest of the checkpoint takes no part in it. */
class Net extends LightningModule {
  readonly layer = new nn.Linear(512, 512);
  declare readonly ballast: Tensor;
  constructor(mebibytes: number) {
    super();
    this.registerBuffer("ballast", zeros([mebibytes, 2 ** 18])); // float32
  }
  override trainingStep(x: Tensor): Tensor {
    return this.layer.forward(this.layer.forward(x)).square().mean();
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 1e-3 });
  }
}

interface Times {
  /** Of steps that nothing is written beside. */
  readonly quiet: number[];
  /** Of steps that save. */
  readonly saving: number[];
  /** Of steps while a thread writes. */
  readonly beside: number[];
  /** From the save until the file is there. */
  readonly written: number[];
}

class Clock extends Callback {
  readonly times: Times = { quiet: [], saving: [], beside: [], written: [] };
  readonly #path: string;
  #began = 0;
  #writing = 0;
  #saves = 0;
  constructor(path: string) {
    super();
    this.#path = path;
  }
  override onTrainBatchStart(): void {
    this.#began = performance.now();
  }
  override onTrainBatchEnd(
    trainer: TrainerView,
    _module: LightningModule,
    _outputs: unknown,
    _batch: unknown,
    batchIdx: number,
  ): void {
    const writing = this.#writing > 0;
    const saves = batchIdx % STEPS_BETWEEN === STEPS_BETWEEN - 1;
    if (saves) {
      const start = performance.now();
      this.#writing++;
      trainer.saveCheckpoint(`${this.#path}-${this.#saves++ % 2}.ckpt`);
      trainer.checkpointIO.whenSaved(() => {
        this.#writing--;
        this.times.written.push(performance.now() - start);
      });
    }
    const took = performance.now() - this.#began;
    if (batchIdx >= 5) this.times[saves ? "saving" : writing ? "beside" : "quiet"].push(took);
  }
}

async function fit(
  folder: string,
  mebibytes: number,
  byThread: boolean,
): Promise<{ readonly times: Times; readonly seconds: number }> {
  const clock = new Clock(join(folder, "checkpoint"));
  const trainer = new Trainer({
    accelerator: "cpu",
    logger: false,
    enableCheckpointing: false,
    enableProgressBar: false,
    enableModelSummary: false,
    maxEpochs: 1,
    callbacks: [clock],
    plugins: byThread ? new AsyncCheckpointIO() : new TorchCheckpointIO(),
  });
  const batch = randn([512, 512]);
  const start = performance.now();
  await trainer.fit(new Net(mebibytes), {
    trainDataloaders: Array.from({ length: SAVES * STEPS_BETWEEN }, () => batch),
  });
  return { times: clock.times, seconds: (performance.now() - start) / 1000 };
}

function median(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted[Math.floor(sorted.length / 2)];
  return middle === undefined ? "–" : middle.toFixed(middle < 100 ? 1 : 0);
}

/** Milliseconds that the disk takes for as many bytes at once, with fsync. */
function disk(folder: string, mebibytes: number): number {
  const path = join(folder, "plain");
  const bytes = new Uint8Array(mebibytes * 2 ** 20);
  const start = performance.now();
  writeFileSync(path, bytes, { flush: true });
  const took = performance.now() - start;
  if (statSync(path).size !== bytes.length) throw new Error("a short write");
  rmSync(path);
  return took;
}

const { values } = parseArgs({ options: { folder: { type: "string", default: tmpdir() } } });
const folder = mkdtempSync(join(values.folder, "nbit-checkpoint-"));
try {
  console.log(`${cpus().length} × ${cpus()[0]?.model ?? "?"}, Node.js ${process.version}. Milliseconds, medians.\n`);
  console.log(
    "| checkpoint | saved | step | step that saves | steps beside the write | until the file is there | the whole fit (s) | one write by Node (ms) |",
  );
  console.log("|---|---|---|---|---|---|---|---|");
  for (const size of SIZES) {
    const ways = [false, true].map((byThread) => ({
      byThread,
      times: { quiet: [], saving: [], beside: [], written: [] } as Times,
      seconds: [] as number[],
    }));
    const plain: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      plain.push(disk(folder, size));
      for (const way of ways) {
        const { times, seconds } = await fit(folder, size, way.byThread);
        for (const name of ["quiet", "saving", "beside", "written"] as const) way.times[name].push(...times[name]);
        way.seconds.push(seconds);
      }
    }
    for (const { byThread, times, seconds } of ways)
      console.log(
        `| ${size} MiB | ${byThread ? "by a thread" : "at once"} | ${[times.quiet, times.saving, times.beside, times.written, seconds, plain].map(median).join(" | ")} |`,
      );
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
