/**
 * Whole runs of the Trainer against PyTorch Lightning's, from the same seed, to the last bit; float16 against PyTorch's
 * own loop and scaler. Adam's steps without `fused` come from square roots: where this processor rounds them otherwise,
 * losses, norms and metrics are held within a tolerance instead (helpers/square-roots.ts). What is recorded of final
 * weights is a hash, which then says nothing; losses and metrics of the validation speak for them.
 */
import { incomparable, type FixtureOrigin } from "../../helpers/reproducible.js";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { MixedPrecision, seedEverything, Trainer } from "@nbit/lightning";
import { cpuCapability, setCpuKernels, setNumThreads, versions } from "@nbit/torch";
import { assertNear, DISTANCES, fromBits, otherRoots } from "../../helpers/square-roots.js";
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
const roots = reason === null ? otherRoots() : null;
const fromRoots = (run: RecordedRun): boolean => roots !== null && run.optimizer === "adamw";
const DTYPES = { "32-true": "float32", "64-true": "float64", "bf16-mixed": "bfloat16", "16-mixed": "float16" } as const;

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
  const distance = DISTANCES[DTYPES[run.precision]];
  const same = (actual: readonly string[], expected: readonly string[], tolerance: number, what: string): void =>
    fromRoots(run)
      ? assertNear(actual.map(fromBits), expected.map(fromBits), tolerance, what)
      : assert.deepEqual(actual, expected, what);
  same(net.losses, run.losses, distance.value, "losses");
  same(net.norms, run.norms, distance.value, "gradient norms");
  const final = digests(net);
  if (fromRoots(run)) assert.deepEqual(Object.keys(final).sort(), Object.keys(run.final).sort(), "final weights");
  else assert.deepEqual(final, run.final, "final weights");
  if (run.metrics !== undefined) {
    const names = Object.keys(run.metrics);
    assert.deepEqual(Object.keys(trainer.callbackMetrics).sort(), names, "names of metrics");
    same(
      names.map((name) => bits(trainer.callbackMetrics[name] as number)),
      Object.values(run.metrics),
      distance.validation,
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
  for (const run of runs) {
    const note = fromRoots(run) ? `, within ${DISTANCES[DTYPES[run.precision]].value}: ${roots}` : "";
    it(`${run.name}${note}`, () => repeat(run));
  }
});
