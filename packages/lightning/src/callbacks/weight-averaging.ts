import { withFloat8Histories } from "@nbit/lowbit";
import {
  ArgumentError,
  device as deviceOf,
  deviceKind,
  kinds,
  outsideScopes,
  signature,
  type Call,
  type Device,
  type OptionNames,
  type Tensor,
} from "@nbit/torch";
import { anyTensor, count, fieldsOf, leaf, listOf, optional, recordOf, text, type TypeOf } from "@nbit/torch/schema";
import type { Checkpoint } from "../checkpoint/format.js";
import { checkState } from "../checkpoint/schema.js";
import type { LightningModule } from "../module.js";
import type { TrainerView } from "../trainer-view.js";
import type { TrainerFn } from "../types.js";
import { AveragedWeights, type AvgFn, type MultiAvgFn } from "./averaged-weights.js";
import { Callback } from "./callback.js";
import { checkWholeParameters } from "./whole-parameters.js";

type DeviceLike = Device | string;
export interface WeightAveragingOptions {
  /** Where averages live. Default null: where the weights do. */
  readonly device?: DeviceLike | null;
  /** Average buffers, such as statistics of batch norms, too. Default true; false: the latest ones. */
  readonly useBuffers?: boolean;
  /** How one tensor takes in another. Default null: the mean of all. */
  readonly avgFn?: AvgFn | null;
  /** The same over lists, which is faster. Default null. */
  readonly multiAvgFn?: MultiAvgFn | null;
}
const { byDefault, callable, flag, orNull } = kinds;
const AVERAGING = {
  device: byDefault(null, orNull(deviceKind)),
  useBuffers: byDefault(true, flag),
  avgFn: byDefault(null, orNull(callable as kinds.Kind<AvgFn>)),
  multiAvgFn: byDefault(null, orNull(callable as kinds.Kind<MultiAvgFn>)),
} satisfies OptionNames<WeightAveragingOptions>;
const read = signature("WeightAveraging", AVERAGING, 2);
export type WeightAveragingCall = Call<
  WeightAveragingOptions,
  ["device", "useBuffers"],
  [device?: DeviceLike | null, useBuffers?: boolean]
>;

const STATE = fieldsOf({
  latestUpdateStep: count,
  latestUpdateEpoch: optional(leaf<number>("a whole number ≥ -1", isEpoch)),
});
function isEpoch(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= -1;
}
/** What a checkpoint has of it, beside averages in the place of weights. */
const SAVED = fieldsOf({
  currentModelState: recordOf(anyTensor),
  averagingState: fieldsOf({ nAveraged: count, names: listOf(text) }),
});

/**
 * Averages of the weights over training: of all steps alike, or as `avgFn` says. Validation inside a fit, and what is
 * left in the module when training ends, are the averages; training itself goes on from the weights. Override
 * `shouldUpdate` to choose the steps or epochs whose weights go in: until the first of them, the weights themselves are
 * validated.
 *
 * Checkpoints have averages in `stateDict`, which is what `validate`, `test`, `predict` and `loadFromCheckpoint` then
 * use, and the weights in `currentModelState`, from which a run goes on exactly. Weights of 16 bits are averaged in
 * float32; under apex's O2 their float32 masters are. Costs one copy of the weights, and another during validation.
 *
 * @throws {MisconfigurationError} before training. `ERR_CALLBACK_STRATEGY`: parameters are shared out, or steps compiled.
 * @example new WeightAveraging({ useBuffers: false });
 * @see Izmailov et al., 2018, arXiv:1803.05407.
 */
export class WeightAveraging extends Callback {
  readonly #options: { readonly device: Device | null } & Pick<
    ReturnType<typeof read>,
    "useBuffers" | "avgFn" | "multiAvgFn"
  >;
  #weights: AveragedWeights | null = null;
  #loaded: { readonly averages: Record<string, Tensor>; readonly nAveraged: number } | null = null;
  #latestUpdateStep = 0;
  #latestUpdateEpoch = -1;

  constructor(...given: WeightAveragingCall) {
    const a = read(given, new.target.name);
    super();
    if (a.avgFn !== null && a.multiAvgFn !== null)
      throw new ArgumentError(new.target.name, "avgFn or multiAvgFn, but not both", a.multiAvgFn);
    this.#options = { ...a, device: a.device === null ? null : deviceOf(a.device as string) };
  }

  /**
   * Whether weights go into the averages now. Called after every optimizer step, with its index from 0 and null, and after
   * every epoch, with null and its index.
   */
  shouldUpdate(stepIdx: number | null, _epochIdx: number | null): boolean {
    return stepIdx !== null;
  }

  /** How many states of the module are in the averages; 0 outside a fit. */
  get nAveraged(): number {
    return this.#weights?.nAveraged ?? 0;
  }
  /** Averages by name in the state dict: the live ones; none outside a fit. */
  get averages(): Readonly<Record<string, Tensor>> {
    return this.#weights?.tensors() ?? {};
  }

  override setup(trainer: TrainerView, _module: LightningModule, stage: TrainerFn): void {
    if (stage === "fit") checkWholeParameters(this, trainer);
  }
  override onFitStart(trainer: TrainerView, module: LightningModule): void {
    const { device, useBuffers, avgFn, multiAvgFn } = this.#options;
    const { optimizers, precision } = trainer;
    const buffers = useBuffers ? "average" : "copy";
    this.#weights = new AveragedWeights({ module, optimizers, precision }, { device, buffers, avgFn, multiAvgFn });
    const loaded = this.#loaded;
    this.#loaded = null;
    if (loaded === null) {
      this.#latestUpdateStep = 0;
      this.#latestUpdateEpoch = -1;
      return;
    }
    this.#weights.load(loaded.averages, loaded.nAveraged);
    for (const tensor of Object.values(loaded.averages)) tensor.dispose();
  }

  override onTrainBatchEnd(trainer: TrainerView): void {
    const { globalStep } = trainer;
    if (globalStep <= this.#latestUpdateStep || !this.shouldUpdate(globalStep - 1, null)) return;
    this.#weights?.update();
    this.#latestUpdateStep = globalStep;
  }

  override onTrainEpochEnd(trainer: TrainerView): void {
    const { currentEpoch } = trainer;
    if (currentEpoch <= this.#latestUpdateEpoch || !this.shouldUpdate(null, currentEpoch)) return;
    this.#weights?.update();
    this.#latestUpdateEpoch = currentEpoch;
  }

  override onValidationEpochStart(trainer: TrainerView): void {
    if (trainer.state.fn === "fit") this.#weights?.apply();
  }
  override onValidationEpochEnd(): void {
    this.#weights?.restore();
  }

  override onTrainEnd(): void {
    this.#weights?.adopt();
  }
  override onFitEnd(): void {
    // Where nothing was left to train, there was no end of training.
    this.#weights?.adopt();
    this.#end();
  }
  override onException(): void {
    this.#end();
  }
  #end(): void {
    this.#weights?.dispose();
    this.#weights = null;
  }

  override stateDict(): Record<string, unknown> {
    return { latestUpdateStep: this.#latestUpdateStep, latestUpdateEpoch: this.#latestUpdateEpoch };
  }
  override loadStateDict(state: Record<string, unknown>): void {
    const saved = checkState("WeightAveraging.loadStateDict", STATE, state);
    this.#latestUpdateStep = saved.latestUpdateStep;
    this.#latestUpdateEpoch = saved.latestUpdateEpoch ?? -1;
  }

  override onSaveCheckpoint(_trainer: TrainerView, _module: LightningModule, checkpoint: Checkpoint): void {
    const weights = this.#weights;
    if (weights === null || weights.nAveraged === 0) return;
    const currentModelState = weights.own(checkpoint.stateDict);
    checkpoint.stateDict = weights.averaged(checkpoint.stateDict);
    const { nAveraged, names } = weights;
    Object.assign(checkpoint, { currentModelState, averagingState: { nAveraged, names } } satisfies TypeOf<
      typeof SAVED
    >);
  }

  override onLoadCheckpoint(trainer: TrainerView, module: LightningModule, checkpoint: Checkpoint): void {
    if (trainer.state.fn !== "fit" || checkpoint.currentModelState === undefined) return;
    const { currentModelState, averagingState } = checkState("WeightAveraging", SAVED, {
      currentModelState: checkpoint.currentModelState,
      averagingState: checkpoint.averagingState,
    });
    const averages: Record<string, Tensor> = {};
    for (const name of averagingState.names) {
      const average = checkpoint.stateDict[name];
      if (average !== undefined) averages[name] = outsideScopes(() => average.detach().clone());
    }
    this.#loaded = { averages, nAveraged: averagingState.nAveraged };
    // What the module was given by now are the averages.
    module.loadStateDict(withFloat8Histories(module, { ...currentModelState }), { strict: module.strictLoading });
  }
}
