/** What `nbit init` writes: a project that trains, by itself and offline. */

const TRAIN = `import { LightningModule } from "@nbit/lightning";
import { crossEntropyLoss, nn, optim, type Tensor } from "@nbit/torch";

export { Spirals } from "./data.js";

type Batch = [points: Tensor, labels: Tensor];

export class Net extends LightningModule {
  /** What can be given: \`npx nbit fit train.ts --model.lr 0.003\`. */
  static readonly hparams = { lr: 0.01, width: 64 };

  readonly layers: nn.Sequential;
  readonly lr: number;

  constructor({ lr, width } = Net.hparams) {
    super();
    this.saveHyperparameters({ lr, width });
    this.lr = lr;
    this.layers = new nn.Sequential(
      new nn.Linear(2, width),
      new nn.ReLU(),
      new nn.Linear(width, width),
      new nn.ReLU(),
      new nn.Linear(width, 3),
    );
  }

  override forward(x: Tensor): Tensor {
    return this.layers.forward(x);
  }

  override trainingStep([x, y]: Batch): Tensor {
    const loss = crossEntropyLoss(this.forward(x), y);
    this.log("train_loss", loss, { progBar: true });
    return loss;
  }

  override validationStep(batch: Batch): void {
    this.evaluate("val", batch);
  }

  override testStep(batch: Batch): void {
    this.evaluate("test", batch);
  }

  override predictStep([x]: Batch): { label: Tensor; scores: Tensor } {
    const scores = this.forward(x).softmax(1);
    return { label: scores.argmax(1), scores };
  }

  override configureOptimizers(): optim.Optimizer {
    return new optim.AdamW(this.parameters(), { lr: this.lr });
  }

  private evaluate(stage: string, [x, y]: Batch): void {
    const scores = this.forward(x);
    this.log(\`\${stage}_loss\`, crossEntropyLoss(scores, y), { progBar: true });
    this.log(\`\${stage}_accuracy\`, scores.argmax(1).eq(y).to("float32").mean());
  }
}
`;

const DATA = `import { LightningDataModule } from "@nbit/lightning";
import { DataLoader, Generator, randn, tensor, TensorDataset, type Tensor } from "@nbit/torch";

type Loader = DataLoader<[Tensor, Tensor], Tensor[]>;

/** Three spirals, made here: replace them with your own data. */
export class Spirals extends LightningDataModule {
  static readonly hparams = { batchSize: 32, samples: 600 };

  readonly batchSize: number;
  readonly samples: number;

  constructor({ batchSize, samples } = Spirals.hparams) {
    super();
    this.saveHyperparameters({ batchSize, samples });
    this.batchSize = batchSize;
    this.samples = samples;
  }

  override trainDataloader(): Loader {
    return this.loader(1, true);
  }
  override valDataloader(): Loader {
    return this.loader(2, false);
  }
  override testDataloader(): Loader {
    return this.loader(3, false);
  }
  override predictDataloader(): Loader {
    return this.testDataloader();
  }

  private loader(seed: number, shuffle: boolean): Loader {
    return new DataLoader(spirals(this.samples, seed), { batchSize: this.batchSize, shuffle });
  }
}

function spirals(samples: number, seed: number): TensorDataset<[Tensor, Tensor]> {
  const points: number[][] = [];
  const labels: number[] = [];
  for (let i = 0; i < samples; i++) {
    const arm = i % 3;
    const radius = i / samples;
    const angle = 4 * radius + (2 * Math.PI * arm) / 3;
    points.push([radius * Math.cos(angle), radius * Math.sin(angle)]);
    labels.push(arm);
  }
  const noise = randn([samples, 2], { generator: new Generator().manualSeed(seed) }).mul(0.03);
  return new TensorDataset(tensor(points).add(noise), tensor(labels, { dtype: "int64" }));
}
`;

const CONFIG = `# Settings of a run: npx nbit fit train.ts --config run.yaml. What the command line says comes on top.
seed: 1
trainer:
  maxEpochs: 20
  precision: 32
  callbacks:
    - classPath: EarlyStopping
      initArgs: { monitor: val_loss, patience: 5 }
model:
  lr: 0.01
data:
  batchSize: 32
`;

const readme = (name: string): string => `# ${name}

A classifier of points on three spirals: \`train.ts\` has the model, \`data.ts\` the data, \`run.yaml\` the settings.

\`\`\`sh
npm install
npx nbit setup      # libtorch and the native addon, once; \`npx nbit doctor\` shows what was found

npx nbit fit train.ts --config run.yaml
npx nbit fit train.ts --config run.yaml --model.lr 0.003 --data.batchSize 64 --precision bf16
npx nbit fit train.ts --help                            # every flag, those of the model and the data first

npx nbit validate train.ts --ckptPath best
npx nbit predict train.ts --ckptPath best --output predictions.csv
npx nbit fit train.ts --config run.yaml --ckptPath last --maxEpochs 40    # go on
\`\`\`

Each run leaves its settings, metrics and checkpoints in \`nbit_logs/version_N\`; \`npx nbit fit --config
nbit_logs/version_N/config.yaml\` repeats it.
`;

const json = (value: object): string => `${JSON.stringify(value, null, 2)}\n`;

/** Texts by their paths. @param version - Of nbit. */
export function projectFiles(name: string, version: string): ReadonlyMap<string, string> {
  const exact = `^${version}`;
  return new Map([
    [
      "package.json",
      json({
        name,
        version: "0.0.0",
        private: true,
        type: "module",
        scripts: {
          fit: "nbit fit train.ts --config run.yaml",
          validate: "nbit validate train.ts --ckptPath best",
          predict: "nbit predict train.ts --ckptPath best --output predictions.csv",
          check: "tsc --noEmit",
        },
        dependencies: { "@nbit/lightning": exact, "@nbit/torch": exact, nbit: exact },
        devDependencies: { typescript: "^6.0.0" },
      }),
    ],
    [
      "tsconfig.json",
      json({
        compilerOptions: {
          target: "ES2022",
          module: "NodeNext",
          moduleResolution: "NodeNext",
          lib: ["ES2023", "ESNext.Disposable"],
          strict: true,
          noImplicitOverride: true,
          skipLibCheck: true,
          noEmit: true,
        },
        include: ["*.ts"],
      }),
    ],
    ["train.ts", TRAIN],
    ["data.ts", DATA],
    ["run.yaml", CONFIG],
    ["README.md", readme(name)],
    [".gitignore", "node_modules/\nnbit_logs/\ncheckpoints/\npredictions.*\n"],
  ]);
}
