import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, mock, test } from "node:test";
import { fileURLToPath } from "node:url";
import { TRAINER_OPTIONS } from "@nbit/lightning/options";
import { main } from "../main.js";
import { withMore } from "../testing/with-more.js";

const bin = fileURLToPath(new URL("../../bin/nbit.mjs", import.meta.url));
const build = fileURLToPath(new URL("../../../../build", import.meta.url)); // inside the workspace, where @nbit/… is found
mkdirSync(build, { recursive: true });
const folder = mkdtempSync(join(build, "cli-"));
after(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, text: string): string {
  writeFileSync(join(folder, name), text);
  return name;
}

interface Result {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}
/** As a shell runs it. */
function nbit(...args: string[]): Promise<Result> {
  return new Promise((resolve) => {
    execFile(process.execPath, [bin, ...args], { cwd: folder }, (error, stdout, stderr) =>
      resolve({ status: typeof error?.code === "number" ? error.code : error === null ? 0 : -1, stdout, stderr }),
    );
  });
}
/** The same in this process, where libtorch is loaded once for all. */
async function here(...args: string[]): Promise<Result> {
  const written = { log: "", error: "" };
  const mocks = (["log", "error"] as const).map((name) =>
    mock.method(console, name, (...parts: unknown[]) => void (written[name] += `${parts.join(" ")}\n`)),
  );
  const before = process.cwd();
  process.chdir(folder);
  try {
    return { status: await main(args), stdout: written.log, stderr: written.error };
  } finally {
    process.chdir(before);
    for (const m of mocks) m.mock.restore();
  }
}

const MODEL = `
import { LightningModule } from "@nbit/lightning";
import { DataLoader, mseLoss, nn, optim, randn, seedEverything, TensorDataset, type Tensor } from "@nbit/torch";

export class Line extends LightningModule {
  readonly layer: nn.Linear = new nn.Linear(3, 1);
  override trainingStep([x, y]: [Tensor, Tensor]): Tensor {
    const loss = mseLoss(this.layer.forward(x), y);
    this.log("train_loss", loss);
    return loss;
  }
  override validationStep([x, y]: [Tensor, Tensor]): void {
    this.log("val_loss", mseLoss(this.layer.forward(x), y));
  }
  override testStep([x, y]: [Tensor, Tensor]): void {
    this.log("test_loss", mseLoss(this.layer.forward(x), y));
  }
  override predictStep([x]: [Tensor, Tensor]): Tensor {
    return this.layer.forward(x);
  }
  override configureOptimizers() {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
  override onFitEnd(): void {
    console.log("fitted", this.trainer.globalStep, this.trainer.precision.name);
  }
}
export function loader(): DataLoader<Tensor[]> {
  const x = randn(64, 3);
  return new DataLoader(new TensorDataset(x, x.sum([1], { keepdim: true })), { batchSize: 16 });
}
`;
file("line.ts", MODEL);
file(
  "train.ts",
  `
import { Line, loader } from "./line.js"; // as TypeScript names its neighbours

export const model = Line;
export const trainDataloaders = async () => loader();
export const valDataloaders = loader;
export const testDataloaders = () => [loader()];
export const predictDataloaders = loader;
export const trainer = { accelerator: "cpu", maxEpochs: 9, enableProgressBar: false, enableModelSummary: false, logger: false };
`,
);
const quiet = ["--seed", "7"];

test("fit trains a TypeScript module with its neighbour; flags override its options; a checkpoint is kept and named", async () => {
  const { status, stdout, stderr } = await nbit(
    "fit",
    "train.ts",
    "--maxEpochs",
    "2",
    "--precision",
    "bf16",
    "--defaultRootDir",
    join(folder, "out"),
    ...quiet,
  );
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^fitted 8 bf16-mixed$/m);
  const path = /^checkpoint {2}(.+)$/m.exec(stdout)?.[1];
  assert.ok(path !== undefined && path.startsWith(join(folder, "out")) && existsSync(path));
  const resumed = await here(
    "fit",
    "train.ts",
    "--maxEpochs",
    "3",
    "--precision",
    "bf16",
    "--enableCheckpointing",
    "false",
    "--ckptPath",
    path,
    ...quiet,
  );
  assert.match(resumed.stdout, /^fitted 12 bf16-mixed$/m, resumed.stderr);
  assert.doesNotMatch(resumed.stdout, /^checkpoint/m);
});

test("validate, test and predict run their steps; metrics are printed; a seed makes them the same again", async () => {
  const [first, second] = [
    await here("test", "train.ts", "--seed=1", "--initialWeights"),
    await here("test", "train.ts", "--seed=1", "--initialWeights"),
  ];
  const [other, predicted] = [
    await here("validate", "train.ts", "--seed=2", "--initialWeights"),
    await here("predict", "train.ts", "--initialWeights"),
  ];
  assert.match(first.stdout, /^test_loss {2}\d/m, first.stderr);
  assert.equal(first.stdout, second.stdout);
  assert.match(other.stdout, /^val_loss {2}\d/m, other.stderr);
  assert.equal(predicted.status, 0, predicted.stderr);
});

test("a JavaScript module, its model as default and made by a function", async () => {
  file(
    "plain.mjs",
    `
import { LightningModule } from "@nbit/lightning";
import { DataLoader, nn, optim, randn, TensorDataset } from "@nbit/torch";
class Net extends LightningModule {
  layer = new nn.Linear(2, 1);
  trainingStep([x]) { return this.layer.forward(x).square().mean(); }
  trainDataloader() { return new DataLoader(new TensorDataset(randn(8, 2)), { batchSize: 4 }); }
  configureOptimizers() { return new optim.SGD(this.parameters(), { lr: 0.1 }); }
  onFitEnd() { console.log("steps", this.trainer.globalStep); }
}
export default async () => new Net();
`,
  );
  const { status, stdout, stderr } = await here("fit", "plain.mjs", "--fastDevRun", "--accelerator", "cpu");
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^steps 1$/m);
});

test("a wrong call or file is one message with its code, and status 2", async () => {
  file("empty.mjs", "export const helper = 1;\n");
  file(
    "near.mjs",
    `export { Line as model } from "./line.js";\nexport const trainDataloader = [];\n`
      .replace("./line.js", "@nbit/lightning")
      .replace("Line", "LightningModule"),
  );
  file("kind.mjs", "export const model = { layers: 3 };\n");
  file(
    "maker.mjs",
    `import { LightningModule, Trainer } from "@nbit/lightning";\nexport const model = new LightningModule();\nexport const trainer = new Trainer({ accelerator: "cpu", logger: false, enableCheckpointing: false });\n`,
  );
  file("notes.txt", "");
  const cases: readonly (readonly [readonly string[], string])[] = [
    [
      ["fit"],
      "ERR_FILE: nbit fit: expected a module file, such as train.ts. Received: none. `nbit fit --help` shows an example.",
    ],
    [["fit", "absent.ts"], "ERR_FILE: nbit fit: expected a module file. Received: absent.ts, which does not exist."],
    [
      ["fit", "notes.txt"],
      "ERR_FILE: nbit fit: expected a file that ends in .js, .mjs, .ts or .mts. Received: notes.txt.",
    ],
    [
      ["test", "empty.mjs", "--initialWeights"],
      "ERR_EXPORT: nbit test: expected empty.mjs to export model, or default. Received: helper.",
    ],
    [
      ["fit", "near.mjs"],
      "ERR_EXPORT: nbit fit: expected near.mjs to export trainDataloaders. Received: trainDataloader.",
    ],
    [
      ["fit", "kind.mjs"],
      "ERR_EXPORT: nbit fit: expected kind.mjs to export a model that is a LightningModule, its class, or a function that returns one. Received: an object with keys layers.",
    ],
    [
      ["fit", "maker.mjs"],
      "ERR_EXPORT: nbit fit: expected maker.mjs to export a trainer that is an object of Trainer options, which flags may override. Received: an instance of Trainer.",
    ],
    [
      ["fit", "train.ts", "--maxEpochs", "0.5"],
      "ERR_FLAG_VALUE: nbit fit: expected --maxEpochs to be a whole number ≥ -1 (-1: no limit). Received: 0.5.",
    ],
    [
      ["fit", "train.ts", "--turbo"],
      "ERR_FLAG: nbit fit: expected a flag that it knows. Received: --turbo. `nbit fit --help` lists them.",
    ],
  ];
  for (const [args, message] of cases)
    assert.deepEqual(await here(...args), { status: 2, stdout: "", stderr: withMore(message) });
  const shell = await nbit("fit", "absent.ts");
  assert.deepEqual(shell, { status: 2, stdout: "", stderr: withMore(cases[1]?.[1] ?? "") });
});

test("an error of the program itself keeps its stack, with the line of the TypeScript file", async () => {
  file(
    "broken.ts",
    `
export function model(): never {
  const reason: string = "not today";
  throw new Error(reason);
}
`,
  );
  const { status, stderr } = await nbit("fit", "broken.ts");
  assert.equal(status, 1);
  assert.match(stderr, /Error: not today/);
  assert.match(stderr, /broken\.ts:4:/);
});

test("--help lists every option of the Trainer that a word can express", async () => {
  const { status, stdout } = await here("fit", "--help");
  assert.equal(status, 0);
  for (const name of [
    "model",
    "trainDataloaders",
    "--ckptPath",
    "--seed",
    "--precision",
    "--maxEpochs",
    "--fastDevRun",
  ])
    assert.ok(stdout.includes(`  ${name}`), name);
  const flags = Object.entries(TRAINER_OPTIONS).filter(([, { flag }]) => flag !== null);
  assert.ok(flags.length > 25);
  for (const [name] of flags) assert.match(stdout, new RegExp(`^  --${name}( |$)`, "m"));
});
