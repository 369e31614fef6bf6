/**
 * Kinds of files, each with a sound one and with what reads it: for real, as far as a program would go with what was
 * read.
 */
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { readRunLog, readStepPrecision, renderPrecisionReport, renderReport } from "@nbit/dashboard";
import { CSVLogger, PrecisionReport, RunLog, Trainer } from "@nbit/lightning";
import { Adam8bit, AdEMAMix8bit, fromBitsandbytes } from "@nbit/lowbit";
import {
  DataLoader,
  getRngState,
  GradScaler,
  isTensor,
  loadCheckpoint,
  loadIdx,
  load,
  loadSafetensors,
  NbitError,
  nn,
  numpy,
  ones,
  optim,
  rand,
  readIdx,
  save,
  saveCheckpoint,
  saveSafetensors,
  scope,
  setRngState,
  tensor,
  TensorDataset,
  zeros,
  type Tensor,
} from "@nbit/torch";
import { QUIET } from "../../helpers/training.js";
import { fitOf, makeCheckpoint, Net, netOf, RECIPES, type Recipe } from "./fits.js";
import type { Kind } from "./mutate.js";

export interface Subject {
  readonly name: string;
  readonly kind: Kind;
  /** Write a sound file. */
  readonly make: (path: string, folder: string) => void | Promise<void>;
  /** Read a file that may be damaged, in a folder for what that leaves. */
  readonly read: (path: string, folder: string) => void | Promise<void>;
  /** How often it comes, beside the others. */
  readonly weight: number;
}

type Optimizer = optim.Optimizer;

const weightsOf = (net: Net): string =>
  Buffer.concat([...net.stateDict().values()].map((t) => Buffer.from(t.toBytes()))).toString("base64");

/** A resumed fit. What is refused before the first step leaves the weights as they were. */
async function resume(recipe: Recipe, path: string, folder: string): Promise<void> {
  const net = netOf(recipe);
  const before = weightsOf(net);
  try {
    await fitOf(recipe, net, folder, path);
  } catch (error) {
    // A precision may have cast them by then.
    if (net.steps === 0 && net.first.weight.dtype === "float32" && weightsOf(net) !== before)
      throw new Error(`the weights have changed, though the file was refused: ${String(error)}`, { cause: error });
    throw error;
  }
}

const params = (): Tensor[] => [ones([4, 3]), zeros([4]), ones([300])].map((t) => new nn.Parameter(t));
const OPTIMIZERS: readonly (readonly [string, (p: Tensor[]) => Optimizer])[] = [
  ["SGD", (p) => new optim.SGD(p, { lr: 0.1, momentum: 0.9, nesterov: true })],
  ["Adam", (p) => new optim.Adam(p, { lr: 0.1, amsgrad: true })],
  ["AdamW fused", (p) => new optim.AdamW(p, { lr: 0.1, fused: true })],
  ["LBFGS", (p) => new optim.LBFGS(p, { lr: 0.1, maxIter: 3 })],
  ["Adam8bit", (p) => new Adam8bit(p, { lr: 0.1, min8bitSize: 64, blockSize: 64 })],
  ["AdEMAMix8bit", (p) => new AdEMAMix8bit(p, { lr: 0.1, min8bitSize: 64, blockSize: 64 })],
];

function step(optimizer: Optimizer, of: readonly Tensor[]): void {
  scope(() => {
    optimizer.step(() => {
      for (const p of of) p.grad = p.detach().mul(0.1).add(0.01);
      return of.reduce((sum, p) => sum.add(p.square().sum()), zeros([])).detach();
    });
  });
}

const forms: readonly Subject[] = OPTIMIZERS.flatMap(([name, make]): Subject[] =>
  (name === "SGD" || name === "Adam" ? [false, true] : [false]).map((torchForm) => ({
    name: `state of ${name}${torchForm ? " in PyTorch's form" : ""}`,
    kind: "safetensors",
    weight: 2,
    make: (path) => {
      const p = params();
      const optimizer = make(p);
      step(optimizer, p);
      step(optimizer, p);
      saveCheckpoint(path, torchForm ? optim.toTorch(optimizer.stateDict()) : optimizer.stateDict());
    },
    read: (path) => {
      const p = params();
      const optimizer = make(p);
      optimizer.loadStateDict(loadCheckpoint(path) as Record<string, unknown>);
      step(optimizer, p);
      step(optimizer, p);
    },
  })),
);

const fits: readonly Subject[] = RECIPES.flatMap((recipe): Subject[] => [
  {
    name: `fit: ${recipe.name}`,
    kind: "safetensors",
    weight: 5,
    make: (path, folder) => makeCheckpoint(recipe, folder, path),
    read: (path, folder) => resume(recipe, path, folder),
  },
]);
const [first] = RECIPES as readonly [Recipe];

const scaler = (): GradScaler => new GradScaler({ initScale: 1024 });
const SCALERS: readonly (readonly [string, (state: object) => object])[] = [
  ["ours", (state) => state],
  [
    "PyTorch's form",
    (state) => ({
      scale: 1024,
      growth_factor: 2,
      backoff_factor: 0.5,
      growth_interval: 2000,
      _growth_tracker: 3,
      ...state,
    }),
  ],
  ["Lightning's form", (state) => ({ MixedPrecision: state })],
];

const loader = (): DataLoader<unknown, unknown> =>
  new DataLoader(new TensorDataset(ones([9, 2])), { batchSize: 2, shuffle: true }) as DataLoader<unknown, unknown>;

/** State of an 8-bit Adam as bitsandbytes has it: tensors under flat names. */
function bitsandbytes(path: string): void {
  const p = params();
  const optimizer = new Adam8bit(p, { lr: 0.1, min8bitSize: 64, blockSize: 256 });
  step(optimizer, p);
  const flat: Record<string, Tensor> = {};
  for (const [position, state] of Object.entries(optimizer.stateDict().state))
    for (const [name, value] of Object.entries(state)) {
      if (isTensor(value)) flat[`state.${position}.${name}`] = value;
      else if (name === "step") flat[`state.${position}.step`] = tensor(Number(value));
    }
  saveSafetensors(path, flat);
}

function torchState(): object {
  const weight = ones([4, 3]);
  return {
    model: new Map([
      ["weight", weight],
      ["bias", weight.narrow(0, 0, 1)],
    ]),
    epoch: 3,
    rates: [0.1, 1e-3, null, true, "text", 2n ** 70n],
    bytes: new Uint8Array([1, 2, 3]),
    seen: new Set([1, 2]),
  };
}
/** Every tensor of what was read is looked at whole. */
function readTorch(path: string): void {
  scope(() => lookAt(load(path), new Set()));
}
function readNumpy(path: string): void {
  scope(() => lookAt(numpy.load(path), new Set()));
}
function lookAt(value: unknown, seen: Set<object>): void {
  if (typeof value !== "object" || value === null || seen.has(value)) return;
  seen.add(value);
  if (isTensor(value)) {
    if (value.device.type !== "meta" && value.numel() < 2 ** 20) value.toString();
  } else if (value instanceof Map) for (const [key, each] of value) [key, each].forEach((e) => lookAt(e, seen));
  else if (value instanceof Set) for (const each of value) lookAt(each, seen);
  else for (const each of Object.values(value)) lookAt(each, seen);
}

function idx(shape: readonly number[]): Buffer {
  const head = Buffer.alloc(4 + 4 * shape.length);
  head.set([0, 0, 8, shape.length]);
  shape.forEach((s, i) => head.writeUInt32BE(s, 4 + 4 * i));
  return Buffer.concat([
    head,
    Buffer.alloc(
      shape.reduce((n, s) => n * s, 1),
      7,
    ),
  ]);
}
/** As an array and as a tensor, which read files differently. */
function readTensor(path: string): void {
  const array = outcomeOf(() => {
    const { data, shape } = readIdx(path);
    return tensor(data).view([...shape]);
  });
  const made = outcomeOf(() => loadIdx(path));
  if (made.code !== array.code || made.sum !== array.sum)
    throw new Error(`expected the same of both. Received: ${JSON.stringify([array, made])}`);
  if (array.error !== undefined) throw array.error;
}
function outcomeOf(read: () => Tensor): { sum?: number; code?: string; error?: Error } {
  try {
    return { sum: scope(() => Number(read().sum().item())) };
  } catch (error) {
    if (!(error instanceof NbitError)) throw error;
    return { code: error.code, error };
  }
}

/** A log, an operator report and a table of one short fit. */
async function logged(folder: string): Promise<{ log: string; report: string; table: string }> {
  const [log, report] = [join(folder, "run.jsonl"), join(folder, "step.json")];
  const csv = new CSVLogger(folder, { name: "", version: "csv" });
  const trainer = new Trainer({
    ...QUIET,
    precision: 16,
    logger: csv,
    logEveryNSteps: 1,
    maxEpochs: 2,
    callbacks: [new RunLog({ path: log, everyNSteps: 1 }), new PrecisionReport({ path: report, print: false })],
  });
  await trainer.fit(netOf(first), { trainDataloaders: first.loader(), valDataloaders: first.loader() });
  return { log, report, table: join(csv.logDir, "metrics.csv") };
}
const copyOf =
  (pick: keyof Awaited<ReturnType<typeof logged>>) =>
  async (path: string, folder: string): Promise<void> => {
    const made = await logged(folder);
    writeFileSync(path, readFileSync(made[pick]));
  };

export const SUBJECTS: readonly Subject[] = [
  ...fits,
  ...forms,
  {
    name: "loadFromCheckpoint",
    kind: "safetensors",
    weight: 3,
    make: (path, folder) => makeCheckpoint(first, folder, path),
    read: (path) => {
      class Loaded extends Net {
        constructor() {
          super(first);
        }
      }
      Loaded.loadFromCheckpoint(path).forward(ones([2, 3]));
    },
  },
  {
    name: "validate with a checkpoint",
    kind: "safetensors",
    weight: 2,
    make: (path, folder) => makeCheckpoint(first, folder, path),
    read: async (path) => {
      const trainer = new Trainer(QUIET);
      await trainer.validate(netOf(first), { dataloaders: first.loader(), ckptPath: path });
    },
  },
  {
    name: "weights",
    kind: "safetensors",
    weight: 2,
    make: (path) => {
      saveSafetensors(path, netOf(first).stateDict());
    },
    read: (path) => {
      const net = netOf(first);
      net.loadStateDict(loadSafetensors(path));
      net.forward(ones([2, 3]));
    },
  },
  ...SCALERS.map(([form, wrap]): Subject => ({
    name: `loss scaler, ${form}`,
    kind: "safetensors",
    weight: 1,
    make: (path) => {
      saveCheckpoint(path, wrap(scaler().stateDict()));
    },
    read: (path) => {
      const s = scaler();
      s.loadStateDict(loadCheckpoint(path) as Record<string, unknown>);
      const p = params();
      const optimizer = new optim.SGD(p, { lr: 0.1 });
      scope(() => {
        s.scale(p.reduce((sum, one) => sum.add(one.square().sum()), zeros([]))).backward();
        s.step(optimizer);
        s.update();
      });
    },
  })),
  {
    name: "state of a loader",
    kind: "safetensors",
    weight: 2,
    make: (path) => {
      const l = loader();
      const pass = l[Symbol.iterator]();
      pass.next();
      pass.next();
      saveCheckpoint(path, l.stateDict());
    },
    read: (path) => {
      const l = loader();
      l.loadStateDict(loadCheckpoint(path) as Record<string, unknown>);
      scope(() => {
        for (const batch of l) void batch;
      });
    },
  },
  {
    name: "random numbers",
    kind: "safetensors",
    weight: 1,
    make: (path) => {
      saveCheckpoint(path, { state: getRngState() });
    },
    read: (path) => {
      const read = loadCheckpoint(path);
      setRngState((typeof read === "object" && read !== null ? Reflect.get(read, "state") : read) as Tensor);
      scope(() => void rand([2000]).sum().item());
    },
  },
  {
    name: "state of bitsandbytes",
    kind: "safetensors",
    weight: 2,
    make: bitsandbytes,
    read: (path) => {
      const p = params();
      const optimizer = new Adam8bit(p, { lr: 0.1, min8bitSize: 64, blockSize: 256 });
      optimizer.loadStateDict(
        fromBitsandbytes(loadSafetensors(path), [
          { lr: 0.1, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0, params: [0, 1, 2] },
        ]),
      );
      step(optimizer, p);
    },
  },
  {
    name: "idx",
    kind: "idx",
    weight: 1,
    make: (path) => {
      writeFileSync(path, idx([3, 4, 5]));
    },
    read: readTensor,
  },
  {
    name: "idx, compressed",
    kind: "idx",
    weight: 1,
    make: (path) => {
      writeFileSync(path, gzipSync(idx([3, 4, 5])));
    },
    read: readTensor,
  },
  {
    name: "file of torch.save",
    kind: "torch",
    weight: 4,
    make: (path) => {
      save(torchState(), path);
    },
    read: readTorch,
  },
  {
    name: "file of torch.save, by Python",
    kind: "torch",
    weight: 2,
    make: (path) => {
      copyFileSync(new URL("../../../io/fixtures/torch/legacy.pt", import.meta.url), path);
    },
    read: readTorch,
  },
  {
    name: "NumPy array",
    kind: "npy",
    weight: 1,
    make: (path) => {
      copyFileSync(new URL("../../../io/fixtures/numpy/big-endian.npy", import.meta.url), path);
    },
    read: readNumpy,
  },
  {
    name: "NumPy arrays",
    kind: "npy",
    weight: 1,
    make: (path) => {
      copyFileSync(new URL("../../../io/fixtures/numpy/deflated.npz", import.meta.url), path);
    },
    read: readNumpy,
  },
  {
    name: "run log, in a report",
    kind: "json-lines",
    weight: 2,
    make: copyOf("log"),
    read: (path) => void renderReport({ title: "t", runs: [readRunLog(path)] }),
  },
  {
    name: "report on precision",
    kind: "json",
    weight: 2,
    make: copyOf("report"),
    read: (path) => void renderPrecisionReport(readStepPrecision(path)),
  },
  {
    name: "run log, continued",
    kind: "json-lines",
    weight: 1,
    make: copyOf("log"),
    read: async (path) => {
      const trainer = new Trainer({ ...QUIET, maxSteps: 1, callbacks: [new RunLog({ path })] });
      await trainer.fit(netOf(first), { trainDataloaders: first.loader() });
    },
  },
  {
    name: "table of metrics, continued",
    kind: "csv",
    weight: 2,
    make: copyOf("table"),
    read: (path, folder) => {
      const version = join(folder, "version_0");
      mkdirSync(version, { recursive: true });
      writeFileSync(join(version, "metrics.csv"), readFileSync(path));
      try {
        const logger = new CSVLogger(folder, { name: "", version: 0 });
        logger.logMetrics({ loss: 1 }, 1);
        logger.logMetrics({ another: 1 }, 2);
        logger.finalize();
      } finally {
        rmSync(version, { recursive: true, force: true });
      }
    },
  },
];
