/**
 * Whole runs of five families of models: every loss, every row of metrics, learning rates, checkpoints' names and scores
 * and the last bit of every weight are Lightning's, which make_fixtures.py recorded.
 */
import { incomparable, type FixtureOrigin } from "../../helpers/reproducible.js";
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { test } from "node:test";
import {
  EarlyStopping,
  ModelCheckpoint,
  seedEverything,
  StochasticWeightAveraging,
  Trainer,
  type Callback,
  type TrainerOptions,
} from "@nbit/lightning";
import { arange, cpuCapability, DataLoader, setCpuKernels, setNumThreads, TensorDataset, versions } from "@nbit/torch";
import { assertNear, DISTANCES } from "../../helpers/square-roots.js";
import { temporaryFolders } from "../../helpers/temporary-folder.js";
import { MetricRows, QUIET } from "../../helpers/training.js";
import { FAMILIES, type Family, type Pair, type Recorded, type Variant } from "./families.js";

interface Run {
  readonly family: keyof typeof FAMILIES;
  readonly precision: "32" | "64" | "bf16";
  readonly variant: Variant;
  readonly globalStep: number;
  readonly epochs: number;
  readonly losses: string;
  readonly rates?: string;
  /** "step name=bits …" of every call of the logger. */
  readonly rows: readonly string[];
  readonly weights: string;
  readonly best?: Readonly<Record<string, string>>;
  readonly bestPath?: string;
  readonly bestScore?: string;
  readonly stopping?: { readonly stoppedEpoch: number; readonly waitCount: number; readonly bestScore: string };
}

/** The compiled file lies in tests/dist/lightning/whole-runs. */
const lines = readFileSync(new URL("../../../lightning/whole-runs/runs.jsonl", import.meta.url), "utf8")
  .trim()
  .split("\n");
const origin = JSON.parse(lines[0] ?? "") as FixtureOrigin & { readonly roots: string };
const runs = lines.slice(1).map((line) => JSON.parse(line) as Run);

const nextFolder = temporaryFolders("whole-runs");
setNumThreads(1);
setCpuKernels("libtorch");
const reason = incomparable(origin, { libtorch: versions().libtorch, capability: cpuCapability() });
const roots = createHash("sha256")
  .update(new Uint8Array(arange(1, 1025).div(7).sqrt().toBytes()))
  .digest("hex");

/** The bits of a double, without the zeros at their end. */
function bits(value: number): string {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(value);
  return bytes.toString("hex").replace(/0+$/, "");
}

function numbersOf(hex: string, precision: Run["precision"]): number[] {
  const bytes = Buffer.from(hex, "hex");
  const size = precision === "64" ? 8 : 4;
  return Array.from({ length: bytes.length / size }, (_, i) =>
    size === 8 ? bytes.readDoubleBE(i * size) : bytes.readFloatBE(i * size),
  );
}

function optionsOf({ family, variant }: Run): TrainerOptions {
  const automatic = family !== "gan";
  switch (variant) {
    case "accumulation":
      return automatic ? { accumulateGradBatches: 3 } : {};
    case "norm":
    case "value":
      return automatic ? { gradientClipVal: variant === "norm" ? 0.1 : 0.005, gradientClipAlgorithm: variant } : {};
    case "together":
      return { valCheckInterval: 3, ...(automatic ? { accumulateGradBatches: 3, gradientClipVal: 0.1 } : {}) };
    default:
      return {};
  }
}

function callbacksOf(variant: Variant, dirpath: string): Callback[] {
  const saver = (): Callback =>
    new ModelCheckpoint({ dirpath, filename: "{epoch}-{step}-{val_loss:.3f}", monitor: "val_loss", saveTopK: 2 });
  switch (variant) {
    case "stopping":
      return [saver(), new EarlyStopping({ monitor: "val_loss", minDelta: 0.02, patience: 1, verbose: false })];
    case "together":
      return [saver()];
    case "averaged":
      return [new StochasticWeightAveraging({ swaLrs: 0.02, swaEpochStart: 1, annealingEpochs: 1 })];
    default:
      return [];
  }
}

/** Averaged weights alone: batch norms' statistics come from one pass over the batches, not from an epoch more. */
function digestOf(net: Recorded): string {
  const hash = createHash("sha256");
  for (const [name, tensor] of net.variant === "averaged" ? net.namedParameters() : net.stateDict())
    hash.update(name).update(new Uint8Array(tensor.detach().contiguous().toBytes()));
  return hash.digest("hex").slice(0, 32);
}

/** Without its folder and its extension, which is another. */
const nameOf = (path: string): string => basename(path).replace(/\.[a-z]+$/, "");

/** Steps of Adam have roots in them. */
const FROM_ROOTS: ReadonlySet<Run["family"]> = new Set(["lstm", "gpt", "gan"]);

/** Where square roots are others, trainings go apart: losses of the first epoch are near the recorded ones. */
function compareNear(run: Run, net: Recorded): void {
  const { value } = DISTANCES[({ "32": "float32", "64": "float64", bf16: "bfloat16" } as const)[run.precision]];
  const losses = numbersOf(run.losses, run.precision);
  assertNear(net.losses.slice(0, 8), losses.slice(0, 8), value, "losses");
}

for (const run of runs) {
  const { family, precision, variant } = run;
  test(
    `${family}, precision ${precision}, ${variant}: Lightning's to the last bit`,
    { skip: reason ?? false },
    async () => {
      const folder = nextFolder();
      seedEverything(7);
      const cls: Family = FAMILIES[family];
      const train = new TensorDataset<Pair>(...cls.data(46));
      const val = new TensorDataset<Pair>(...cls.data(14));
      const net = new cls(variant);
      const logger = new MetricRows();
      const callbacks = callbacksOf(variant, join(folder, "checkpoints"));
      const saver = callbacks.find((callback) => callback instanceof ModelCheckpoint);
      const trainer = new Trainer({
        ...QUIET,
        precision: precision === "bf16" ? precision : precision === "64" ? 64 : 32,
        maxEpochs: variant === "stopping" ? 8 : 3,
        logger,
        logEveryNSteps: 4,
        enableCheckpointing: saver !== undefined,
        callbacks,
        defaultRootDir: folder,
        ...optionsOf(run),
      });
      await trainer.fit(net, {
        trainDataloaders: new DataLoader(train, { batchSize: 6, shuffle: true }),
        valDataloaders: new DataLoader(val, { batchSize: 5 }),
      });

      const rows = logger.rows.map(({ step, metrics }) =>
        [
          step,
          ...Object.keys(metrics)
            .sort()
            .map((name) => `${name}=${bits(metrics[name] ?? NaN)}`),
        ].join(" "),
      );
      const losses = numbersOf(run.losses, precision);
      const recorded = { losses, rows: run.rows, steps: run.globalStep, epochs: run.epochs };
      if (family === "cnn" && variant === "averaged") {
        // In the epoch more Lightning trains no weights, logs losses and counts a step.
        recorded.losses = losses.slice(0, net.losses.length);
        recorded.rows = run.rows.slice(0, rows.length);
        recorded.steps = 3 * 8;
        recorded.epochs = 3;
      }
      if (roots !== origin.roots && FROM_ROOTS.has(family)) return compareNear(run, net);
      assert.deepEqual(net.losses, recorded.losses);
      assert.deepEqual(rows, recorded.rows);
      assert.deepEqual(net.rates, run.rates?.split(" ").map(Number) ?? []);
      assert.equal(digestOf(net), run.weights, "the weights' bytes");
      assert.deepEqual([trainer.globalStep, trainer.currentEpoch], [recorded.steps, recorded.epochs]);
      if (saver !== undefined) {
        const kept = Object.entries(saver.bestKModels).map(([path, score]) => [nameOf(path), bits(score)] as const);
        const best = Object.entries(run.best ?? {}).map(([path, score]) => [nameOf(path), score] as const);
        assert.deepEqual(Object.fromEntries(kept), Object.fromEntries(best));
        assert.equal(nameOf(saver.bestModelPath), nameOf(run.bestPath ?? ""));
        assert.equal(bits(saver.bestModelScore ?? NaN), run.bestScore);
      }
      const stopper = callbacks.find((callback) => callback instanceof EarlyStopping);
      if (stopper !== undefined) {
        const { stoppedEpoch, waitCount, bestScore } = stopper;
        assert.deepEqual({ stoppedEpoch, waitCount, bestScore: bits(bestScore) }, run.stopping);
      }
    },
  );
}
