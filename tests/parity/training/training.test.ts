/**
 * Whole runs of the Trainer against PyTorch Lightning's, from the same seed, to the last bit; float16 against PyTorch's
 * own loop and scaler.
 */
import { incomparable, type FixtureOrigin } from "../../helpers/reproducible.js";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { MixedPrecision, seedEverything, Trainer } from "@nbit/lightning";
import { cpuCapability, setCpuKernels, setNumThreads, versions } from "@nbit/torch";
import { QUIET } from "../../helpers/training.js";
import { bits, digests, loaders, Net } from "./model.js";
import type { RecordedRun } from "./runs.js";

// The compiled test lies in tests/dist/parity/training, the fixtures beside its source.
const file = new URL("../../../parity/training/fixtures.jsonl", import.meta.url);
const [first, ...rest] = readFileSync(file, "utf8").trimEnd().split("\n");
const origin = JSON.parse(first ?? "") as FixtureOrigin;
const runs = rest.map((line) => JSON.parse(line) as RecordedRun);

setNumThreads(1);
setCpuKernels("libtorch");
const reason = incomparable(origin, { libtorch: versions().libtorch, capability: cpuCapability() });

async function repeat(run: RecordedRun): Promise<void> {
  seedEverything(42);
  const net = new Net(run);
  assert.deepEqual(digests(net), run.initial, "initial weights");

  const { train, heldBack } = loaders(run.model);
  const half = run.precision === "16-mixed";
  const trainer = new Trainer({
    ...QUIET,
    maxEpochs: 2,
    accumulateGradBatches: run.accumulate,
    gradientClipVal: run.clip,
    gradientClipAlgorithm: run.algorithm,
    ...(half
      ? {
          plugins: new MixedPrecision({
            scaler: { initScale: run.init_scale ?? 65536, growthInterval: run.growth_interval ?? 2000 },
          }),
        }
      : { precision: run.precision }),
  });
  await trainer.fit(net, { trainDataloaders: train, ...(half ? {} : { valDataloaders: heldBack }) });

  assert.deepEqual(net.order, run.order, "shuffles");
  assert.deepEqual(net.losses, run.losses, "losses");
  assert.deepEqual(net.norms, run.norms, "gradient norms");
  assert.deepEqual(digests(net), run.final, "final weights");
  if (run.metrics !== undefined) {
    assert.deepEqual(
      Object.fromEntries(
        Object.entries(trainer.callbackMetrics)
          .map(([k, v]) => [k, bits(v)])
          .sort(),
      ),
      run.metrics,
      "validation metrics",
    );
  }
  if (run.scales !== undefined) {
    assert.deepEqual(net.scales, run.scales, "loss scales");
    assert.deepEqual(net.skipped, run.skipped, "skipped steps");
    assert.equal(trainer.precision.lossScale, run.lastScale, "loss scale after the last step");
  }
}

describe(`training equals PyTorch ${origin.torch}'s to the last bit`, { skip: reason ?? false }, () => {
  for (const run of runs) it(run.name, () => repeat(run));
});
