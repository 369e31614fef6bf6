/**
 * One fit of the campaign, and what must hold of it: it ends, it skips what it must, and it holds no more at its end
 * than in its middle.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { cuda, memory, scope, seedEverything, type Tensor } from "@nbit/torch";
import {
  Callback,
  CSVLogger,
  DeviceStatsMonitor,
  LearningRateMonitor,
  LossScaleMonitor,
  ModelCheckpoint,
  PrecisionLint,
  RunLog,
  Timer,
  Trainer,
  type TrainerView,
} from "@nbit/lightning";
import { SILENT } from "../../helpers/training.js";
import { batchesOf, infinitiesIn, moduleOf, type Mode } from "./net.js";
import { SGD_FUSED, type PrecisionCase } from "./precisions.js";

export interface Loop {
  readonly precision: PrecisionCase;
  readonly graph: boolean;
  /** With every callback and a logger that read values at their steps; or with none. */
  readonly callbacks: boolean;
  readonly mode: Mode;
  readonly steps: number;
  readonly device: "cpu" | "cuda";
}
export interface LoopResult {
  readonly wrong: string[];
  readonly milliseconds: number;
  readonly replayed: number;
  /** All weights at the end, to compare with those of another way. */
  readonly weights: readonly number[];
}

export const nameOf = (l: Loop): string =>
  `${l.precision.name}, ${l.graph ? "graph" : "eager"}, ${l.callbacks ? "all callbacks" : "bare"}, ${l.mode}`;

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;
const bytesOn = (device: string): number => (device === "cuda" ? cuda.memoryStats().allocated : 0);

/** What is held at two points, late enough that all that grows once has grown. */
class Held extends Callback {
  readonly samples: { readonly handles: number; readonly bytes: number }[] = [];
  #batches = 0;
  constructor(
    readonly at: readonly number[],
    readonly device: string,
  ) {
    super();
  }
  override onTrainBatchStart(): void {
    if (!this.at.includes(this.#batches++)) return;
    collect(); // what earlier loops of the process left to the garbage collector
    this.samples.push({ handles: memory().unreleased, bytes: bytesOn(this.device) });
  }
}

/** Whatever reads outcomes, rates, memory and metrics, writes files, and keeps records. */
function allCallbacks(folder: string): Callback[] {
  return [
    new LossScaleMonitor(),
    new LearningRateMonitor(),
    new DeviceStatsMonitor(),
    new Timer(),
    new PrecisionLint(),
    new RunLog({ path: join(folder, "run.jsonl") }),
    new ModelCheckpoint({ dirpath: join(folder, "checkpoints"), everyNTrainSteps: 100 }),
  ];
}

export function bitsOf(tensors: Iterable<Tensor>): string {
  return scope(() =>
    [...tensors].map((t) => Buffer.from(t.detach().cpu().contiguous().toBytes()).toString("base64")).join("\n"),
  );
}

/**
 * Two batches at the same point of a window, of the cadence of loggers and of that of validation: some 200 batches, or
 * many times that, lie between them.
 */
function samplePoints(steps: number): readonly [number, number] {
  const end = steps - 10;
  const period = steps >= 2200 ? 1000 : steps >= 400 ? 200 : 8;
  return [end - Math.max(1, Math.floor((end - steps / 2) / period)) * period, end];
}

export async function runLoop(loop: Loop): Promise<LoopResult> {
  const folder = mkdtempSync(join(tmpdir(), "nbit-campaign-"));
  const wrong: string[] = [];
  try {
    seedEverything(11);
    const module = moduleOf(loop.mode, SGD_FUSED);
    const batches = batchesOf(loop.steps, loop.device, loop.mode);
    const held = new Held(samplePoints(loop.steps), loop.device);
    const accumulate = loop.mode === "accumulation" ? 4 : 1;
    const trainer = new Trainer({
      ...SILENT,
      accelerator: loop.device === "cuda" ? "gpu" : "cpu",
      ...loop.precision.options(),
      cudaGraph: loop.graph,
      maxEpochs: 1,
      accumulateGradBatches: accumulate,
      deterministic: "warn",
      ...(module.automaticOptimization ? { gradientClipVal: 1 } : {}),
      ...(loop.mode === "validation"
        ? { valCheckInterval: Math.min(250, Math.floor(loop.steps / 4)), numSanityValSteps: 0 }
        : {}),
      ...(loop.callbacks
        ? {
            enableCheckpointing: true,
            logger: new CSVLogger(folder),
            logEveryNSteps: 50,
            callbacks: [held, ...allCallbacks(folder)],
          }
        : { callbacks: held }),
    });
    const began = performance.now();
    await trainer.fit(module, {
      trainDataloaders: batches,
      ...(loop.mode === "validation" ? { valDataloaders: batches.slice(0, 2) } : {}),
    });
    const milliseconds = performance.now() - began;

    const optimizers = loop.mode === "two optimizers" ? 2 : 1;
    const expected = Math.ceil(loop.steps / accumulate) * optimizers;
    if (trainer.globalStep !== expected) wrong.push(`${trainer.globalStep} steps instead of ${expected}`);
    checkSkips(loop, trainer, wrong);
    const [middle, end] = held.samples;
    if (middle === undefined || end === undefined) wrong.push("the samples were not taken");
    else {
      if (end.handles !== middle.handles)
        wrong.push(`${end.handles - middle.handles} tensors more at the end than in the middle`);
      if (end.bytes !== middle.bytes)
        wrong.push(`${end.bytes - middle.bytes} bytes more on the device at the end than in the middle`);
    }
    return {
      wrong,
      milliseconds,
      replayed: trainer.replayedBatches,
      weights: scope(() =>
        [...module.parameters()].flatMap((p) => p.detach().to("float64").flatten().tolist() as number[]),
      ),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * Batches with infinities are skipped, all of them; beside those only the first steps are, while the scale comes down,
 * and those after it has grown too far.
 */
function checkSkips(loop: Loop, trainer: TrainerView & { readonly skippedSteps: number }, wrong: string[]): void {
  if (!loop.precision.scales)
    return void (
      trainer.skippedSteps === 0 || wrong.push(`${trainer.skippedSteps} steps were skipped without a scaler`)
    );
  const least = loop.mode === "infinities" ? infinitiesIn(loop.steps) : 0;
  const most = least + Math.ceil(loop.steps / 100) + 24;
  if (trainer.skippedSteps < least || trainer.skippedSteps > most)
    wrong.push(`${trainer.skippedSteps} steps were skipped, expected ${least} to ${most}`);
}
