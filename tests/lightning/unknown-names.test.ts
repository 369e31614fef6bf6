/** Names that nothing has: options, precisions, stages. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import {
  CSVLogger,
  EarlyStopping,
  LearningRateMonitor,
  LightningOptimizer,
  measureRange,
  MixedPrecision,
  ModelCheckpoint,
  recommend,
  RunLog,
  Timer,
  Trainer,
} from "@nbit/lightning";
import { Adam8bit } from "@nbit/lowbit";
import { seedEverything } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { QUIET } from "../helpers/training.js";
import { type Pair, Small, batches, loosely, fails } from "./small-module.js";

beforeEach(() => seedEverything(1));
const make =
  <T extends new (...args: never[]) => object>(type: T): ((...args: unknown[]) => object) =>
  (...args) =>
    Reflect.construct(type, args) as object;

test("an unknown Trainer option is refused with the nearest name, a replacement, or the list", async () => {
  const given = (options: object) => () => make(Trainer)({ ...QUIET, ...options });
  await fails(
    given({ max_epochs: 3 }),
    "ERR_TRAINER_OPTION",
    'Trainer: expected the option maxEpochs. Received: "max_epochs".',
  );
  await fails(
    given({ gpus: 1 }),
    "ERR_TRAINER_OPTION",
    'Trainer: expected an option that it has. Received: "gpus". Use accelerator: "cuda" and devices: 1.',
  );
  await fails(
    given({ strategy: "dpp" }),
    "ERR_STRATEGY_UNKNOWN",
    'Trainer: expected strategy to be one of "auto", "single_device", "ddp", "fsdp", "fsdp_cpu_offload", "ddp_find_unused_parameters_true", or a Strategy. Received: "dpp". Add others with registerStrategy(name, create).',
  );
  await fails(
    given({ numNodes: 2 }),
    "ERR_NUM_NODES",
    "Trainer: expected a launcher that starts the processes of all machines. Received: numNodes: 2 without one. On each machine: nbit run -n 1 --nnodes 2 --node-rank <0…> --master-addr <the first machine> script.ts; or torchrun, or srun.",
  );
  await fails(
    given({ enableProgressBar: "no" }),
    "ERR_TRAINER_OPTION",
    'Trainer: expected enableProgressBar to be one of true, false. Received: "no".',
  );
  await fails(
    given({ defaultRootDir: 3 }),
    "ERR_TRAINER_OPTION",
    "Trainer: expected defaultRootDir to be a folder. Received: 3.",
  );
  await fails(
    given({ logger: "csv" }),
    "ERR_LOGGER",
    'Trainer: expected logger to be true, false, a Logger or a list of them. Received: "csv". Such as new CSVLogger("logs").',
  );
  await fails(
    () => make(Trainer)(null),
    "ERR_TRAINER_OPTION",
    "Trainer: expected options to be an object, such as { name: value }. Received: null.",
  );
  assert.throws(
    given({ sunshine: 1 }),
    /^MisconfigurationError: Trainer: expected options among accelerator, devices, precision, .*, fastDevRun\. Received: "sunshine"\.$/,
  );
});

test("a precision spelled as in another library is refused with the one that was meant", async () => {
  const list =
    'Trainer: expected precision to be one of 32, "32", "32-true", 64, "64", "64-true", 16, "16", "16-mixed", "bf16", "bf16-mixed", "16-true", "bf16-true", "float8", "transformer-engine", "float8-float16", "transformer-engine-float16", "auto".';
  for (const [received, meant] of [
    ["fp16", "16"],
    ["float16", "16"],
    ["bfloat16", '"bf16"'],
    ["float32", "32"],
    ["bf16-mix", '"bf16-mixed"'],
    ["fp8", '"float8"'],
  ] as const)
    await fails(
      () => make(Trainer)({ ...QUIET, precision: received }),
      "ERR_PRECISION_UNKNOWN",
      `${list} Received: "${received}". Did you mean ${meant}?`,
    );
  await fails(
    () => make(Trainer)({ ...QUIET, precision: "int3" }),
    "ERR_PRECISION_UNKNOWN",
    `${list} Received: "int3".`,
  );
});

test("callbacks, loggers and optimizers of few bits know their options' names", async () => {
  const cases: readonly (readonly [() => unknown, string, string])[] = [
    [
      () => make(EarlyStopping)({ monitor: "loss", min_delta: 1 }),
      "ERR_EARLY_STOPPING",
      'EarlyStopping: expected the option minDelta. Received: "min_delta".',
    ],
    [
      () => make(EarlyStopping)("loss"),
      "ERR_EARLY_STOPPING",
      'EarlyStopping: expected options to be an object, such as { name: value }. Received: "loss".',
    ],
    [
      () => make(ModelCheckpoint)({ save_top_k: 1 }),
      "ERR_MODEL_CHECKPOINT",
      'ModelCheckpoint: expected the option saveTopK. Received: "save_top_k".',
    ],
    [
      () => make(LearningRateMonitor)({ logMomentun: true }),
      "ERR_LR_MONITOR",
      'LearningRateMonitor: expected the option logMomentum. Received: "logMomentun".',
    ],
    [
      () => make(MixedPrecision)("16-mixed", "cuda"),
      "ERR_PRECISION_PLUGIN",
      'MixedPrecision: expected options to be an object, such as { name: value }. Received: "16-mixed".',
    ],
    [
      () => make(RunLog)({ file: "x" }),
      "ERR_ARGUMENT",
      'RunLog: expected options among path, name, everyNSteps. Received: "file".',
    ],
    [
      () => make(CSVLogger)({ saveDir: "logs" }),
      "ERR_ARGUMENT",
      "CSVLogger: expected saveDir to be a folder. Received: an object with keys saveDir. Options come second: new CSVLogger(saveDir, { name, version }).",
    ],
    [
      () => make(CSVLogger)("logs", { save_dir: "x" }),
      "ERR_ARGUMENT",
      'CSVLogger: expected options among name, version, prefix, flushLogsEveryNSteps, flushIntervalSeconds. Received: "save_dir".',
    ],
    [
      () => make(Adam8bit)(new Small().parameters(), { block_size: 64 }),
      "ERR_ARGUMENT",
      'Adam8bit: expected the option blockSize. Received: "block_size".',
    ],
  ];
  for (const [run, code, message] of cases) await fails(run, code, message);
});

test("log refuses values and options that it does not know", async () => {
  const run = (name: string, value: unknown, options?: object) => async (): Promise<void> => {
    const model = new (class extends Small {
      override trainingStep(batch: Pair): Tensor {
        this.log(name, loosely(value), options);
        return this.loss(batch);
      }
    })();
    await new Trainer({ ...QUIET, maxEpochs: 1 }).fit(model, { trainDataloaders: batches() });
  };
  await fails(
    run("lr", 1, { prog_bar: true }),
    "ERR_LOG_OPTION",
    'log: expected the option progBar. Received: "prog_bar".',
  );
  await fails(run(loosely(3), 1), "ERR_LOG_NAME", "log: expected name to be a string. Received: 3.");
  await fails(
    run("phase", "warm-up"),
    "ERR_LOG_VALUE",
    'log: expected value of "phase" to be a number, a boolean or a tensor of one element. Received: "warm-up".',
  );
});

test("an unknown stage, an optimizer or a row of the wrong kind is refused by name", () => {
  const code = "ERR_ARGUMENT";
  assert.throws(() => new Timer().timeElapsed(loosely([Symbol("train")])), { code });
  assert.throws(() => new LightningOptimizer(loosely(null), loosely(null)), { code });
  assert.throws(() => recommend([], 0.1), {
    code,
    message: "recommend: expected rows to have at least one entry. Received: [].",
  });
  assert.throws(() => measureRange(loosely(null)), { code });
});
