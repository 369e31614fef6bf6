/**
 * A user who is tired: trains, resumes, validates and predicts from the shell alone, with a TypeScript file that `nbit
 * init` wrote and a YAML file; and gets things wrong on the way.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, mock, test } from "node:test";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import { main } from "../main.js";
import { withMore } from "../testing/with-more.js";

const bin = fileURLToPath(new URL("../../bin/nbit.mjs", import.meta.url));
const build = fileURLToPath(new URL("../../../../build", import.meta.url)); // inside the workspace, where @nbit/… is found
mkdirSync(build, { recursive: true });
const folder = mkdtempSync(join(build, "cli-session-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const project = join(folder, "spirals");

interface Result {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}
/** As a shell runs it. */
function shell(args: readonly string[], env: Readonly<Record<string, string>> = {}, cwd = project): Promise<Result> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [bin, ...args],
      { cwd, env: { ...process.env, ...env }, timeout: 120_000 },
      (error, stdout, stderr) =>
        resolve({ status: typeof error?.code === "number" ? error.code : error === null ? 0 : -1, stdout, stderr }),
    );
  });
}
/** The same in this process, where libtorch is loaded once for all. */
async function nbit(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Result> {
  const written = { log: "", error: "" };
  const mocks = (["log", "error"] as const).map((name) =>
    mock.method(console, name, (...parts: unknown[]) => void (written[name] += `${parts.join(" ")}\n`)),
  );
  const before = process.cwd();
  process.chdir(project);
  Object.assign(process.env, env);
  try {
    return { status: await main(args), stdout: written.log, stderr: written.error };
  } finally {
    process.chdir(before);
    for (const name of Object.keys(env)) delete process.env[name];
    for (const each of mocks) each.mock.restore();
  }
}
async function ok(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await nbit(args);
  assert.equal(status, 0, stderr);
  return stdout;
}
const log = (version: number, name: string): string =>
  readFileSync(join(project, "nbit_logs", `version_${version}`, name), "utf8");
const quick = ["--maxEpochs", "2", "--enableProgressBar", "false", "--accelerator", "cpu", "--data.samples", "96"];

test("init writes a project whose TypeScript compiles, and does so once", async () => {
  const made = await shell(["init", "spirals"], {}, folder);
  assert.equal(made.status, 0, made.stderr);
  assert.deepEqual(readdirSync(project).sort(), [
    ".gitignore",
    "README.md",
    "data.ts",
    "package.json",
    "run.yaml",
    "train.ts",
    "tsconfig.json",
  ]);
  const again = await shell(["init", "spirals"], {}, folder);
  assert.equal(again.status, 2);
  assert.match(
    again.stderr,
    /^ERR_FILE: nbit init: expected a folder without package\.json, .*Nothing was written\.\nMore: npx nbit explain-error ERR_FILE\n$/,
  );
  const tsc = fileURLToPath(new URL("../../../../node_modules/typescript/bin/tsc", import.meta.url));
  const types = await new Promise<string>((resolve) => {
    execFile(process.execPath, [tsc, "--noEmit"], { cwd: project }, (_error, stdout) => resolve(stdout));
  });
  assert.equal(types, "");
});

test("fit: model and data from the shell, a file of settings, callbacks by name; the settings are kept with the run", async () => {
  const said = await ok(
    "fit",
    "train.ts",
    "--config",
    "run.yaml",
    ...quick,
    "--model.lr",
    "0.003",
    "--data.batchSize",
    "48",
  );
  assert.match(said, /^checkpoint {2}.*epoch=1-step=4\.ckpt$/m);
  assert.match(said, /^run {2}.*version_0$/m);
  const config = parse(log(0, "config.yaml")) as Record<string, unknown>;
  assert.deepEqual(config, {
    file: "train.ts",
    seed: 1,
    trainer: {
      maxEpochs: 2,
      precision: 32,
      enableProgressBar: false,
      accelerator: "cpu",
      callbacks: [{ classPath: "EarlyStopping", initArgs: { monitor: "val_loss", patience: 5 } }],
    },
    model: { lr: 0.003, width: 64 },
    data: { batchSize: 48, samples: 96 },
  });
  assert.match(log(0, "config.yaml"), /^# nbit fit train\.ts --config run\.yaml /);
});

test("the kept settings repeat the run, to the last digit", async () => {
  await ok("fit", "--config", join("nbit_logs", "version_0", "config.yaml"));
  assert.equal(log(1, "metrics.csv"), log(0, "metrics.csv"));
});

test("fit goes on from the last checkpoint of the newest run; its model is as it was then", async () => {
  const said = await ok(
    "fit",
    "train.ts",
    ...quick,
    "--data.batchSize",
    "48",
    "--maxEpochs",
    "3",
    "--ckptPath",
    "last",
  );
  assert.match(said, /^from {2}.*version_1.*epoch=1-step=4\.ckpt$/m);
  assert.match(said, /^checkpoint {2}.*epoch=2-step=6\.ckpt$/m);
  assert.equal((parse(log(2, "config.yaml")) as { model: { lr: number } }).model.lr, 0.003);
});

test("without a checkpoint nothing is validated; best and last are found, a run can be named", async () => {
  const random = await nbit(["validate", "train.ts"]);
  assert.equal(random.status, 2);
  assert.match(random.stderr, /^ERR_NO_CHECKPOINT: nbit validate: expected --ckptPath .*--initialWeights/);
  const best = await ok("validate", "train.ts", "--ckptPath", "best", ...quick.slice(4));
  assert.match(best, /^from {2}.*version_2/m);
  assert.match(best, /^val_accuracy {2}\d/m);
  const first = await ok(
    "test",
    "train.ts",
    "--ckptPath",
    "last",
    "--run",
    join("nbit_logs", "version_0"),
    ...quick.slice(4),
  );
  assert.match(first, /^from {2}nbit_logs\/version_0\/checkpoints\/epoch=1-step=4\.ckpt$/m);
  const none = await nbit(["test", "train.ts", "--ckptPath", "best", "--defaultRootDir", "elsewhere"]);
  assert.equal(none.status, 2);
  assert.match(
    none.stderr,
    /^ERR_NO_CHECKPOINT: nbit test: .*Received: best, and no run has left a checkpoint below elsewhere/,
  );
});

test("predict writes a row for each sample, in the form that its file's name says", async () => {
  const from = ["predict", "train.ts", "--ckptPath", "best", ...quick.slice(4)];
  assert.match(await ok(...from, "--output", "out/p.csv"), /^predictions {2}out\/p\.csv$/m);
  const lines = readFileSync(join(project, "out", "p.csv"), "utf8")
    .trimEnd()
    .split("\n");
  assert.equal(lines[0], "label,scores_0,scores_1,scores_2");
  assert.equal(lines.length, 97);
  for (const end of ["jsonl", "safetensors", "parquet"]) await ok(...from, "--output", `out/p.${end}`);
  const first = JSON.parse(readFileSync(join(project, "out", "p.jsonl"), "utf8").split("\n")[0] ?? "") as {
    scores: number[];
  };
  assert.equal(String(first.scores[1]), lines[1]?.split(",")[2]);
  assert.deepEqual(readdirSync(join(project, "out")).sort(), ["p.csv", "p.jsonl", "p.parquet", "p.safetensors"]);
  const both = await nbit([...from, "--initialWeights"]);
  assert.match(both.stderr, /^ERR_FLAG: nbit predict: expected --ckptPath or --initialWeights\. Received: both\./);
  const wrong = await nbit([...from, "--output", "p.xlsx"]);
  assert.match(
    wrong.stderr,
    /^ERR_OUTPUT: nbit predict: expected --output to end in \.csv, \.jsonl, \.safetensors, \.parquet\. Received: p\.xlsx\./,
  );
  assert.ok(!existsSync(join(project, "p.xlsx")));
});

test("tune finds a batch size and a rate, says the flags, and keeps the settings with them; nothing is trained", async () => {
  const asked = [
    "--lr",
    "--batchSize",
    "--numTraining",
    "20",
    "--maxTrials",
    "2",
    "--plot",
    "lr.svg",
    "--save",
    "tuned.yaml",
  ];
  const said = await ok("tune", "train.ts", ...quick, ...asked);
  const size = /^batchSize {2}(\d+)$/m.exec(said)?.[1];
  const rate = /^lr {2}(\S+)$/m.exec(said)?.[1];
  assert.ok(size !== undefined && rate !== undefined, said);
  assert.ok(said.includes(`Train with it: nbit fit train.ts --model.lr ${rate} --data.batchSize ${size}\n`), said);
  assert.match(readFileSync(join(project, "lr.svg"), "utf8"), /^<svg|<\?xml/);
  const { model, data } = parse(readFileSync(join(project, "tuned.yaml"), "utf8")) as Record<string, object>;
  assert.deepEqual(
    [model, data],
    [
      { lr: Number(rate), width: 64 },
      { batchSize: Number(size), samples: 96 },
    ],
  );
  assert.ok(!existsSync(join(project, "nbit_logs", "version_3", "checkpoints")));
  const none = await nbit(["tune", "train.ts", "--fastDevRun", "--accelerator", "cpu"]);
  assert.deepEqual([none.status, none.stderr.split(":")[0]], [2, "ERR_TUNE"]);
});

test("help on a file lists what its classes declare, with defaults", async () => {
  const help = await ok("fit", "train.ts", "--help");
  assert.match(help, /^Arguments of the model, Net$/m);
  assert.match(help, /^ {2}--model\.lr +a number; default: 0\.01$/m);
  assert.match(help, /^Arguments of the data, Spirals$/m);
  assert.match(help, /^ {2}--data\.batchSize +a number; default: 32$/m);
});

test("--print-config says all settings, and that is a file of settings", async () => {
  const text = await ok(
    "fit",
    "train.ts",
    "--config",
    "run.yaml",
    "--optimizer",
    "SGD",
    "--optimizer.lr",
    "0.1",
    "--print-config",
  );
  assert.match(text, /^ {2}# accelerator: auto {3}\(what computes\)$/m);
  writeFileSync(join(project, "printed.yaml"), text);
  assert.equal(await ok("fit", "--config", "printed.yaml", "--print-config"), text);
  assert.deepEqual((parse(text) as { optimizer: unknown }).optimizer, { classPath: "SGD", initArgs: { lr: 0.1 } });
});

test("environment variables lie below files and flags", async () => {
  const env = {
    NBIT_FIT__MODEL__WIDTH: "8",
    NBIT_FIT__MODEL__LR: "9",
    NBIT_FIT__TRAINER__MAX_EPOCHS: "3",
    NBIT_FIT__CONFIG: "run.yaml",
  };
  const { stdout, stderr } = await nbit(["fit", "train.ts", "--model.lr", "0.5", "--print-config"], env);
  const { model, trainer } = parse(stdout) as { model: object; trainer: { maxEpochs: number } };
  assert.deepEqual([model, trainer.maxEpochs], [{ lr: 0.5, width: 8 }, 3], stderr);
  const own = await nbit(["fit", "train.ts", "--env-prefix", "APP", "--print-config"], {
    ...env,
    APP_FIT__MODEL__WIDTH: "16",
  });
  assert.deepEqual((parse(own.stdout) as { model: object }).model, { lr: 0.01, width: 16 });
});

writeFileSync(join(folder, "bad-name.yaml"), "trainer:\n  maxEpochs: 3\n  maxEpoch: 4\n");
writeFileSync(join(folder, "bad-yaml.yaml"), "trainer:\n  maxEpochs: [3\nmodel: 1\n");
writeFileSync(join(folder, "bad-kind.yaml"), "model:\n  lr: fast\n");
writeFileSync(join(folder, "bad-value.yaml"), "trainer: { maxEpochs: 0.5 }\n");
for (const [args, message] of [
  [["--model.lrr", "1"], "ERR_FLAG: nbit fit: expected --model.lr. Received: --model.lrr."],
  [["--model.lr", "fast"], 'ERR_FLAG_VALUE: nbit fit: expected --model.lr to be a number. Received: "fast".'],
  [["--model.depth", "1"], "ERR_FLAG: nbit fit: expected one of --model.lr, --model.width. Received: --model.depth."],
  [
    ["--config", "../bad-name.yaml"],
    "ERR_FLAG: nbit fit: expected trainer.maxEpochs. Received: trainer.maxEpoch of ../bad-name.yaml:3:3.",
  ],
  [
    ["--config", "../bad-kind.yaml"],
    'ERR_FLAG_VALUE: nbit fit: expected model.lr of ../bad-kind.yaml:2:3 to be a number. Received: "fast".',
  ],
  [
    ["--config", "../bad-value.yaml"],
    "ERR_FLAG_VALUE: nbit fit: expected trainer.maxEpochs of ../bad-value.yaml:1:12 to be a whole number ≥ -1 (-1: no limit). Received: 0.5.",
  ],
  [
    ["--config", "none.yaml"],
    "ERR_CONFIG_FILE: nbit fit: expected --config to be a YAML file. Received: none.yaml, which does not exist.",
  ],
  [
    ["--optimizer", "SDG"],
    'ERR_CLASS: nbit fit: expected --optimizer to be the name of an optimizer: SGD. Received: "SDG".',
  ],
  [
    ["--optimizer.lr", "1"],
    "ERR_FLAG: nbit fit: expected --optimizer to name a class for --optimizer.lr. Received: none. Such as --optimizer SGD.",
  ],
  [["--lrScheduler", "StepLR"], "ERR_FLAG: nbit fit: expected --optimizer with --lrScheduler. Received: StepLR alone."],
  [
    ["--callbacks", "EarlyStoping"],
    'ERR_CLASS: nbit fit: expected --callbacks to be the name of a Callback: EarlyStopping. Received: "EarlyStoping".',
  ],
  [
    ["--model", "Spirals"],
    'ERR_CLASS: nbit fit: expected --model to be the name of a LightningModule: one of Net, or a file and a name, such as ./own.ts#Own. Received: "Spirals", which is something else.',
  ],
  [
    ["--model", "./absent.ts#Net"],
    /^ERR_FILE: nbit fit: expected --model to name a file or a package\. Received: \.\/absent\.ts/,
  ],
  [
    ["--config", "../bad-yaml.yaml"],
    /^ERR_CONFIG_FILE: nbit fit: expected \.\.\/bad-yaml\.yaml to be YAML\. Received: \.\.\/bad-yaml\.yaml:3:1: /,
  ],
] as const)
  test(`wrong: fit train.ts ${args.join(" ")}`, async () => {
    const { status, stdout, stderr } = await nbit(["fit", "train.ts", ...args]);
    assert.deepEqual([status, stdout], [2, ""], stderr);
    if (typeof message === "string") assert.equal(stderr, withMore(message));
    else assert.match(stderr, message);
  });

test("another class of another file, a callback of one's own, and a data module chosen by name", async () => {
  writeFileSync(
    join(project, "other.ts"),
    `import { Callback } from "@nbit/lightning";
import { Net } from "./train.js";
export class Wider extends Net {
  static override readonly hparams = { ...Net.hparams, width: 96 };
  constructor(hparams = Wider.hparams) { super(hparams); }
}
export class Say extends Callback {
  readonly word: string;
  constructor({ word = "nothing" } = {}) { super(); this.word = word; }
  override onFitEnd(): void { console.log("said", this.word); }
}
`,
  );
  const said = await ok(
    "fit",
    "train.ts",
    ...quick,
    "--fastDevRun",
    "--model",
    "./other.ts#Wider",
    "--model.lr",
    "0.1",
    "--data",
    "Spirals",
    "--trainer.callbacks",
    "./other.ts#Say",
    "--trainer.callbacks.word",
    "yes",
  );
  assert.match(said, /^said yes$/m);
  const alone = await ok("fit", "--model", "./other.ts#Wider", "--data", "./data.ts#Spirals", "--print-config");
  assert.deepEqual((parse(alone) as { model: unknown }).model, {
    classPath: "./other.ts#Wider",
    initArgs: { lr: 0.01, width: 96 },
  });
});

test("a class that needs arguments is given those of the checkpoint", async () => {
  writeFileSync(
    join(project, "needs.ts"),
    `import { Net } from "./train.js";
export { Spirals } from "./data.js";
class Needs extends Net {
  static override readonly hparams: any = null; // it declares nothing
  constructor(given: { lr: number; width: number }) {
    super({ lr: given.lr, width: given.width });
  }
}
export const model = process.env["TRAIN"] === "1" ? () => new Needs({ lr: 0.1, width: 5 }) : Needs;
`,
  );
  const args = ["needs.ts", ...quick.slice(2), "--defaultRootDir", "needed"];
  const trained = await shell(["fit", ...args, "--maxEpochs", "1"], { TRAIN: "1" });
  assert.equal(trained.status, 0, trained.stderr);
  assert.match(await ok("validate", ...args, "--ckptPath", "last"), /^val_loss {2}\d/m);
  const wrong = await nbit(["fit", "needs.ts", "--model.lr", "1"]);
  assert.match(
    wrong.stderr,
    /^ERR_FLAG: nbit fit: expected needs\.ts to export a LightningModule class that says what/,
  );
});

test("an error in the user's code: the line, a mark, the message, no frames of ours", async () => {
  writeFileSync(
    join(project, "broken.ts"),
    `import { mseLoss, randn, type Tensor } from "@nbit/torch";
import { Net } from "./train.js";
export { Spirals } from "./data.js";
export class Broken extends Net {
  override trainingStep([x]: [Tensor, Tensor]): Tensor {
    return mseLoss(this.forward(x).matmul(randn(7)), x);
  }
}
`,
  );
  const { status, stderr } = await shell([
    "fit",
    "broken.ts",
    "--fastDevRun",
    "--enableModelSummary=false",
    "--enableProgressBar=false",
    "--accelerator=cpu",
  ]);
  assert.equal(status, 1);
  const [at, line, mark, says, ...frames] = stderr.trimEnd().split("\n");
  assert.match(at ?? "", /^broken\.ts:6:\d+$/);
  assert.equal(line, "  return mseLoss(this.forward(x).matmul(randn(7)), x);");
  assert.match(mark ?? "", /^ +\^$/);
  assert.match(says ?? "", /^TorchError TORCH: .*size mismatch/);
  assert.match(
    frames.join("\n"),
    /^ {4}at Broken\.trainingStep \(broken\.ts:6:\d+\)\n {4}\(\d+ more of nbit and Node\.js: --verbose or NBIT_STACK=1\)\nMore: npx nbit explain-error TORCH$/,
  );
  const all = await shell(["fit", "broken.ts", "--fastDevRun", "--accelerator=cpu", "--verbose"]);
  assert.match(all.stderr, /lightning\/dist/);
});
