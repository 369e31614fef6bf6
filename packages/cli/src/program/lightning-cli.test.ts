import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, mock, test } from "node:test";
import { parse } from "yaml";
import {
  EarlyStopping,
  LightningDataModule,
  LightningModule,
  type OptimizerConfiguration,
  type TrainerView,
} from "@nbit/lightning";
import { nn, ones, optim, type Tensor } from "@nbit/torch";
import { instantiateClass } from "../classes/instantiate.js";
import { type LightningArgumentParser } from "./argument-parser.js";
import { LightningCLI, type LightningCLIOptions } from "./lightning-cli.js";
import { SaveConfigCallback } from "./save-config.js";

const folder = mkdtempSync(join(tmpdir(), "nbit-cli-"));
after(() => rmSync(folder, { recursive: true, force: true }));

export class Net extends LightningModule {
  static readonly hparams: { lr: number; samples: number; optimizer: object | null } = {
    lr: 0.1,
    samples: 1,
    optimizer: null,
  };
  readonly layer = new nn.Linear(2, 1);
  readonly lr: number;
  constructor({ lr, samples, optimizer } = Net.hparams) {
    super();
    this.lr = lr;
    this.saveHyperparameters({ lr, samples, optimizer });
  }
  override trainingStep(x: Tensor): Tensor {
    return this.layer.forward(x).square().mean();
  }
  override validationStep(x: Tensor): void {
    this.log("val_loss", this.layer.forward(x).square().mean());
  }
  override configureOptimizers(): OptimizerConfiguration {
    return new optim.SGD(this.parameters(), { lr: this.lr });
  }
}
/** Declares by recording, without a static. */
class Data extends LightningDataModule {
  readonly batchSize: number;
  constructor({ batchSize = 2, batches = 3 } = {}) {
    super();
    this.batchSize = batchSize;
    this.saveHyperparameters({ batchSize, batches });
  }
  override trainDataloader(): Tensor[] {
    return Array.from({ length: Number(this.hparams["batches"]) }, () => ones([this.batchSize, 2]));
  }
  override valDataloader(): Tensor[] {
    return this.trainDataloader();
  }
}

const QUIET = {
  accelerator: "cpu",
  enableProgressBar: false,
  enableModelSummary: false,
  maxEpochs: 1,
  defaultRootDir: folder,
} as const;
const made = (args: readonly string[], options: LightningCLIOptions = {}): LightningCLI =>
  new LightningCLI(Net, Data, {
    args,
    trainerDefaults: { ...QUIET, logger: false, enableCheckpointing: false },
    ...options,
  });

test("a subcommand with flags of the Trainer, the model and the data runs", async () => {
  const cli = made(["fit", "--trainer.maxEpochs", "2", "--model.lr", "0.5", "--data.batches=4"]);
  assert.equal(await cli.run(), 0);
  assert.equal(cli.subcommand, "fit");
  assert.deepEqual([cli.trainer.maxEpochs, cli.trainer.globalStep], [2, 8]);
  assert.deepEqual(cli.model.hparams, { lr: 0.5, samples: 1, optimizer: null });
  assert.deepEqual(cli.datamodule?.hparams, { batchSize: 2, batches: 4 });
  assert.ok(typeof cli.config.seed === "number");
});

test("hooks are called around it, and what is there before is an error with a code", async () => {
  const order: string[] = [];
  class Own extends LightningCLI {
    override beforeInstantiateClasses(): void {
      order.push("before classes");
      assert.throws(() => this.model, { code: "ERR_CLI_NOT_RUN" });
    }
    override afterInstantiateClasses(): void {
      order.push(`made ${this.model.constructor.name}`);
    }
    override beforeRun(name: string): void {
      order.push(`before ${name}`);
    }
    override afterRun(name: string): void {
      order.push(`after ${name}`);
    }
  }
  await new Own(Net, Data, { args: ["validate"], trainerDefaults: { ...QUIET, logger: false } }).run();
  assert.deepEqual(order, ["before classes", "made Net", "before validate", "after validate"]);
});

test("flags, callbacks, defaults and links of its own", async () => {
  class Own extends LightningCLI {
    override addArgumentsToParser(parser: LightningArgumentParser): void {
      parser.addArgument("experiment", { default: "first", help: "what it is called" });
      parser.addLightningClassArgs(EarlyStopping, "stopping");
      parser.setDefaults({ "stopping.monitor": "val_loss", "model.lr": 0.25 });
      parser.linkArguments("data.batchSize", "model.samples", (size: number) => size * 10);
    }
  }
  const options = { trainerDefaults: { ...QUIET, logger: false, enableCheckpointing: false }, run: false };
  const cli = new Own(Net, Data, {
    ...options,
    args: ["--stopping.patience", "7", "--experiment=second", "--data.batchSize", "3"],
  });
  await cli.instantiate();
  const [stopping] = cli.trainer.callbacks.filter((callback) => callback instanceof EarlyStopping);
  assert.deepEqual([stopping?.monitor, stopping?.patience], ["val_loss", 7]);
  assert.deepEqual(cli.model.hparams, { lr: 0.25, samples: 30, optimizer: null });
  assert.equal(cli.config["experiment"], "second");
  assert.deepEqual(cli.config["stopping"], { monitor: "val_loss", patience: 7 });
  const path = join(folder, "own.yaml");
  cli.parser.save(cli.config, path);
  const again = new Own(Net, Data, { ...options, args: ["--config", path, "--data.batchSize", "4"] });
  await again.instantiate();
  assert.deepEqual(again.model.hparams, { lr: 0.25, samples: 40, optimizer: null });
  assert.equal(again.config["experiment"], "second");
  await assert.rejects(new Own(Net, Data, { ...options, args: ["--model.samples", "1"] }).instantiate(), {
    code: "ERR_FLAG",
  });
  await assert.rejects(
    new Own(Net, Data, { ...options, args: ["--stoping.patience", "1"] }).instantiate(),
    /expected --stopping\.patience/,
  );
});

test("--optimizer and --lrScheduler take the place of the model's own; a section can be linked to the model instead", async () => {
  const warnings: string[] = [];
  const listen = (warning: Error & { code?: string }): void => void warnings.push(warning.code ?? "");
  process.on("warning", listen);
  const cli = made([
    "fit",
    "--optimizer",
    "Adam",
    "--optimizer.lr",
    "0.5",
    "--lrScheduler=StepLR",
    "--lrScheduler.stepSize=1",
    "--lrScheduler.interval=step",
  ]);
  await cli.run();
  await new Promise(setImmediate);
  process.off("warning", listen);
  assert.ok(warnings.includes("WARN_OPTIMIZER_REPLACED"), warnings.join());
  const [optimizer] = cli.trainer.optimizers;
  assert.ok(optimizer instanceof optim.Adam);
  assert.ok(Math.abs(Number(optimizer.paramGroups[0]?.lr) - 0.5 * 0.1 ** 3) < 1e-12);

  class Linked extends LightningCLI {
    override addArgumentsToParser(parser: LightningArgumentParser): void {
      parser.addOptimizerArgs(optim.AdamW as never, "inner", "model.optimizer");
    }
  }
  const linked = new Linked(Net, Data, {
    args: ["--inner.lr", "0.3"],
    trainerDefaults: { ...QUIET, logger: false },
    autoConfigureOptimizers: false,
  });
  await linked.instantiate();
  const init = linked.model.hparams["optimizer"] as { classPath: string; initArgs: object };
  assert.deepEqual(init, { classPath: "AdamW", initArgs: { lr: 0.3 } });
  const instance = instantiateClass(linked.model.parameters(), init);
  assert.ok(instance instanceof optim.AdamW);
  assert.throws(() => instantiateClass([], { classPath: "Nobody" }), { code: "ERR_ARGUMENT" });
});

test("the settings are kept in the folder of the log; a class of one's own keeps them elsewhere", async () => {
  const kept: string[] = [];
  class Elsewhere extends SaveConfigCallback {
    override saveConfig(_trainer: TrainerView): void {
      kept.push(this.config);
    }
  }
  const options = { trainerDefaults: { ...QUIET, enableCheckpointing: false }, saveConfigCallback: Elsewhere };
  const cli = new LightningCLI(Net, Data, {
    ...options,
    args: ["fit", "--seed", "3", "--model.lr=0.5"],
    saveConfigKwargs: { configFilename: "all.yaml" },
  });
  await cli.run();
  const path = join(cli.trainer.logger?.logDir ?? "", "all.yaml");
  assert.ok(existsSync(path));
  const { model, seed } = parse(readFileSync(path, "utf8")) as { model: object; seed: number };
  assert.deepEqual([model, seed, kept.length], [{ lr: 0.5, samples: 1, optimizer: null }, 3, 1]);
  assert.throws(() => new SaveConfigCallback("", { saveToLogDir: false }), { code: "ERR_MISCONFIGURATION" });
});

test("settings of several files are kept in several files", async () => {
  const own = (name: string, text: string): string => {
    const path = join(folder, name);
    writeFileSync(path, text);
    return path;
  };
  const args = ["fit", "--model", own("net.yaml", "lr: 0.25\n"), "--config", own("all.yaml", "data: digits.yaml\n")];
  own("digits.yaml", "batchSize: 3\n");
  const options = { trainerDefaults: { ...QUIET, enableCheckpointing: false } };
  const cli = new LightningCLI(Net, Data, { ...options, args, saveConfigKwargs: { multifile: true } });
  await cli.run();
  const kept = (name: string): unknown => parse(readFileSync(join(cli.trainer.logger?.logDir ?? "", name), "utf8"));
  const { model, data } = kept("config.yaml") as { model: unknown; data: unknown };
  assert.deepEqual([model, data], ["net.yaml", "digits.yaml"]);
  assert.deepEqual(kept("net.yaml"), { lr: 0.25, samples: 1, optimizer: null });
  assert.deepEqual(kept("digits.yaml"), { batchSize: 3, batches: 3 });
  const config = join(cli.trainer.logger?.logDir ?? "", "config.yaml");
  const again = new LightningCLI(Net, Data, { ...options, args: ["--config", config, "fit"] });
  await again.run();
  assert.deepEqual([again.model.hparams["lr"], again.datamodule?.hparams["batchSize"]], [0.25, 3]);
  assert.throws(() => new SaveConfigCallback("", { multifile: { model: "a/b" } }), { code: "ERR_ARGUMENT" });
});

test("subclass mode: a class of another file, with arguments of its own, that extends the one that is given", async () => {
  const path = join(folder, "deep.mjs");
  const lightning = JSON.stringify(import.meta.resolve("@nbit/lightning"));
  const net = JSON.stringify(import.meta.url);
  writeFileSync(
    path,
    `import { LightningModule } from ${lightning};
import { Net } from ${net};
export class Deep extends Net { static hparams = { ...Net.hparams, depth: 1 }; constructor(hparams = Deep.hparams) { super(hparams); this.saveHyperparameters(hparams); } }
export class Other extends LightningModule {}
`,
  );
  const options = {
    trainerDefaults: { ...QUIET, logger: false, enableCheckpointing: false },
    run: false,
    subclassModeModel: true,
  };
  const instantiated = async (...args: string[]): Promise<LightningCLI> => {
    const cli = new LightningCLI(Net, Data, { ...options, args });
    await cli.instantiate();
    return cli;
  };
  const cli = await instantiated("--model", `${path}#Deep`, "--model.depth", "3", "--model.lr=1");
  assert.deepEqual([cli.model.constructor.name, cli.model.hparams["depth"], cli.model.hparams["lr"]], ["Deep", 3, 1]);
  const { model } = cli.config as { model: { classPath: string; initArgs: object } };
  assert.deepEqual(model, { classPath: `${path}#Deep`, initArgs: { lr: 1, samples: 1, optimizer: null, depth: 3 } });
  await assert.rejects(instantiated("--model", `${path}#Other`), { code: "ERR_CLASS", message: /that extends Net/ });
  await assert.rejects(instantiated(), { code: "ERR_CLASS", message: /Received: none/ });
  const any = new LightningCLI(null, Data, { ...options, subclassModeModel: false, args: ["--model", `${path}#Deep`] });
  await any.instantiate();
  assert.equal(any.model.constructor.name, "Deep");
});

test("a wrong call is thrown where arguments are given, and one line where they are the process's", async () => {
  await assert.rejects(made(["fit", "--model.ls", "1"]).run(), {
    code: "ERR_FLAG",
    message: "nbit fit: expected --model.lr. Received: --model.ls.",
  });
  await assert.rejects(made(["train"]).run(), { code: "ERR_COMMAND" });
  const [argv, status] = [process.argv, process.exitCode];
  process.argv = [process.execPath, "/x/main.ts", "fit", "--model.ls", "1"];
  const said = mock.method(console, "error", () => undefined);
  try {
    assert.equal(await new LightningCLI(Net, Data).run(), 2);
    assert.equal(process.exitCode, 2);
    assert.equal(
      said.mock.calls[0]?.arguments[0],
      "ERR_FLAG: node main.ts fit: expected --model.lr. Received: --model.ls.\nMore: npx nbit explain-error ERR_FLAG",
    );
  } finally {
    said.mock.restore();
    process.argv = argv;
    process.exitCode = status;
  }
  assert.throws(() => new LightningCLI({} as never), { code: "ERR_ARGUMENT" });
  assert.throws(() => new LightningCLI(Net, Data, { arg: [] } as never), /the option args/);
});

test("help lists what the classes declare", async () => {
  const said = mock.method(console, "log", () => undefined);
  try {
    await made(["fit", "--help"]).run();
    await made([]).run();
  } finally {
    said.mock.restore();
  }
  const [help, overview] = said.mock.calls.map((call) => String(call.arguments));
  assert.match(help ?? "", /--model\.lr +a number; default: 0\.1/);
  assert.match(help ?? "", /--data\.batches +a number; default: 3/);
  assert.match(overview ?? "", /^ {2}predict +run the predict step/m);
});
