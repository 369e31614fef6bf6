import { MetricCollection } from "@nbit/metrics";
import {
  ArgumentError,
  atMost,
  checkArguments,
  checkOptions,
  copiedByConstruction,
  device,
  kinds,
  onnx,
  type optim,
  type OptionNames,
  verbatim,
} from "@nbit/torch";
import type { Device, DType, Tensor } from "@nbit/torch";
import { loadModule, type LightningLoadArguments, type LoadModuleOptions } from "./checkpoint/load-module.js";
import { onDevice } from "./collections.js";
import { MisconfigurationError } from "./errors.js";
import { isBuiltFromHyperparameters, RecordedHyperparameters, type HyperparameterOptions } from "./hyperparameters.js";
import { mustEnd } from "./promises.js";
import { gatherTensors } from "./ranks/gather-tensors.js";
import type { LogValue } from "./logging/metric.js";
import { checkLogOptions, type LogOptions } from "./logging/results.js";
import type { LightningOptimizer } from "./loops/lightning-optimizer.js";
import type { OptimizerConfiguration, Scheduler } from "./loops/optimizer-configuration.js";
import { ToggledParameters } from "./loops/toggled-parameters.js";
import { ModuleHooks } from "./module-hooks.js";
import type { ModuleHost } from "./module-host.js";
import { explainLoss } from "./diagnostics/loss-errors.js";
import type { TrainerView } from "./trainer-view.js";
import type { Batch, StepOutput } from "./types.js";
import { WarnOnce } from "./warnings.js";

export type { LightningLoadArguments, LoadModuleOptions, ModuleHost };

const detached = new WarnOnce();
/** Connects a module to the Trainer that runs it (null: disconnects). For the Trainer only. */
export let attachHost: (module: LightningModule, host: ModuleHost | null) => void;
/** What a module is connected to. For parts of the Trainer only. */
export let hostOf: (module: LightningModule) => ModuleHost | null;
/** What `saveHyperparameters` recorded of a module. For the Trainer only. */
export let hyperparametersOf: (module: LightningModule) => RecordedHyperparameters;

export interface AllGatherOptions {
  /** Default false. */
  readonly syncGrads?: boolean;
}
const ALL_GATHER: OptionNames<AllGatherOptions> = { syncGrads: kinds.flag };

/** What `onnx.export` takes beside the model, its inputs and the file. */
export type ToOnnxOptions = Omit<onnx.ExportArguments, "model" | "args" | "f">;
const TO_ONNX: OptionNames<ToOnnxOptions> = {
  inputNames: true,
  outputNames: true,
  opsetVersion: true,
  dynamicAxes: true,
};

export interface ClipOptions {
  /** Default: the Trainer's `gradientClipVal`. */
  readonly gradientClipVal?: number;
  /** Default: the Trainer's `gradientClipAlgorithm`. */
  readonly gradientClipAlgorithm?: "norm" | "value";
}
const CLIP: OptionNames<ClipOptions> = {
  gradientClipVal: kinds.orNull(kinds.real("(0, ∞)")),
  gradientClipAlgorithm: kinds.oneOf("norm", "value"),
};

/**
 * A model together with how it is trained: its steps, its optimizers, its hooks.
 *
 * Override `trainingStep` and `configureOptimizers`, and whatever else you need. Step methods are synchronous: autocast
 * and tensor scopes end when they return. Tensors made in a step are freed when the iteration ends; `keep(t)` what you
 * store.
 *
 * @example
 * class Classifier extends LightningModule {
 *   layer = new nn.Linear(784, 10);
 *   forward(x: Tensor) { return this.layer.forward(x); }
 *   override trainingStep([x, y]: [Tensor, Tensor]) {
 *     const loss = crossEntropyLoss(this.forward(x), y);
 *     this.log("train_loss", loss);
 *     return loss;
 *   }
 *   override configureOptimizers() { return new optim.Adam(this.parameters(), { lr: 1e-3 }); }
 * }
 */
export class LightningModule extends ModuleHooks {
  /** False: `trainingStep` calls `manualBackward`, `optimizer.step()` and `optimizer.zeroGrad()` itself. */
  automaticOptimization = true;
  /** An example of what `forward` takes (an array: its arguments), for `toOnnx` and for sizes in summaries. */
  exampleInputArray: unknown = null;
  /** False: missing or unexpected keys in a checkpoint are ignored. */
  strictLoading = true;

  #host: ModuleHost | null = null;
  readonly #hparams = new RecordedHyperparameters();
  readonly #toggled = new ToggledParameters();

  constructor() {
    super();
    if (!isBuiltFromHyperparameters()) atMost(new.target.name || "LightningModule", arguments, 0);
  }

  static {
    attachHost = (module, host) => {
      module.#host = host;
    };
    hostOf = (module) => module.#host;
    hyperparametersOf = (module) => module.#hparams;
  }

  /** @internal A copy has the hyperparameters, and no Trainer. */
  protected override copiedFrom(original: this): void {
    super.copiedFrom(original);
    this.#hparams.copyFrom(original.#hparams);
  }

  /** The Trainer in charge. Throws when there is none. */
  get trainer(): TrainerView {
    return this.#require("trainer").trainer;
  }

  get isAttached(): boolean {
    return this.#host !== null;
  }

  #require(what: string): ModuleHost {
    if (this.#host === null) {
      throw new MisconfigurationError(
        what,
        `${this.constructor.name} to be attached to a Trainer`,
        verbatim("no Trainer"),
        "Pass the module to trainer.fit, validate, test or predict.",
        "ERR_NOT_ATTACHED",
      );
    }
    return this.#host;
  }

  // The state of training, as seen from the module.

  get currentEpoch(): number {
    return this.#host?.trainer.currentEpoch ?? 0;
  }

  get globalStep(): number {
    return this.#host?.trainer.globalStep ?? 0;
  }

  get device(): Device {
    return this.#host?.trainer.rootDevice ?? this.parameters()[0]?.device ?? this.buffers()[0]?.device ?? device("cpu");
  }

  /** Of the first floating-point parameter; "float32" without one. */
  get dtype(): DType {
    for (const parameter of this.parameters()) if (parameter.isFloatingPoint()) return parameter.dtype;
    return "float32";
  }

  get logger(): TrainerView["logger"] {
    return this.#host?.trainer.logger ?? null;
  }
  get loggers(): TrainerView["loggers"] {
    return this.#host?.trainer.loggers ?? [];
  }

  /** This process among all of the run, and among those of its machine; 0 without a Trainer. */
  get globalRank(): number {
    return this.#host?.trainer.globalRank ?? 0;
  }
  get localRank(): number {
    return this.#host?.trainer.localRank ?? 0;
  }

  // What a model defines.

  forward(..._args: never[]): unknown {
    throw notDefined(this, "forward");
  }

  /**
   * One batch of training. Return the loss, an object with `loss`, or null to skip backward for this batch, and its
   * step, unless it ends a window of accumulation that has gradients.
   */
  trainingStep(_batch: Batch, _batchIdx: number): StepOutput {
    throw notDefined(this, "trainingStep", "fit");
  }

  /**
   * With several processes: what this one's loss counts in the mean over all, such as the number of samples or tokens
   * that it is a mean of. Called after `trainingStep`; every process's weight is asked for once per batch, in one small
   * exchange. A number ≥ 0, or a tensor of one element. Default: all count the same.
   *
   * @example
   * override lossWeight([x]: [Tensor]) { return x.size(0); }
   */
  lossWeight(_batch: Batch, _batchIdx: number): number | Tensor {
    return 1;
  }

  validationStep(_batch: Batch, _batchIdx: number, _dataloaderIdx: number): unknown {
    throw notDefined(this, "validationStep", "validate");
  }

  testStep(_batch: Batch, _batchIdx: number, _dataloaderIdx: number): unknown {
    throw notDefined(this, "testStep", "test");
  }

  /** Default: `forward` on the batch, or on its first element when it is an array. */
  predictStep(batch: Batch, _batchIdx: number, _dataloaderIdx: number): unknown {
    const input: unknown = Array.isArray(batch) ? batch[0] : batch;
    return Reflect.apply(this.forward, this, [input]);
  }

  /**
   * The optimizers and schedulers of `fit`: an optimizer; a list of them (manual optimization); `[optimizers,
   * schedulers]`; or `{ optimizer, lrScheduler, monitor }`, where `lrScheduler` is a scheduler or `{ scheduler,
   * interval, frequency, monitor, strict, name }`.
   */
  configureOptimizers(): OptimizerConfiguration {
    return null;
  }

  /**
   * Build layers here when they depend on device or precision: default dtype and device are set as the precision wants.
   */
  configureModel(): void {}

  // Logging.

  /**
   * Record a value under `name`.
   *
   * In `trainingStep` the default is the value of each step; in evaluation, the mean over the epoch weighted by batch
   * size. With both, the names are `name_step` and `name_epoch`. Does not wait for the device.
   *
   * @param value - A number, a boolean, or a tensor with one element of any real dtype. Numbers, integers and float64
   * are kept in float64, other tensors in float32.
   * @throws {MisconfigurationError} in hooks that are neither a step nor part of an epoch, and when options change
   * between calls.
   */
  log(name: string, value: LogValue, options: LogOptions = {}): void {
    atMost("log", arguments, 3);
    checkLogOptions(options);
    if (this.#host === null) {
      if (typeof name !== "string") throw new ArgumentError("log", "name to be a string", name, "", "ERR_LOG_NAME");
      detached.warn(
        "WARN_LOG_DETACHED",
        `log(${JSON.stringify(name)}): the module is not attached to a Trainer; nothing was logged.`,
      );
      return;
    }
    this.#host.log(name, value, options);
  }

  /** The same for several: values by name, or a collection of metrics that is a field of the module. */
  logDict(dictionary: Readonly<Record<string, LogValue>> | MetricCollection, options: LogOptions = {}): void {
    atMost("logDict", arguments, 2);
    checkLogOptions(options);
    if (dictionary instanceof MetricCollection) {
      for (const [name, metric] of dictionary.items())
        this.log(`${dictionary.prefix}${name}${dictionary.postfix}`, metric, options);
      return;
    }
    checkArguments("logDict", { dictionary }, { dictionary: kinds.record });
    for (const [name, value] of Object.entries(dictionary)) this.log(name, value, options);
  }

  /** Print in the process that writes (once, not once per process). */
  print(...values: unknown[]): void {
    if (this.#host === null || this.#host.trainer.isGlobalZero) console.log(...values);
  }

  // Hyperparameters.

  /** What `saveHyperparameters` recorded; frozen. */
  get hparams(): Readonly<Record<string, unknown>> {
    return this.#hparams.values;
  }
  /** The same as it was recorded last, whatever was removed since. */
  get hparamsInitial(): Readonly<Record<string, unknown>> {
    return this.#hparams.initial;
  }

  /**
   * Record the values that built this module: they are saved in checkpoints, given to loggers, and passed to the
   * constructor by `loadFromCheckpoint`. Plain values only (numbers, strings, booleans, null, arrays, objects).
   */
  saveHyperparameters(params: object, options: HyperparameterOptions = {}): void {
    atMost("saveHyperparameters", arguments, 2);
    this.#hparams.save(params, options);
  }
  /** Forget recorded values, of a base class for example. */
  removeIgnoredHparams(ignoreList: readonly string[]): void {
    atMost("removeIgnoredHparams", arguments, 1);
    this.#hparams.remove(ignoreList);
  }

  /**
   * A module built from a checkpoint's hyperparameters (`overrides` win) with its weights; with `options.dtype`, module
   * and weights are in that dtype. A `.ckpt` of Lightning's own, of an equal module, is read too: its weights, its
   * hyperparameters with names in camelCase, and what its hooks added. `configureModel` is called before weights come.
   *
   * As in Lightning, `mapLocation`, `strict` and `weightsOnly` may stand among the hyperparameters. A checkpoint of
   * another class is a warning (`WARN_CHECKPOINT_CLASS`), and named in the error where weights do not fit.
   *
   * @throws {NbitError} `STATE_DICT_MISMATCH` where weights do not fit.
   * @example const net = Net.loadFromCheckpoint("best.ckpt", { mapLocation: "cuda", hiddenSize: 64 });
   */
  static loadFromCheckpoint<T extends LightningModule, H>(
    this: new (hparams: H) => T,
    checkpointPath: string,
    overrides: Partial<H> & LightningLoadArguments = {} as Partial<H>,
    options: LoadModuleOptions = {},
  ): T {
    atMost("loadFromCheckpoint", arguments, 3);
    return loadModule(
      this,
      checkpointPath,
      overrides as Readonly<Record<string, unknown>>,
      options,
      (hparams) => new this(hparams as H),
    );
  }

  /** No gradients, evaluation mode. */
  freeze(): void {
    atMost("LightningModule.freeze", arguments, 0);
    for (const parameter of this.parameters()) parameter.requiresGrad = false;
    this.eval();
  }

  unfreeze(): void {
    atMost("LightningModule.unfreeze", arguments, 0);
    for (const parameter of this.parameters()) parameter.requiresGrad = true;
    this.train();
  }

  // Manual optimization.

  /**
   * The optimizers, wrapped: their `step` unscales, calls the hooks and skips as the precision needs. The optimizer
   * itself where there is one.
   *
   * @param usePlOptimizer - False: as `configureOptimizers` returned them, not wrapped. Default true.
   * @example const [generator, critic] = [this.optimizers()].flat(); // a list, however many there are
   */
  optimizers(usePlOptimizer?: true): LightningOptimizer | readonly LightningOptimizer[];
  optimizers(
    usePlOptimizer: boolean,
  ): optim.Optimizer | LightningOptimizer | readonly (optim.Optimizer | LightningOptimizer)[];
  optimizers(
    usePlOptimizer = true,
  ): optim.Optimizer | LightningOptimizer | readonly (optim.Optimizer | LightningOptimizer)[] {
    atMost("LightningModule.optimizers", arguments, 1);
    checkArguments("LightningModule.optimizers", { usePlOptimizer }, { usePlOptimizer: kinds.flag });
    const wrapped = this.#require("optimizers").wrappedOptimizers();
    return usePlOptimizer ? oneOrAll(wrapped) : oneOrAll(wrapped.map(({ optimizer }) => optimizer));
  }

  /** The schedulers that `configureOptimizers` returned: the scheduler itself where there is one, null for none. */
  lrSchedulers(): Scheduler | readonly Scheduler[] | null {
    atMost("LightningModule.lrSchedulers", arguments, 0);
    const schedulers = this.#require("lrSchedulers").trainer.lrSchedulerConfigs.map((config) => config.scheduler);
    return schedulers.length === 0 ? null : oneOrAll(schedulers);
  }

  /** Backward under the precision in use: scales the loss where it must. */
  manualBackward(loss: Tensor): void {
    atMost("LightningModule.manualBackward", arguments, 1);
    this.#require("manualBackward").manualBackward(loss);
  }

  /** Clip the gradients of one optimizer. They are unscaled first when they are not yet. */
  clipGradients(optimizer: optim.Optimizer | LightningOptimizer, options: ClipOptions = {}): void {
    atMost("clipGradients", arguments, 2);
    checkOptions("clipGradients", options, CLIP);
    this.#require("clipGradients").clipGradients(
      optimizer,
      options.gradientClipVal ?? null,
      options.gradientClipAlgorithm ?? null,
    );
  }

  /** Only the parameters of `optimizer` get gradients, until `untoggleOptimizer`. */
  toggleOptimizer(optimizer: optim.Optimizer | LightningOptimizer): void {
    atMost("LightningModule.toggleOptimizer", arguments, 1);
    this.#toggled.only(optimizer, this.#require("toggleOptimizer").trainer.optimizers);
  }

  untoggleOptimizer(_optimizer?: optim.Optimizer | LightningOptimizer): void {
    atMost("LightningModule.untoggleOptimizer", arguments, 1);
    this.#toggled.restore();
  }

  /** Run `fn` with gradients for this optimizer's parameters only. @returns What `fn` returns. */
  toggledOptimizer<T>(optimizer: optim.Optimizer | LightningOptimizer, fn: () => T): T {
    atMost("LightningModule.toggledOptimizer", arguments, 2);
    checkArguments("LightningModule.toggledOptimizer", { fn }, { fn: kinds.callable });
    this.toggleOptimizer(optimizer);
    try {
      return fn();
    } finally {
      this.untoggleOptimizer(optimizer);
    }
  }

  /**
   * Tensors of all processes, stacked in the order of ranks: of shape `[worldSize, …]` for each of shape `[…]`, in
   * arrays, objects and Maps. Every process calls it, with equal shapes and dtypes. One process alone gets `data` itself.
   *
   * @param options.syncGrads - Gradients flow back: each process gets the sum of what all have for its part. Default
   * false.
   */
  allGather<T>(data: T, options: AllGatherOptions = {}): T {
    atMost("LightningModule.allGather", arguments, 2);
    checkOptions("LightningModule.allGather", options, ALL_GATHER);
    const { strategy } = this.#require("allGather").trainer;
    return gatherTensors(data, strategy, options.syncGrads ?? false) as T;
  }

  /**
   * Write this model as a graph of ONNX (`onnx.export` of `@nbit/torch`), in evaluation mode.
   *
   * @param filePath - By custom, the name ends in `.onnx`.
   * @param inputSample - What `forward` takes. Default: `exampleInputArray`.
   * @throws {MisconfigurationError} `ERR_EXAMPLE_INPUT` where there is neither.
   */
  toOnnx(filePath: string, inputSample: onnx.ExportInputs | null = null, options: ToOnnxOptions = {}): void {
    atMost("LightningModule.toOnnx", arguments, 3);
    checkArguments("LightningModule.toOnnx", { filePath }, { filePath: kinds.filled });
    checkOptions("LightningModule.toOnnx", options, TO_ONNX);
    const sample = inputSample ?? this.exampleInputArray;
    if (sample === null || sample === undefined)
      throw new MisconfigurationError(
        "LightningModule.toOnnx",
        "inputSample, or an exampleInputArray of the module",
        sample,
        undefined,
        "ERR_EXAMPLE_INPUT",
      );
    const moved = onDevice(sample, this.parameters()[0]?.device ?? this.device) as onnx.ExportInputs;
    onnx.export(this, moved, filePath, options);
  }

  // Parts of the training step that may be replaced.

  /** Automatic optimization's backward. `loss` is scaled and divided by the accumulation window already. */
  backward(loss: Tensor): void {
    try {
      loss.backward();
    } catch (error) {
      throw explainLoss(error, loss);
    }
  }

  /**
   * One optimizer step. `closure` runs forward, zero-grad and backward, and must be called, as
   * `optimizer.step(closure)` does. Override to do something before or after (a warm-up, for example).
   */
  optimizerStep(_epoch: number, _batchIdx: number, optimizer: LightningOptimizer, closure: () => Tensor | null): void {
    optimizer.step(closure);
  }

  optimizerZeroGrad(_epoch: number, _batchIdx: number, optimizer: optim.Optimizer): void {
    optimizer.zeroGrad();
  }

  /** Gradients are unscaled here. Default: clip as the Trainer was told. */
  configureGradientClipping(
    optimizer: optim.Optimizer,
    gradientClipVal: number | null,
    gradientClipAlgorithm: "norm" | "value",
  ): void {
    if (gradientClipVal !== null) this.clipGradients(optimizer, { gradientClipVal, gradientClipAlgorithm });
  }

  lrSchedulerStep(scheduler: Scheduler, metric: number | null): void {
    mustEnd("step", metric === null ? scheduler.step() : scheduler.step(metric));
  }
}
copiedByConstruction(LightningModule);

/** The one of a list; a list of several, or of none, as it is. */
function oneOrAll<T>(list: readonly T[]): T | readonly T[] {
  const [first] = list;
  return list.length === 1 && first !== undefined ? first : list;
}

/** The error of a method that a model has to define, where it is called by what needs it. */
function notDefined(module: LightningModule, method: string, needs?: "fit" | "validate" | "test"): Error {
  return new MisconfigurationError(
    `${module.constructor.name}.${method}`,
    needs === undefined ? "to be defined" : `to be defined for ${needs}`,
    verbatim(`no ${method}`),
    undefined,
    needs === undefined ? "ERR_NO_FORWARD" : "ERR_NO_STEP",
  );
}
