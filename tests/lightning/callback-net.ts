/** The small model of fixtures/lightning_callbacks.py, and what Lightning made of it. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { LightningModule, Trainer, type Callback, type TrainerOptions } from "@nbit/lightning";
import { arange, DataLoader, nn, noGrad, optim, OutOfMemoryError, TensorDataset, type Tensor } from "@nbit/torch";
import { QUIET } from "../helpers/training.js";

export type Pair = [Tensor, Tensor];
export interface FitResult {
  readonly weights: Readonly<Record<string, readonly number[]>>;
  readonly val: readonly number[];
  readonly rates: readonly (readonly number[])[];
}
export interface Fixture {
  readonly averaging: Readonly<Record<string, FitResult>>;
  readonly swa: Readonly<Record<string, FitResult>>;
  readonly finetuning: Readonly<Record<string, FitResult>>;
  readonly pruning: Readonly<Record<string, FitResult>>;
  readonly lr_find: Readonly<
    Record<
      string,
      {
        readonly lr: readonly number[];
        readonly loss: readonly (number | null)[];
        readonly suggestion: number | null;
        readonly all: number | null;
        readonly set: number;
      }
    >
  >;
  readonly scale_batch_size: readonly {
    readonly mode: "power" | "binsearch";
    readonly limit: number;
    readonly how: Readonly<Record<string, number>>;
    readonly size: number;
    readonly set: number;
  }[];
  readonly spikes: readonly {
    readonly run: string;
    readonly losses: readonly (number | null)[];
    readonly how: Readonly<Record<string, unknown>>;
    readonly at: number | null;
    readonly bad: readonly number[];
  }[];
}
export const FIXTURE = JSON.parse(
  readFileSync(new URL("../../lightning/fixtures/lightning-callbacks.json", import.meta.url), "utf8"),
) as Fixture;

export function formula(shape: readonly number[], step: number, phase: number): Tensor {
  const n = shape.reduce((a, b) => a * b, 1);
  return arange(n, { dtype: "float64" })
    .mul(step)
    .add(phase)
    .sin()
    .reshape([...shape]);
}
export function data(n = 16): TensorDataset<Pair> {
  return new TensorDataset(formula([n, 4], 0.7, 0.1), formula([n, 1], 0.9, 0.4));
}

export interface NetOptions {
  readonly norm?: boolean;
  readonly lr?: number;
  readonly momentum?: number;
  readonly scheduler?: number;
  readonly batchSize?: number;
  /** A larger batch than this has no room. */
  readonly limit?: number;
  readonly shuffle?: boolean;
}
export class Net extends LightningModule {
  readonly backbone = new nn.Linear(4, 6);
  readonly norm: nn.Module;
  readonly head = new nn.Linear(6, 1);
  lr: number;
  batchSize: number;
  readonly seen: number[] = [];
  readonly rates: number[][] = [];
  readonly losses: number[] = [];

  constructor(readonly options: NetOptions = {}) {
    super();
    this.norm = options.norm === true ? new nn.BatchNorm1d(6) : new nn.Identity();
    this.lr = options.lr ?? 0.1;
    this.batchSize = options.batchSize ?? 4;
    this.double();
    noGrad(() => {
      this.parameters().forEach((p, i) => void p.copy_(formula(p.shape, 0.37, 0.2 + i).mul(0.5)));
    });
  }
  loss([x, y]: Pair): Tensor {
    const hidden = (this.norm as nn.Identity).forward(this.backbone.forward(x)).tanh();
    return this.head.forward(hidden).sub(y).square().mean();
  }
  override trainingStep(batch: Pair): Tensor {
    const { limit } = this.options;
    if (limit !== undefined && batch[0].size(0) > limit) throw new OutOfMemoryError("no room for the batch");
    const loss = this.loss(batch);
    this.losses.push(loss.item());
    return loss;
  }
  override validationStep(batch: Pair): void {
    this.log("val_loss", this.loss(batch));
  }
  override onValidationEpochEnd(): void {
    this.seen.push(this.trainer.callbackMetrics.val_loss ?? 0);
  }
  override onTrainEpochEnd(): void {
    this.rates.push(this.trainer.optimizers[0]?.paramGroups.map((group) => group.lr) ?? []);
  }
  override configureOptimizers() {
    const params = this.parameters().filter((p) => p.requiresGrad);
    const optimizer = new optim.SGD(params, { lr: this.lr, momentum: this.options.momentum ?? 0.9 });
    const { scheduler } = this.options;
    return scheduler === undefined
      ? optimizer
      : { optimizer, lrScheduler: new optim.ExponentialLR(optimizer, scheduler) };
  }
  override trainDataloader(): DataLoader<Pair, Pair> {
    return new DataLoader(data(64), { batchSize: this.batchSize });
  }
  override valDataloader(): DataLoader<Pair, Pair> {
    return new DataLoader(data(8), { batchSize: 8 });
  }
}

export function trainerOf(callbacks: Callback | readonly Callback[], options: TrainerOptions = {}): Trainer {
  return new Trainer({ ...QUIET, precision: 64, numSanityValSteps: 0, callbacks, ...options });
}
export function loaders(net: Net): {
  readonly trainDataloaders: DataLoader<Pair, Pair>;
  readonly valDataloaders: DataLoader<Pair, Pair>;
} {
  const trainDataloaders = new DataLoader(data(), { batchSize: 4, shuffle: net.options.shuffle ?? false });
  return { trainDataloaders, valDataloaders: net.valDataloader() };
}
/** Train it as the fixtures are. */
export async function fit(
  callbacks: Callback | readonly Callback[],
  net: Net,
  options: TrainerOptions = {},
): Promise<Trainer> {
  const trainer = trainerOf(callbacks, { maxEpochs: 4, ...options });
  await trainer.fit(net, loaders(net));
  return trainer;
}

export function weights(net: LightningModule): Record<string, number[]> {
  return Object.fromEntries(Array.from(net.stateDict(), ([name, t]) => [name, t.flatten().tolist() as number[]]));
}
export function near(got: readonly number[], want: readonly number[], what: string, tolerance = 1e-12): void {
  assert.equal(got.length, want.length, `${what}: ${got.join(" ")} for ${want.join(" ")}`);
  got.forEach((value, i) => {
    const expected = want[i] ?? NaN;
    assert.ok(
      Math.abs(value - expected) <= tolerance * Math.max(1, Math.abs(expected)),
      `${what}[${i}]: ${value}, not ${expected}`,
    );
  });
}
/** What a fit came to is what Lightning's did. */
export function sameAs(net: Net, want: FitResult | undefined, except: readonly string[] = []): void {
  assert.ok(want !== undefined);
  const got = weights(net);
  assert.deepEqual(Object.keys(got).sort(), Object.keys(want.weights).sort());
  for (const [name, values] of Object.entries(want.weights))
    if (!except.includes(name)) near(got[name] ?? [], values, name);
  near(net.seen, want.val, "val_loss");
  near(net.rates.flat(), want.rates.flat(), "rates");
}
