import { incomparable, type FixtureOrigin } from "../helpers/reproducible.js";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { LightningModule, seedEverything, Trainer } from "@nbit/lightning";
import type { PrecisionInput } from "@nbit/lightning";
import {
  cpuCapability,
  crossEntropyLoss,
  DataLoader,
  nn,
  optim,
  randint,
  randn,
  relu,
  setCpuKernels,
  setNumThreads,
  TensorDataset,
  versions,
} from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { assertNear, DISTANCES, fromBits, otherRoots } from "../helpers/square-roots.js";
import { QUIET } from "../helpers/training.js";

interface Reference {
  readonly name: string;
  readonly precision: PrecisionInput;
  readonly optimizer: "adamw" | "sgd";
  readonly scheduler: "step" | "epoch" | null;
  readonly accumulate: number;
  readonly clip: number | null;
  readonly algorithm: "norm" | "value";
  readonly valCheck: number | null;
  readonly globalStep: number;
  readonly losses: readonly string[];
  readonly rates: readonly string[];
  readonly metrics: Readonly<Record<string, string>>;
  readonly weights: Readonly<Record<string, readonly string[]>>;
}

/** Made by lightning_reference.py. */
const { origin, runs } = JSON.parse(
  readFileSync(new URL("../../lightning/fixtures/lightning-reference.json", import.meta.url), "utf8"),
) as { origin: FixtureOrigin; runs: readonly Reference[] };
const reason = incomparable(origin, { libtorch: versions().libtorch, capability: cpuCapability() });

/** The bits of a double, as hexadecimal. */
function bits(value: number): string {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  return view.getBigUint64(0).toString(16).padStart(16, "0");
}

type Pair = [Tensor, Tensor];

class Net extends LightningModule {
  readonly hidden = new nn.Linear(12, 24);
  readonly norm = new nn.BatchNorm1d(24);
  readonly dropout = new nn.Dropout(0.25);
  readonly head = new nn.Linear(24, 3);
  readonly losses: string[] = [];
  readonly rates: string[] = [];

  constructor(readonly reference: Reference) {
    super();
  }
  override forward(x: Tensor): Tensor {
    return this.head.forward(this.dropout.forward(relu(this.norm.forward(this.hidden.forward(x)))));
  }
  override trainingStep([x, y]: Pair): Tensor {
    const loss = crossEntropyLoss(this.forward(x), y);
    this.losses.push(bits(loss.item()));
    this.log("train_loss", loss, { onStep: true, onEpoch: true });
    return loss;
  }
  override validationStep([x, y]: Pair): void {
    const out = this.forward(x);
    this.log("val_loss", crossEntropyLoss(out, y));
    this.log("val_acc", out.argmax(1).eq(y).float().mean());
  }
  override onTrainEpochEnd(): void {
    this.rates.push(bits(Number([this.optimizers()].flat()[0]?.paramGroups[0]?.lr)));
  }
  override configureOptimizers() {
    const optimizer =
      this.reference.optimizer === "adamw"
        ? new optim.AdamW(this.parameters(), { lr: 0.01, weightDecay: 0.1 })
        : new optim.SGD(this.parameters(), { lr: 0.05, momentum: 0.9, weightDecay: 0.01 });
    if (this.reference.scheduler === null) return optimizer;
    return [
      [optimizer],
      [{ scheduler: new optim.StepLR(optimizer, 3, 0.5), interval: this.reference.scheduler }],
    ] as const;
  }
}

setNumThreads(1);
setCpuKernels("libtorch");
const roots = reason === null ? otherRoots() : null;
/** What is computed in; of "bf16-true" the weights, too. */
const dtypeOf = (precision: string): "float32" | "float64" | "bfloat16" =>
  precision.startsWith("bf16") ? "bfloat16" : precision.startsWith("64") ? "float64" : "float32";
/**
 * A bias before batch normalisation has a gradient of rounding errors alone: Adam moves it by up to its rate in each
 * step, whichever way those errors fall, and the running mean follows. In float64 they drown in Adam's epsilon.
 */
const ADRIFT: ReadonlySet<string> = new Set(["hidden.bias", "norm.running_mean"]);

/** Adam's run where square roots are others: near the recorded one. */
function compareNear(reference: Reference, net: Net, metrics: Readonly<Record<string, string>>): void {
  const dtype = dtypeOf(String(reference.precision));
  const { value, validation } = DISTANCES[dtype];
  const numbers = (hex: readonly string[]): number[] => hex.map(fromBits);
  assertNear(numbers(net.losses), numbers(reference.losses), value, "losses");
  for (const [name, expected] of Object.entries(reference.metrics)) {
    const tolerance = name.startsWith("val_") ? validation : value;
    assertNear(numbers([metrics[name] ?? ""]), numbers([expected]), tolerance, name);
  }
  for (const [name, tensor] of net.stateDict()) {
    const expected = numbers(reference.weights[name] ?? []);
    const largest = Math.max(...expected.map(Math.abs));
    const drift = dtype === "float64" ? 1e-6 : 2 * 0.01 * reference.losses.length;
    const actual = Array.from(tensor.detach().double().toTypedArray(), Number);
    if (ADRIFT.has(name)) assertNear(actual, expected, drift, name, 1);
    else assertNear(actual, expected, value, name, largest);
  }
}

for (const reference of runs) {
  const near = roots !== null && reference.optimizer === "adamw";
  const note = near ? `, within ${DISTANCES[dtypeOf(String(reference.precision))].value}: ${roots}` : "";
  test(`a run equals Lightning's to the last bit: ${reference.name}${note}`, { skip: reason ?? false }, async () => {
    seedEverything(42);
    const x = randn([83, 12]);
    const y = randint(0, 3, [83]);
    const train = new DataLoader(new TensorDataset(x.narrow(0, 0, 67), y.narrow(0, 0, 67)), {
      batchSize: 8,
      shuffle: true,
    });
    const val = new DataLoader(new TensorDataset(x.narrow(0, 67, 16), y.narrow(0, 67, 16)), { batchSize: 5 });
    const net = new Net(reference);
    const trainer = new Trainer({
      ...QUIET,
      precision: reference.precision,
      maxEpochs: 3,
      accumulateGradBatches: reference.accumulate,
      gradientClipVal: reference.clip,
      gradientClipAlgorithm: reference.algorithm,
      ...(reference.valCheck === null ? {} : { valCheckInterval: reference.valCheck }),
    });
    await trainer.fit(net, { trainDataloaders: train, valDataloaders: val });

    assert.equal(trainer.globalStep, reference.globalStep);
    assert.deepEqual(net.rates, reference.rates);
    const metrics = Object.fromEntries(
      Object.entries(trainer.callbackMetrics)
        .map(([name, value]) => [name, bits(value)])
        .sort(),
    );
    assert.deepEqual(Object.keys(metrics), Object.keys(reference.metrics));
    if (near) return compareNear(reference, net, metrics);
    assert.deepEqual(net.losses, reference.losses);
    assert.deepEqual(metrics, reference.metrics);
    for (const [name, tensor] of net.stateDict()) {
      assert.deepEqual(
        Array.from(tensor.detach().double().toTypedArray(), Number).map(bits),
        reference.weights[name],
        name,
      );
    }
  });
}
