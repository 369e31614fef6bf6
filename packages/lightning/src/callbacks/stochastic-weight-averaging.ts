import {
  device as deviceOf,
  deviceKind,
  kinds,
  optim,
  outsideScopes,
  plainText,
  signature,
  verbatim,
  type Call,
  type Device,
  type OptionNames,
  type Tensor,
} from "@nbit/torch";
import { anyRecord, anyTensor, count, fieldsOf, leaf, orNull, recordOf } from "@nbit/torch/schema";
import { checkState } from "../checkpoint/schema.js";
import { MisconfigurationError } from "../errors.js";
import { computeStatistics } from "../loops/statistics-pass.js";
import type { LRSchedulerConfig } from "../loops/optimizer-configuration.js";
import type { LightningModule } from "../module.js";
import { runOf } from "../run-access.js";
import type { TrainerView } from "../trainer-view.js";
import type { TrainerFn } from "../types.js";
import { warn } from "../warnings.js";
import { AveragedWeights, type AvgFn } from "./averaged-weights.js";
import { batchNormsOf } from "./batch-norms.js";
import { Callback } from "./callback.js";
import { checkWholeParameters } from "./whole-parameters.js";

export interface StochasticWeightAveragingOptions {
  /** The rate to anneal to, of all groups or of each. */
  readonly swaLrs: number | readonly number[];
  /**
   * The epoch with which averaging begins, counted from 1, or the share of `maxEpochs` before it, in [0, 1). Default 0.8.
   */
  readonly swaEpochStart?: number;
  /** Epochs until the rate is reached. Default 10. */
  readonly annealingEpochs?: number;
  /** Default "cos". */
  readonly annealingStrategy?: "cos" | "linear";
  /** How one tensor takes in another. Default null: the mean of all. */
  readonly avgFn?: AvgFn | null;
  /** Where averages live. Default "cpu"; null: where the weights do. */
  readonly device?: Device | string | null;
}
const { byDefault, callable, either, listOf, oneOf, real, whole } = kinds;
const RATE = real("(0, ∞)");
const read = signature("StochasticWeightAveraging", {
  swaLrs: either(RATE, listOf(RATE)),
  swaEpochStart: byDefault(0.8, either(real("[0, 1]"), whole("[1, ∞)"))),
  annealingEpochs: byDefault(10, whole("[0, ∞)")),
  annealingStrategy: byDefault("cos", oneOf("cos", "linear")),
  avgFn: byDefault(null, kinds.orNull(callable as kinds.Kind<AvgFn>)),
  device: byDefault("cpu", kinds.orNull(deviceKind)),
} satisfies OptionNames<StochasticWeightAveragingOptions>);
type StochasticWeightAveragingCall = Call<
  StochasticWeightAveragingOptions,
  ["swaLrs", "swaEpochStart", "annealingEpochs", "annealingStrategy", "avgFn", "device"],
  [
    swaLrs: number | readonly number[],
    swaEpochStart?: number,
    annealingEpochs?: number,
    annealingStrategy?: "cos" | "linear",
    avgFn?: AvgFn | null,
    device?: Device | string | null,
  ]
>;

const STATE = fieldsOf({
  nAveraged: count,
  latestUpdateEpoch: leaf<number>("a whole number ≥ -1", (v) => Number.isSafeInteger(v) && (v as number) >= -1),
  schedulerState: orNull(anyRecord),
  averageModelState: orNull(recordOf(anyTensor)),
});

/**
 * Means of the weights that epochs of the end of training begin with, under a constant learning rate: wider optima, which
 * generalize better. From `swaEpochStart` on a schedule to `swaLrs` takes the place of the module's own; when training
 * reaches `maxEpochs`, the averages become the module's weights, and batch norms get their statistics anew, from one pass
 * over the training batches. Training that ends before leaves the module's own weights.
 *
 * Weights of 16 bits are averaged in float32; under apex's O2 their float32 masters are. Checkpoints have the averages in
 * the callback's state, and `stateDict` has the weights.
 *
 * @throws {MisconfigurationError} before training. `ERR_SWA`: several optimizers or schedulers, or a share of `maxEpochs:
 * -1`. `ERR_CALLBACK_STRATEGY`: parameters are shared out, or steps are compiled.
 * @example new StochasticWeightAveraging({ swaLrs: 0.01, swaEpochStart: 0.75 });
 * @see Izmailov et al., 2018, arXiv:1803.05407.
 */
export class StochasticWeightAveraging extends Callback {
  readonly #options: ReturnType<typeof read>;
  readonly #device: Device | null;
  #weights: AveragedWeights | null = null;
  #scheduler: optim.swaUtils.SWALR | null = null;
  #loaded: {
    readonly schedulerState: object | null;
    readonly averages: Record<string, Tensor>;
    readonly nAveraged: number;
  } | null = null;
  #latestUpdateEpoch = -1;
  #start = 0;
  #done = false;

  constructor(...given: StochasticWeightAveragingCall) {
    const options = read(given, new.target.name);
    super();
    this.#options = options;
    this.#device = options.device === null ? null : deviceOf(options.device as string);
  }

  /** The epoch, from 0, with which averaging begins; known when a fit has begun. */
  get swaStart(): number {
    return this.#start;
  }
  /** How many epochs' weights are in the averages. */
  get nAveraged(): number {
    return this.#weights?.nAveraged ?? 0;
  }

  override setup(trainer: TrainerView, _module: LightningModule, stage: TrainerFn): void {
    if (stage === "fit") checkWholeParameters(this, trainer);
  }
  override onFitStart(trainer: TrainerView, module: LightningModule): void {
    const { swaEpochStart: start, avgFn } = this.#options;
    const { optimizers, lrSchedulerConfigs, maxEpochs, precision } = trainer;
    if (optimizers.length !== 1) throw refused("one optimizer", `${optimizers.length} of them`);
    if (lrSchedulerConfigs.length > 1) throw refused("at most one scheduler", `${lrSchedulerConfigs.length} of them`);
    const isShare = !Number.isInteger(start) || start === 0;
    if (isShare && maxEpochs === -1)
      throw refused("swaEpochStart to be a whole number, with maxEpochs: -1", String(start));
    this.#start = Math.max((isShare ? Math.trunc(maxEpochs * start) : start) - 1, 0);
    this.#done = false;
    this.#scheduler = null;
    const how = { device: this.#device, buffers: "leave", avgFn, multiAvgFn: null } as const;
    this.#weights = new AveragedWeights({ module, optimizers, precision }, how);
    const loaded = this.#loaded;
    this.#loaded = null;
    if (loaded === null) {
      this.#latestUpdateEpoch = -1;
      return;
    }
    this.#weights.load(loaded.averages, loaded.nAveraged);
    for (const tensor of Object.values(loaded.averages)) tensor.dispose();
    // The state of schedulers, which is restored next, is this one's.
    if (loaded.schedulerState !== null) this.#anneal(trainer);
  }

  override onTrainEpochStart(trainer: TrainerView): void {
    const { currentEpoch } = trainer;
    const ends = trainer.maxEpochs === -1 ? Infinity : trainer.maxEpochs - 1;
    if (currentEpoch < this.#start || currentEpoch > ends) return;
    if (this.#scheduler === null) this.#anneal(trainer);
    if (currentEpoch <= this.#latestUpdateEpoch) return;
    this.#weights?.update();
    this.#latestUpdateEpoch = currentEpoch;
  }

  /** The schedule to the rates of averaging takes the place of what there was. */
  #anneal(trainer: TrainerView): void {
    const { swaLrs, annealingEpochs, annealingStrategy } = this.#options;
    const [optimizer] = trainer.optimizers;
    if (optimizer === undefined) return;
    const groups = optimizer.paramGroups;
    const rates = typeof swaLrs === "number" ? groups.map(() => swaLrs) : swaLrs;
    groups.forEach((group, i) => (group.initialLr = rates[i] ?? group.lr));
    this.#scheduler = new optim.swaUtils.SWALR(optimizer, {
      swaLr: rates,
      annealEpochs: annealingEpochs,
      annealStrategy: annealingStrategy,
      lastEpoch: annealingStrategy === "cos" ? trainer.maxEpochs : -1,
    });
    const [before] = trainer.lrSchedulerConfigs;
    if (before !== undefined && (before.interval !== "epoch" || before.frequency !== 1))
      warn(
        "WARN_SWA_SCHEDULER",
        plainText(
          `StochasticWeightAveraging: the scheduler ${before.scheduler.constructor.name} was stepped every ${before.frequency} ${before.interval}s; the one in its place is stepped every epoch.`,
        ),
      );
    const config: LRSchedulerConfig = {
      scheduler: this.#scheduler,
      interval: "epoch",
      frequency: 1,
      reduceOnPlateau: false,
      monitor: null,
      strict: true,
      name: before?.name ?? null,
    };
    runOf(trainer)?.replaceSchedulers([config]);
  }

  override async onTrainEnd(trainer: TrainerView, module: LightningModule): Promise<void> {
    await this.#finish(trainer, module);
  }
  override async onFitEnd(trainer: TrainerView, module: LightningModule): Promise<void> {
    // Where nothing was left to train, there was no end of training.
    await this.#finish(trainer, module);
    this.#end();
  }
  override onException(): void {
    this.#end();
  }
  #end(): void {
    this.#weights?.dispose();
    this.#weights = null;
  }

  async #finish(trainer: TrainerView, module: LightningModule): Promise<void> {
    const { maxEpochs, currentEpoch } = trainer;
    if (this.#done || this.nAveraged === 0 || (maxEpochs !== -1 && currentEpoch < maxEpochs)) return;
    this.#done = true;
    this.#weights?.adopt();
    const run = runOf(trainer);
    if (maxEpochs === -1 || run === null || batchNormsOf(module).length === 0) return;
    if (module.automaticOptimization) await computeStatistics(run);
    else
      warn(
        "WARN_SWA_STATISTICS",
        "StochasticWeightAveraging: with manual optimization trainingStep also trains: statistics of batch norms are those of the last weights. Compute them with optim.swaUtils.updateBn.",
      );
  }

  override stateDict(): Record<string, unknown> {
    const scheduler = this.#scheduler;
    const averages = this.#weights?.tensors() ?? {};
    return {
      nAveraged: this.nAveraged,
      latestUpdateEpoch: this.#latestUpdateEpoch,
      schedulerState: scheduler?.stateDict() ?? null,
      averageModelState: Object.keys(averages).length === 0 ? null : averages,
    };
  }
  override loadStateDict(state: Record<string, unknown>): void {
    const saved = checkState("StochasticWeightAveraging.loadStateDict", STATE, state);
    this.#latestUpdateEpoch = saved.latestUpdateEpoch;
    const averages = Object.entries(saved.averageModelState ?? {});
    this.#loaded = {
      schedulerState: saved.schedulerState,
      averages: Object.fromEntries(averages.map(([name, t]) => [name, outsideScopes(() => t.detach().clone())])),
      nAveraged: saved.nAveraged,
    };
  }
}

function refused(expected: string, received: string): MisconfigurationError {
  return new MisconfigurationError("StochasticWeightAveraging", expected, verbatim(received), undefined, "ERR_SWA");
}
