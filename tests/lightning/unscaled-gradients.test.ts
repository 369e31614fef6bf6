/**
 * Automatic optimization: whatever a hook does to gradients, at whatever point of a window, it finds those of float32,
 * and training ends with float32's weights.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ApexPrecision, LightningModule, MixedPrecision, Trainer } from "@nbit/lightning";
import type { LightningOptimizer, Precision, TrainerOptions } from "@nbit/lightning";
import { full, nn, noGrad, ones, optim, seedEverything, setNumThreads, tensor } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { QUIET } from "../helpers/training.js";

setNumThreads(1);

const PLACES = [
  "onTrainBatchStart",
  "trainingStep",
  "onBeforeBackward",
  "onAfterBackward",
  "onBeforeOptimizerStep",
  "configureGradientClipping",
  "optimizerStep",
  "onTrainBatchEnd",
] as const;
type Place = (typeof PLACES)[number];
type Deed = "clip by value" | "clip by norm" | "double" | "set" | "forget" | "zero" | "skip every third";
const DEEDS: readonly Deed[] = ["clip by value", "clip by norm", "double", "set", "forget", "zero", "skip every third"];

/** Does a deed in one of its hooks, and writes down the gradients that it finds there. */
class Net extends LightningModule {
  readonly layer = new nn.Linear(2, 1, { bias: false });
  readonly unused = new nn.Parameter(ones([1, 2]));
  readonly seen: unknown[] = [];
  #batch = 0;
  constructor(
    readonly place: Place,
    readonly deed: Deed,
  ) {
    super();
    noGrad(() => this.layer.weight.fill_(1));
  }
  #at(place: Place): void {
    const [optimizer] = [this.optimizers()].flat();
    assert.ok(optimizer !== undefined);
    if (place === "onBeforeOptimizerStep" || place === this.place) this.#look(place);
    if (place !== this.place) return;
    const p = this.layer.weight;
    if (this.deed === "clip by value")
      this.clipGradients(optimizer, { gradientClipVal: 1.5, gradientClipAlgorithm: "value" });
    else if (this.deed === "clip by norm")
      this.clipGradients(optimizer, { gradientClipVal: 2, gradientClipAlgorithm: "norm" });
    else if (this.deed === "double") noGrad(() => p.grad?.mul_(2));
    else if (this.deed === "set") p.grad = full([1, 2], 0.5, { dtype: p.dtype });
    else if (this.deed === "forget" && this.#batch % 2 === 0) this.zeroGrad();
    else if (this.deed === "zero" && this.#batch % 2 === 0) optimizer.zeroGrad({ setToNone: false });
    this.#look(`${place} after`);
  }
  #look(where: string): void {
    this.seen.push([
      where,
      this.#batch,
      this.layer.weight.grad?.float().tolist() ?? null,
      this.unused.grad?.float().tolist() ?? null,
    ]);
  }
  override onTrainBatchStart(): void {
    this.#batch++;
    this.#at("onTrainBatchStart");
  }
  override trainingStep(x: Tensor): Tensor | null {
    this.#at("trainingStep");
    if (this.deed === "skip every third" && this.#batch % 3 === 0) return null;
    return this.layer
      .forward(x)
      .float()
      .sum()
      .add(nn.functional.linear(x.to(this.unused.dtype), this.unused).float().sum());
  }
  override onBeforeBackward(): void {
    this.#at("onBeforeBackward");
  }
  override onAfterBackward(): void {
    this.#at("onAfterBackward");
  }
  override onBeforeOptimizerStep(): void {
    this.#at("onBeforeOptimizerStep");
  }
  override configureGradientClipping(): void {
    this.#at("configureGradientClipping");
  }
  override optimizerStep(
    _epoch: number,
    _batchIdx: number,
    optimizer: LightningOptimizer,
    closure: () => Tensor | null,
  ): void {
    // The closure by itself: what comes between it and the step sees gradients too.
    const loss = closure();
    this.#at("optimizerStep");
    optimizer.step(() => loss);
  }
  override onTrainBatchEnd(): void {
    this.#at("onTrainBatchEnd");
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.layer.parameters(), { lr: 0.125, momentum: 0.5 });
  }
}
/** Hooks that nobody overrides make their part of the step shorter. */
function only(place: Place): new (place: Place, deed: Deed) => Net {
  class Few extends Net {}
  for (const hook of ["onBeforeBackward", "onAfterBackward", "configureGradientClipping", "optimizerStep"] as const)
    if (hook !== place)
      Object.defineProperty(Few.prototype, hook, { value: Reflect.get(LightningModule.prototype, hook) });
  return Few;
}

const batches = [
  [1, 2],
  [0.5, 4],
  [2, -1],
  [0.25, 1],
  [1, 1],
  [3, 2],
  [-1, 0.5],
  [2, 2],
].map((row) => tensor([row]));

async function run(
  place: Place,
  deed: Deed,
  precision: (() => Precision) | null,
  options: TrainerOptions,
): Promise<{ readonly seen: readonly unknown[]; readonly weight: unknown }> {
  seedEverything(0);
  const net = new (only(place))(place, deed);
  await new Trainer({
    ...QUIET,
    maxEpochs: 2,
    ...(precision === null ? { precision: 32 } : { plugins: precision() }),
    ...options,
  }).fit(net, { trainDataloaders: batches });
  return { seen: net.seen, weight: net.stateDict().get("layer.weight")?.float().tolist() };
}

const flat = (value: unknown): unknown[] => (Array.isArray(value) ? value.flatMap(flat) : [value]);
const near = (tolerance: number, a: unknown, b: unknown): boolean =>
  typeof a === "number" && typeof b === "number" ? Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(b)) : a === b;

const scaler = { initScale: 64, growthInterval: 2 } as const;
const precisions: readonly (readonly [string, () => Precision, number])[] = [
  ["16", () => new MixedPrecision({ scaler }), 1e-6],
  ["16, lazy", () => new MixedPrecision({ scaler: { ...scaler, lazy: true } }), 1e-6],
  ["O1", () => new ApexPrecision({ optLevel: "O1", maxLossScale: 64 }), 1e-6],
  ["O2", () => new ApexPrecision({ optLevel: "O2", maxLossScale: 64 }), 2e-3],
];
// A third of a loss is none that float16 holds.
const windows: readonly TrainerOptions[] = [
  { accumulateGradBatches: 1 },
  { accumulateGradBatches: 4, gradientClipVal: 3, gradientClipAlgorithm: "value" },
];
const references = new Map<string, Awaited<ReturnType<typeof run>>>();
for (const [name, precision, tolerance] of precisions)
  test(`${name}: clipping, scaling, setting and clearing gradients in every hook, with one batch and with four to a step`, async () => {
    for (const options of windows)
      for (const place of PLACES)
        for (const deed of DEEDS) {
          const where = `${deed} in ${place}, ${options.accumulateGradBatches} to a step`;
          const expected = references.get(where) ?? (await run(place, deed, null, options));
          references.set(where, expected);
          const received = await run(place, deed, precision, options);
          const [a, b] = [flat([received.seen, received.weight]), flat([expected.seen, expected.weight])];
          const wrong = a.findIndex((v, i) => !near(tolerance, v, b[i]));
          assert.ok(
            a.length === b.length && wrong === -1,
            `${where}: ${JSON.stringify(a.slice(Math.max(0, wrong - 8), wrong + 3))} for ${JSON.stringify(b.slice(Math.max(0, wrong - 8), wrong + 3))}`,
          );
        }
  });
