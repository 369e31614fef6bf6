import { family } from "../family.js";

export const trainer = family(
  "trainer",
  {
    title: "The Trainer",
    brief: "Options of the Trainer, modules, and runs.",
    by: "MisconfigurationError",
    in: ["lightning"],
  },
  {
    ERR_ACCELERATOR_UNAVAILABLE: {
      means: "The accelerator exists, but cannot be used here.",
      cause: '`accelerator: "cuda"` without a GPU or with a libtorch for CPUs.',
      fix: "The message says what is missing; `npx nbit doctor` shows the machine.",
    },
    ERR_ACCELERATOR_UNKNOWN: {
      means: "There is no accelerator of this name.",
      cause: "A misspelling.",
      fix: "Use one that the message lists, or register your own with `registerAccelerator`.",
      example: `import { Trainer } from "@nbit/lightning";
new Trainer({ accelerator: "gqu" });`,
    },
    ERR_ACCUMULATION: {
      means: "The schedule of GradientAccumulationScheduler cannot be followed.",
      cause: "An empty schedule, a negative epoch, or `accumulateGradBatches` beside it.",
      fix: "Give whole numbers, as in `{ 0: 8, 4: 4 }`.",
      example: `import { GradientAccumulationScheduler } from "@nbit/lightning";
new GradientAccumulationScheduler({});`,
    },
    ERR_ACTIVATION_CHECKPOINTING: {
      means:
        "`activationCheckpointing` names classes that the model does not contain, or does not go with the strategy.",
      cause: "A class of another file with the same name.",
      fix: "Name classes of modules inside the model; with FSDP call `checkpoint` inside a unit's forward.",
    },
    ERR_ACTIVATION_GRAPH: {
      means: "A recorded CUDA graph neither runs modules again nor moves activations.",
      cause: "`cudaGraph: true` beside activation checkpointing or offloading.",
      fix: "Choose one of the two.",
      example: `import { Trainer } from "@nbit/lightning";
new Trainer({ cudaGraph: true, activationOffloading: true });`,
    },
    ERR_ASYNC_STEP: {
      means: "A step method that must end when it returns has returned a promise.",
      cause: "`async trainingStep`.",
      fix: "Make it synchronous; load data in the dataset, and wait in hooks that may be asynchronous.",
      example: `import { LightningModule, Trainer } from "@nbit/lightning";
import { nn, ones, optim } from "@nbit/torch";
class Model extends LightningModule {
  layer = new nn.Linear(2, 1);
  async trainingStep(batch) {
    return this.layer.forward(batch).mean();
  }
  configureOptimizers() {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}
await new Trainer({ logger: false, enableCheckpointing: false, enableProgressBar: false, maxEpochs: 1 }).fit(new Model(), { trainDataloaders: [ones([1, 2])] });`,
    },
    ERR_BACKWARD_TWICE: {
      means: "The loss's graph has been used by a backward already.",
      cause: "`loss.backward()` in trainingStep; a tensor of the previous step inside this one's loss.",
      fix: "Remove the call, or set `automaticOptimization = false`; `detach()` what you keep between steps.",
      example: `import { LightningModule, Trainer } from "@nbit/lightning";
import { nn, ones, optim } from "@nbit/torch";
class Model extends LightningModule {
  layer = new nn.Linear(2, 1);
  trainingStep(batch) {
    const loss = this.layer.forward(batch).square().mean();
    loss.backward();
    return loss;
  }
  configureOptimizers() {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}
await new Trainer({ logger: false, enableCheckpointing: false, enableProgressBar: false, maxEpochs: 1 }).fit(new Model(), { trainDataloaders: [ones([1, 2])] });`,
    },
    ERR_BAREBONES: {
      means: "`barebones` turns everything off that costs time beside training.",
      cause: "`barebones: true` beside a logger, a profiler or `fastDevRun`.",
      fix: "Leave out one of the two.",
      example: `import { Trainer } from "@nbit/lightning";
new Trainer({ barebones: true, enableProgressBar: true });`,
    },
    ERR_BATCH_SIZE_FINDER: {
      means: "The search for a batch size cannot be run.",
      cause: "A data loader that does not depend on `batchSize`; several loaders; options that it does not take.",
      fix: "Make loaders in a hook (`trainDataloader()`) that uses `this.batchSize`.",
    },
    ERR_CLIP: {
      means: "`clipGradients` was called without a value to clip at.",
      cause: "Manual optimization without `gradientClipVal`.",
      fix: "Pass `{ gradientClipVal }` here, or give it to the Trainer.",
    },
    ERR_DETECT_ANOMALY: {
      means: "Anomaly detection looks at operators, which a recorded step does not have.",
      cause: "`detectAnomaly` with `cudaGraph` or `replay`.",
      fix: "Turn one of them off.",
      example: `import { Trainer } from "@nbit/lightning";
new Trainer({ detectAnomaly: true, replay: true });`,
    },
    ERR_DEVICES: {
      means: "`devices` is no count and no list of devices that there are.",
      cause: "`devices: 2` on a machine with one GPU; the same index twice.",
      fix: 'Use "auto", -1, a count or a list of indices.',
      example: `import { Trainer } from "@nbit/lightning";
new Trainer({ accelerator: "cpu", devices: 0 });`,
    },
    ERR_DURATION: {
      means: "A duration cannot be read.",
      cause: '"1h".',
      fix: 'Write "DD:HH:MM:SS" or `{ hours: 1 }`.',
      example: `import { Trainer } from "@nbit/lightning";
new Trainer({ maxTime: "1h" });`,
    },
    ERR_EVALUATION_GRAD: {
      means: "Something asked for gradients during evaluation, where nothing is recorded.",
      cause: "A gradient penalty in validationStep.",
      fix: "Compute it within `enableGrad(() => …)`, with `inferenceMode: false`.",
    },
    ERR_EVENTS: {
      means: "`trainer.events` got options that it does not take.",
      cause: "A misspelt option.",
      fix: "The message lists them.",
    },
    ERR_EXAMPLE_INPUT: {
      means: "`toOnnx` needs an example of the model's input.",
      cause: "Neither `inputSample` nor `exampleInputArray`.",
      fix: "Pass one.",
    },
    ERR_HOOK_REJECTED: {
      means: "A hook's promise was rejected with something that is no Error.",
      cause: '`throw "text"` in an asynchronous hook.',
      fix: "Throw an Error: it has a stack.",
      by: "ArgumentError",
    },
    ERR_HYPERPARAMETERS: {
      means: "Module and data module save different values of one hyperparameter.",
      cause: "Both call `saveHyperparameters` with a field of the same name.",
      fix: "Rename one of them, or save it with `logger: false`.",
    },
    ERR_INFERENCE_MODE: {
      means: "Something asked for gradients in inference mode.",
      cause: "`validationStep` that calls backward.",
      fix: "Pass `inferenceMode: false` to the Trainer.",
    },
    ERR_INTERRUPTED: {
      means: "The run was ended by a signal.",
      cause: "Ctrl-C, or the scheduler's SIGTERM.",
      fix: 'Nothing is wrong. Resume with `ckptPath: "last"`.',
      by: "InterruptError",
      in: ["lightning", "torch"],
    },
    ERR_LIMIT: {
      means: "`limitTrainBatches` (or another such limit) leaves no batch, or is a share of an unknown number.",
      cause: "0.001 of 100 batches; a share for a stream.",
      fix: "Use a whole number, or a larger share.",
      example: `import { LightningModule, Trainer } from "@nbit/lightning";
import { nn, ones, optim } from "@nbit/torch";
class Model extends LightningModule {
  layer = new nn.Linear(2, 1);
  trainingStep(batch) {
    return this.layer.forward(batch).mean();
  }
  configureOptimizers() {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}
await new Trainer({ logger: false, enableCheckpointing: false, enableProgressBar: false, maxEpochs: 1, limitTrainBatches: 0.1 }).fit(new Model(), { trainDataloaders: [ones([1, 2])] });`,
    },
    ERR_LOADERS: {
      means: "What was given as data is nothing that can be iterated, or came in a place that means something else.",
      cause: "`trainer.fit(model, loader)` instead of `{ trainDataloaders: loader }`.",
      fix: "Loaders go by name; see the message.",
      example: `import { LightningModule, Trainer } from "@nbit/lightning";
await new Trainer({ logger: false, enableCheckpointing: false }).fit(new LightningModule(), [[1], [2]]);`,
    },
    ERR_LOSS_GRAPH: {
      means: "The loss depends on no parameter that learns.",
      cause: "All parameters are frozen; the loss was made under `noGrad`, from numbers, or after `detach()`.",
      fix: "Compute the loss from what forward returns.",
      example: `import { LightningModule, Trainer } from "@nbit/lightning";
import { nn, ones, optim } from "@nbit/torch";
class Model extends LightningModule {
  layer = new nn.Linear(2, 1);
  trainingStep(batch) {
    return this.layer.forward(batch).mean().detach();
  }
  configureOptimizers() {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}
await new Trainer({ logger: false, enableCheckpointing: false, enableProgressBar: false, maxEpochs: 1 }).fit(new Model(), { trainDataloaders: [ones([1, 2])] });`,
    },
    ERR_LOSS_SHAPE: {
      means: "The loss is no single number.",
      cause: '`reduction: "none"`.',
      fix: "Reduce it, for example with `mean()`.",
      example: `import { LightningModule, Trainer } from "@nbit/lightning";
import { nn, ones, optim } from "@nbit/torch";
class Model extends LightningModule {
  layer = new nn.Linear(2, 1);
  trainingStep(batch) {
    return this.layer.forward(batch.expand(2, 2));
  }
  configureOptimizers() {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}
await new Trainer({ logger: false, enableCheckpointing: false, enableProgressBar: false, maxEpochs: 1 }).fit(new Model(), { trainDataloaders: [ones([1, 2])] });`,
    },
    ERR_LOSS_WEIGHT: {
      means: "`lossWeight` returned nothing that can weigh a batch.",
      cause: "NaN, a negative number or a whole tensor.",
      fix: "Return a number ≥ 0, such as the number of samples.",
    },
    ERR_MANUAL_OPTIMIZATION: {
      means: "A call for manual optimization came under automatic optimization, or the reverse.",
      cause: "`manualBackward` without `automaticOptimization = false`.",
      fix: "Set the field, or return the loss and let the Trainer do it.",
      example: `import { LightningModule, Trainer } from "@nbit/lightning";
import { nn, ones, optim } from "@nbit/torch";
class Model extends LightningModule {
  layer = new nn.Linear(2, 1);
  trainingStep(batch) {
    this.manualBackward(this.layer.forward(batch).mean());
  }
  configureOptimizers() {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}
await new Trainer({ logger: false, enableCheckpointing: false, enableProgressBar: false, maxEpochs: 1 }).fit(new Model(), { trainDataloaders: [ones([1, 2])] });`,
    },
    ERR_MISCONFIGURATION: {
      means:
        "Options of the Trainer, a callback, a logger or a module are wrong, or do not go together. Found before training began.",
      cause: "A misspelt option; two options that exclude each other.",
      fix: "The message says the option, what was expected and what was received.",
    },
    ERR_NON_FINITE: {
      means: "A loss, gradient or weight became NaN or infinite, and `detectNonFinite` was on.",
      cause: "A learning rate that is too high, a division by 0, float16 without loss scaling.",
      fix: "The message names the first operator or parameter, with its line: mend that one.",
      by: "NonFiniteError",
      example: `import { LightningModule, Trainer } from "@nbit/lightning";
import { nn, ones, optim } from "@nbit/torch";
class Model extends LightningModule {
  layer = new nn.Linear(2, 1);
  trainingStep(batch) {
    return this.layer.forward(batch).mean().div(0).mul(0);
  }
  configureOptimizers() {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}
await new Trainer({ logger: false, enableCheckpointing: false, enableProgressBar: false, maxEpochs: 1, detectNonFinite: true }).fit(new Model(), { trainDataloaders: [ones([1, 2])] });`,
    },
    ERR_NOT_ATTACHED: {
      means: "A module's or data module's `trainer` was asked for before there was one.",
      cause: "`this.trainer` in a constructor; `explain()` before `fit`.",
      fix: "Do it in `setup` or a later hook, or pass the module to `trainer.fit` first.",
      example: `import { LightningModule } from "@nbit/lightning";
new LightningModule().trainer;`,
    },
    ERR_NOT_FITTING: {
      means: "Something that only makes sense during a fit was called outside of one.",
      cause: "`manualBackward` from validationStep.",
      fix: "Call it from trainingStep or a hook of training.",
    },
    ERR_NO_DEVICE: {
      means: "There are fewer usable CUDA devices than were asked for.",
      cause: "Other processes have them for themselves.",
      fix: "`nvidia-smi` shows which; ask for fewer.",
    },
    ERR_NO_FORWARD: {
      means: "The module has no `forward`, and something needs it.",
      cause: "`predict` or an ONNX export of a module without one.",
      fix: "Define `forward`, or `predictStep`.",
    },
    ERR_NO_MODULE: {
      means: "`fit` needs an object of a LightningModule.",
      cause: "The class instead of an object; an nn.Module.",
      fix: "Pass `new Model()`, and extend LightningModule.",
      example: `import { Trainer } from "@nbit/lightning";
await new Trainer({ logger: false, enableCheckpointing: false }).fit(class Model {}, { trainDataloaders: [] });`,
    },
    ERR_NO_REPORT: {
      means: "A precision report was asked for, and nothing has been measured.",
      cause: "No batch was given, and no PrecisionReport callback has run.",
      fix: "Pass a batch, or add the callback.",
    },
    ERR_NO_STEP: {
      means: "The module lacks the step method of this run.",
      cause: "`trainer.test` with a module without `testStep`.",
      fix: "Define it.",
      example: `import { LightningModule, Trainer } from "@nbit/lightning";
await new Trainer({ logger: false, enableCheckpointing: false }).test(new LightningModule(), { dataloaders: [] });`,
    },
    ERR_NULL_LOSS: {
      means: "trainingStep returned null under an optimizer that needs the loss several times.",
      cause: "LBFGS, and a batch that was skipped.",
      fix: "Always return a loss, or use another optimizer.",
    },
    ERR_NUM_NODES: {
      means: "`numNodes` and the launcher disagree, or there is no launcher.",
      cause: "`numNodes: 2` in a script that was started by `node`.",
      fix: "Start it with `nbit run`, `torchrun` or `srun` on each machine, or leave `numNodes` out.",
    },
    ERR_OPTIMIZERS: {
      means: "`configureOptimizers` returned something that is no optimizer.",
      cause: "A misspelt key, a class instead of an object.",
      fix: "Return an optimizer, a list, or `{ optimizer, lrScheduler, monitor }`.",
      example: `import { LightningModule, Trainer } from "@nbit/lightning";
import { nn, ones, optim } from "@nbit/torch";
class Model extends LightningModule {
  layer = new nn.Linear(2, 1);
  trainingStep(batch) {
    return this.layer.forward(batch).mean();
  }
  configureOptimizers() {
    return { optimiser: new optim.SGD(this.parameters(), { lr: 0.1 }) };
  }
}
await new Trainer({ logger: false, enableCheckpointing: false, enableProgressBar: false, maxEpochs: 1 }).fit(new Model(), { trainDataloaders: [ones([1, 2])] });`,
    },
    ERR_OVERFIT_BATCHES: {
      means: "`overfitBatches` needs data in order, and this loader cannot be made anew without its shuffling.",
      cause: "A sampler or loader of one's own.",
      fix: "Leave out `shuffle` and the sampler.",
    },
    ERR_OVERRIDDEN: {
      means: "`isOverridden` was asked about something that is no method of the class.",
      cause: "A misspelt name.",
      fix: "Pass the class that defines the method as the third argument.",
      example: `import { isOverridden, LightningModule } from "@nbit/lightning";
isOverridden("trainStep", new LightningModule(), LightningModule);`,
    },
    ERR_PROFILER: {
      means: "`profiler` names none that there is.",
      cause: 'A misspelling, or "xla".',
      fix: 'Use "simple", "advanced", "pytorch", a Profiler or null.',
      example: `import { Trainer } from "@nbit/lightning";
new Trainer({ profiler: "fast" });`,
    },
    ERR_REPORT_OPTION: {
      means: "`report` got options that it does not take.",
      cause: "A misspelt option.",
      fix: "The message lists them.",
    },
    ERR_RUNNING: {
      means: "A Trainer was started while it was running.",
      cause: "A second `fit` without `await`.",
      fix: "Wait for the first call, or use another Trainer.",
    },
    ERR_RUN_OPTION: {
      means: "`fit`, `validate`, `test` or `predict` got an option that it does not have.",
      cause: "A misspelling.",
      fix: "The message lists them.",
      example: `import { LightningModule, Trainer } from "@nbit/lightning";
await new Trainer({ logger: false, enableCheckpointing: false }).fit(new LightningModule(), { trainDataloader: [] });`,
    },
    ERR_SCHEDULER: {
      means: "What `configureOptimizers` returned as a scheduler is none, or its options are wrong.",
      cause: '`interval: "batch"`.',
      fix: "Return a scheduler, or `{ scheduler, interval, frequency, monitor }`.",
      example: `import { LightningModule, Trainer } from "@nbit/lightning";
import { nn, ones, optim } from "@nbit/torch";
class Model extends LightningModule {
  layer = new nn.Linear(2, 1);
  trainingStep(batch) {
    return this.layer.forward(batch).mean();
  }
  configureOptimizers() {
    const optimizer = new optim.SGD(this.parameters(), { lr: 0.1 });
    return { optimizer, lrScheduler: { scheduler: new optim.lrScheduler.StepLR(optimizer, { stepSize: 1 }), interval: "batch" } };
  }
}
await new Trainer({ logger: false, enableCheckpointing: false, enableProgressBar: false, maxEpochs: 1 }).fit(new Model(), { trainDataloaders: [ones([1, 2])] });`,
    },
    ERR_SCHEDULER_OPTIMIZER: {
      means: "A scheduler belongs to an optimizer that was not returned.",
      cause: "Two optimizers, of which one is returned.",
      fix: "Return the optimizer that the scheduler was made with.",
    },
    ERR_SEVERAL_OPTIMIZERS: {
      means: "Automatic optimization has one optimizer.",
      cause: "A list of two, as for a GAN.",
      fix: "Set `automaticOptimization = false`, and step them in trainingStep.",
      example: `import { LightningModule, Trainer } from "@nbit/lightning";
import { nn, ones, optim } from "@nbit/torch";
class Model extends LightningModule {
  layer = new nn.Linear(2, 1);
  trainingStep(batch) {
    return this.layer.forward(batch).mean();
  }
  configureOptimizers() {
    return [1, 2].map(() => new optim.SGD(this.parameters(), { lr: 0.1 }));
  }
}
await new Trainer({ logger: false, enableCheckpointing: false, enableProgressBar: false, maxEpochs: 1 }).fit(new Model(), { trainDataloaders: [ones([1, 2])] });`,
    },
    ERR_STEP_OUTPUT: {
      means: "trainingStep returned something that is no loss.",
      cause: "A number, or an object without `loss`.",
      fix: "Return a tensor, `{ loss }`, or null to skip the batch.",
      example: `import { LightningModule, Trainer } from "@nbit/lightning";
import { nn, ones, optim } from "@nbit/torch";
class Model extends LightningModule {
  layer = new nn.Linear(2, 1);
  trainingStep(batch) {
    return this.layer.forward(batch).mean().item();
  }
  configureOptimizers() {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}
await new Trainer({ logger: false, enableCheckpointing: false, enableProgressBar: false, maxEpochs: 1 }).fit(new Model(), { trainDataloaders: [ones([1, 2])] });`,
    },
    ERR_TOPOLOGY_BATCHES: {
      means: "`nbit explain --topology` needs two steps or more: the second one is compiled.",
      cause: "One batch of data.",
      fix: "Give it more batches.",
    },
    ERR_TOPOLOGY_PLUGIN: {
      means: "Compiling for another machine's devices needs a PJRT plugin that can.",
      cause: "Only the CPU plugin is set up.",
      fix: "Run `npx nbit setup --tpu`.",
    },
    ERR_TRAINER_OPTION: {
      means: "The Trainer has no such option, or not this value for it.",
      cause: "A misspelling; an option of an older Lightning.",
      fix: "The message has the nearest name, or what took its place.",
      example: `import { Trainer } from "@nbit/lightning";
new Trainer({ max_epochs: 3 });`,
    },
    ERR_TUNER: {
      means: "The Tuner was given something it cannot work with.",
      cause: "No Trainer, or misspelt options.",
      fix: "The message says what it takes.",
      example: `import { Tuner } from "@nbit/lightning";
new Tuner({});`,
    },
    ERR_TUNER_ATTRIBUTE: {
      means: "The field that the tuner is to set does not exist.",
      cause: "No `batchSize`, `lr` or `learningRate` in the module, data module or hparams.",
      fix: "Add the field, or name another in the options.",
    },
    ERR_TUNER_OPTIMIZERS: {
      means: "The learning rate finder sets the rate of one optimizer.",
      cause: "`configureOptimizers` returns several.",
      fix: "Return one while you search.",
    },
    ERR_VAL_CHECK_INTERVAL: {
      means: "`valCheckInterval` does not fit the number of training batches.",
      cause: "1000 with 100 batches per epoch; a share for a stream.",
      fix: "Use a smaller number, or `checkValEveryNEpoch: null` to count across epochs.",
      example: `import { LightningModule, Trainer } from "@nbit/lightning";
import { nn, ones, optim } from "@nbit/torch";
class Model extends LightningModule {
  layer = new nn.Linear(2, 1);
  trainingStep(batch) {
    return this.layer.forward(batch).mean();
  }
  validationStep() {}
  configureOptimizers() {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}
const data = [ones([1, 2])];
const trainer = new Trainer({ logger: false, enableCheckpointing: false, enableProgressBar: false, valCheckInterval: 10 });
await trainer.fit(new Model(), { trainDataloaders: data, valDataloaders: data });`,
    },
    ERR_XLA_OPTION: {
      means: "Steps that are compiled for XLA cannot have this option.",
      cause: "`cudaGraph`, `detectAnomaly` or another option for which steps run on the host.",
      fix: 'Leave it out, or use `accelerator: "cpu"` to search for a mistake.',
    },
    ERR_XLA_STEP: {
      means: "The training step cannot be compiled.",
      cause: "Manual optimization, `item()` or a hook in the middle of a step.",
      fix: "Compute with tensors, and move the rest into onTrainBatchEnd.",
    },
    ERR_XLA_STRATEGY: {
      means: "One process drives all devices of XLA, so few strategies exist there.",
      cause: '`strategy: "deepspeed"` with `accelerator: "tpu"`.',
      fix: "Use one that the message lists.",
    },
    OUTCOME_OVERWRITTEN: {
      means: "The outcome of a replayed step was read after the next one had begun.",
      cause: "Keeping `lastOutcome` across batches.",
      fix: "Read what you need in onTrainBatchEnd.",
      by: "NbitError",
    },
  },
);
