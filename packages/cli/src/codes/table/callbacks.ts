import { family } from "../family.js";

export const callbacks = family(
  "callbacks",
  {
    title: "Callbacks, loggers, metrics and datasets",
    brief: "What works beside training.",
    by: "MisconfigurationError",
    in: ["lightning"],
  },
  {
    ERR_CALLBACKS: {
      means: "What was given as callbacks are none.",
      cause: "A class instead of an object; null in the list.",
      fix: "Pass objects: `callbacks: [new EarlyStopping({ … })]`.",
      example: `import { EarlyStopping, Trainer } from "@nbit/lightning";
new Trainer({ callbacks: [EarlyStopping] });`,
    },
    ERR_CALLBACK_STRATEGY: {
      means: "The callback needs whole parameters in each process, or steps that run where they are.",
      cause: "Pruning, averaging or fine-tuning with FSDP or on a TPU.",
      fix: 'Use `strategy: "ddp"` or one process, or leave the callback out.',
    },
    ERR_DEVICE_STATS: {
      means: "DeviceStatsMonitor has nowhere to log to.",
      cause: "`logger: false`.",
      fix: "Add a logger, or remove the callback.",
    },
    ERR_EARLY_STOPPING: {
      means: "EarlyStopping got options that it does not take.",
      cause: "No `monitor`, or a misspelt option.",
      fix: "The message lists them.",
      example: `import { EarlyStopping } from "@nbit/lightning";
new EarlyStopping({ monitor: "valLoss", patients: 3 });`,
    },
    ERR_FINETUNING: {
      means: "BackboneFinetuning needs a field `backbone`.",
      cause: "Another name of the field.",
      fix: "Call it `backbone`, or extend BaseFinetuning.",
    },
    ERR_LAMBDA_CALLBACK: {
      means: "LambdaCallback got a hook that there is not.",
      cause: "A misspelt name.",
      fix: "The message has the nearest.",
      example: `import { LambdaCallback } from "@nbit/lightning";
new LambdaCallback({ onTrainStarted: () => {} });`,
    },
    ERR_LOGGER: {
      means: "`logger` is none.",
      cause: "A class, or a name.",
      fix: "Pass true, false, a Logger or a list of them.",
      example: `import { Trainer } from "@nbit/lightning";
new Trainer({ logger: "csv" });`,
    },
    ERR_LOGGER_SERVER: {
      means: "A logger's server did not answer, or refused.",
      cause: "It is not running, or its address is wrong.",
      fix: "Start it, and check the address; values that wait are sent when it answers again.",
      by: "LoggerServerError",
    },
    ERR_LOG_BATCH_SIZE: {
      means: "`log` cannot tell how many samples the batch has.",
      cause: "A batch without tensors.",
      fix: "Pass `batchSize` to `log`.",
    },
    ERR_LOG_FILE: {
      means: "A logger will not write over a file that is not its own.",
      cause: "Another program's file at that place.",
      fix: "Choose another place: the file was left as it is.",
    },
    ERR_LOG_HOOK: {
      means: "`log` cannot be called from here.",
      cause: "From a constructor, `setup`, or a prediction.",
      fix: "Log from a step method, or write to the logger itself.",
    },
    ERR_LOG_LEVEL: {
      means: "`onStep` or `onEpoch` cannot be so in this hook.",
      cause: "`onStep: true` in onValidationEpochEnd.",
      fix: "Remove it.",
      example: `import { LightningModule, Trainer } from "@nbit/lightning";
import { nn, ones, optim } from "@nbit/torch";
class Model extends LightningModule {
  layer = new nn.Linear(2, 1);
  trainingStep(batch) {
    return this.layer.forward(batch).mean();
  }
  onTrainEpochEnd() {
    this.log("epoch", 1, { onStep: true });
  }
  configureOptimizers() {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}
await new Trainer({ logger: false, enableCheckpointing: false, enableProgressBar: false, maxEpochs: 1 }).fit(new Model(), { trainDataloaders: [ones([1, 2])] });`,
    },
    ERR_LOG_METRIC: {
      means: "A metric object was logged in a way that cannot be followed.",
      cause: "It is no field of the module, or was only updated while its steps are logged.",
      fix: "Make it a field, and call `forward`.",
    },
    ERR_LOG_NAME: {
      means: "The name of a logged value cannot be used.",
      cause: "It is no string, has a dataloader index already, or was used for something else.",
      fix: "Use another name.",
      example: `import { LightningModule, Trainer } from "@nbit/lightning";
import { nn, ones, optim } from "@nbit/torch";
class Model extends LightningModule {
  layer = new nn.Linear(2, 1);
  trainingStep(batch) {
    this.log(1, 1);
    return null;
  }
  configureOptimizers() {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}
await new Trainer({ logger: false, enableCheckpointing: false, enableProgressBar: false, maxEpochs: 1 }).fit(new Model(), { trainDataloaders: [ones([1, 2])] });`,
    },
    ERR_LOG_OPTION: {
      means: "`log` got an option that it does not have, or one that does nothing here.",
      cause: "A misspelt option.",
      fix: "The message says which.",
      example: `import { LightningModule, Trainer } from "@nbit/lightning";
import { nn, ones, optim } from "@nbit/torch";
class Model extends LightningModule {
  layer = new nn.Linear(2, 1);
  trainingStep(batch) {
    this.log("loss", 1, { onEpcoh: true });
    return null;
  }
  configureOptimizers() {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}
await new Trainer({ logger: false, enableCheckpointing: false, enableProgressBar: false, maxEpochs: 1 }).fit(new Model(), { trainDataloaders: [ones([1, 2])] });`,
    },
    ERR_LOG_OPTIONS: {
      means: "One name was logged with different options in one hook.",
      cause: "`onEpoch: true` in one branch only.",
      fix: "Use the same options, or another name.",
    },
    ERR_LOG_RANKS: {
      means: "Processes log one name with different options.",
      cause: "A condition on the rank.",
      fix: "Log the same in every process.",
    },
    ERR_LOG_REDUCTION: {
      means: "`reduceFx` is none of the reductions that there are.",
      cause: '"median".',
      fix: 'Use "mean", "sum", "min" or "max".',
      example: `import { LightningModule, Trainer } from "@nbit/lightning";
import { nn, ones, optim } from "@nbit/torch";
class Model extends LightningModule {
  layer = new nn.Linear(2, 1);
  trainingStep(batch) {
    this.log("loss", 1, { reduceFx: "median" });
    return null;
  }
  configureOptimizers() {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}
await new Trainer({ logger: false, enableCheckpointing: false, enableProgressBar: false, maxEpochs: 1 }).fit(new Model(), { trainDataloaders: [ones([1, 2])] });`,
    },
    ERR_LOG_VALUE: {
      means: "A logged value is no single number.",
      cause: "A tensor of several elements.",
      fix: "Reduce it first, for example with `mean()`.",
      by: "ArgumentError",
      example: `import { LightningModule, Trainer } from "@nbit/lightning";
import { nn, ones, optim } from "@nbit/torch";
class Model extends LightningModule {
  layer = new nn.Linear(2, 1);
  trainingStep(batch) {
    this.log("out", this.layer.forward(batch.expand(2, 2)));
    return null;
  }
  configureOptimizers() {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}
await new Trainer({ logger: false, enableCheckpointing: false, enableProgressBar: false, maxEpochs: 1 }).fit(new Model(), { trainDataloaders: [ones([1, 2])] });`,
    },
    ERR_LR_FINDER: {
      means: "The bounds of the learning rate finder are the wrong way round.",
      cause: "`maxLr` ≤ `minLr`.",
      fix: "Swap them.",
      example: `import { LearningRateFinder } from "@nbit/lightning";
new LearningRateFinder({ minLr: 1, maxLr: 0.1 });`,
    },
    ERR_LR_MONITOR: {
      means: "LearningRateMonitor has nowhere to log to, or options that it does not take.",
      cause: "`logger: false`.",
      fix: "Add a logger, or remove the callback.",
      example: `import { LearningRateMonitor } from "@nbit/lightning";
new LearningRateMonitor({ loggingInterval: "batch" });`,
    },
    ERR_METRIC_EMPTY: {
      means: "A metric was asked for its value without enough updates.",
      cause: "`compute()` on a new one; R² of one sample.",
      fix: "Call `update` first.",
      by: "ArgumentError",
      in: ["metrics"],
      example: `import { R2Score } from "@nbit/metrics";
import { tensor } from "@nbit/torch";
const score = new R2Score();
score.update(tensor([1]), tensor([1]));
score.compute();`,
    },
    ERR_METRIC_NAN: {
      means: "A metric that was told to refuse NaN got one.",
      cause: "A loss that became NaN.",
      fix: "Find its cause, or choose another `nanStrategy`.",
      by: "ArgumentError",
      in: ["metrics"],
      example: `import { MeanMetric } from "@nbit/metrics";
new MeanMetric({ nanStrategy: "error" }).update(NaN);`,
    },
    ERR_METRIC_STATE: {
      means: "A checkpoint has states of another metric under this name.",
      cause: "The field was given another metric since.",
      fix: "Go on from an epoch's end, or put the old one back.",
      by: "ArgumentError",
      in: ["metrics"],
    },
    ERR_METRIC_SYNC: {
      means: "A metric was used while it holds the states of all processes, or the reverse.",
      cause: "`update` between `sync` and `unsync`.",
      fix: "Call `unsync` first.",
      by: "ArgumentError",
      in: ["metrics"],
    },
    ERR_METRIC_TARGET: {
      means: "Targets are no labels of the classes that there are.",
      cause: "Labels that begin at 1; a wrong `numClasses`.",
      fix: "Correct them; `ignoreIndex` leaves out those of one value.",
      by: "ArgumentError",
      in: ["metrics"],
    },
    ERR_MLFLOW_URI: {
      means: "MLFlowLogger writes to a server, not to files.",
      cause: '"file:./mlruns".',
      fix: "Start `mlflow server`, and pass its address.",
      example: `import { MLFlowLogger } from "@nbit/lightning";
new MLFlowLogger({ trackingUri: "file:./mlruns" });`,
    },
    ERR_MODEL_CHECKPOINT: {
      means: "ModelCheckpoint got options that do not go together, or a file name that leads elsewhere.",
      cause: "`saveTopK` without `monitor`; a symbolic link in `filename`.",
      fix: "The message says which.",
      example: `import { ModelCheckpoint } from "@nbit/lightning";
new ModelCheckpoint({ saveTopK: -2 });`,
    },
    ERR_MONITOR: {
      means: "A callback or scheduler waits for a metric that nobody logs.",
      cause: "A misspelt name; `onEpoch: false`; a metric of validation without validation data.",
      fix: "Log it with `this.log(name, value)`, or change `monitor`. The message lists what is logged.",
    },
    ERR_ON_EXCEPTION_CHECKPOINT: {
      means: "OnExceptionCheckpoint cannot use this file name.",
      cause: "Values in braces in it.",
      fix: "Give a plain name.",
      example: `import { OnExceptionCheckpoint } from "@nbit/lightning";
new OnExceptionCheckpoint("/tmp", { filename: "{epoch}" });`,
    },
    ERR_PREDICTION_WRITER: {
      means: "A prediction writer lacks the method that its `writeInterval` calls.",
      cause: '`writeInterval: "epoch"` without writeOnEpochEnd.',
      fix: "Define it.",
    },
    ERR_PRUNING: {
      means: "ModelPruning cannot prune this.",
      cause: "A parameter that the model does not have; a pruning function that does not exist.",
      fix: "The message says which.",
      example: `import { ModelPruning } from "@nbit/lightning";
new ModelPruning({ pruningFn: "biggest" });`,
    },
    ERR_RUN_LOG: {
      means: "A file is no log of a run, or is damaged.",
      cause: "Another JSON lines file; a log of a newer version.",
      fix: "Pass a `run.jsonl` that a fit wrote.",
      by: "RunLogError",
      in: ["dashboard"],
    },
    ERR_SWA: {
      means: "StochasticWeightAveraging got options that it does not take, or there is nothing for it to average.",
      cause: "A rate ≤ 0; several optimizers.",
      fix: "The message says which.",
    },
    ERR_THROUGHPUT: {
      means: "ThroughputMonitor has nowhere to log to.",
      cause: "`logger: false`.",
      fix: "Add a logger, or remove the callback.",
    },
    ERR_TIMER: {
      means: "Timer got options that it does not take.",
      cause: "A duration that cannot be read.",
      fix: 'Write "DD:HH:MM:SS" or `{ hours: 1 }`.',
      example: `import { Timer } from "@nbit/lightning";
new Timer({ durations: "00:12:00:00" });`,
    },
    ERR_TRAINING_SPIKE: {
      means: "SpikeDetection found a loss far above the running mean, several times.",
      cause: "Bad batches, or a learning rate that is too high.",
      fix: "Look at the batches that it wrote down; restart from the last checkpoint without them.",
      by: "TrainingSpikeException",
    },
    PROFILER_ACTION: {
      means: "A profiler of the Trainer was stopped or started out of order.",
      cause: "`stop(name)` without `start(name)`.",
      fix: "Use `profiler.profile(name, fn)`.",
      by: "NbitError",
      example: `import { SimpleProfiler } from "@nbit/lightning";
new SimpleProfiler().stop("step");`,
    },
    VISION_DATA: {
      means: "Files of a dataset are there, but are not what they should be.",
      cause: "Another dataset, or a damaged file.",
      fix: "Fetch it anew; the message names the file.",
      by: "VisionError",
      in: ["vision"],
    },
    VISION_IMAGE: {
      means: "A file cannot be read as an image.",
      cause: "Another format, or a damaged file.",
      fix: "Convert it to PNG or JPEG.",
      by: "VisionError",
      in: ["vision"],
    },
    VISION_NOT_FOUND: {
      means: "The files of a dataset are not where they were looked for.",
      cause: "Nothing was downloaded: datasets are read from disk.",
      fix: "Unpack them below `root`, as the message says.",
      by: "VisionError",
      in: ["vision"],
      example: `import { datasets } from "@nbit/vision";
new datasets.MNIST("/nowhere");`,
    },
    VISION_NO_PACKAGE: {
      means: "An optional package is needed for this.",
      cause: "It is not installed, or does not load here.",
      fix: "`npm install` the package that the message names.",
      by: "VisionError",
      in: ["vision"],
    },
  },
);
