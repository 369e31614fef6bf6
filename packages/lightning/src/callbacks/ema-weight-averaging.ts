import { deviceKind, kinds, optim, signature, type Call, type Device, type OptionNames } from "@nbit/torch";
import { WeightAveraging } from "./weight-averaging.js";

export interface EMAWeightAveragingOptions {
  /** Where averages live. Default null: where the weights do. */
  readonly device?: Device | string | null;
  /** Average buffers, such as statistics of batch norms, too. Default true; false: the latest ones. */
  readonly useBuffers?: boolean;
  /** How much of the average stays at an update, in [0, 1]. Default 0.999. */
  readonly decay?: number;
  /** Update after every n-th step, from the first on. Default 1; 0: not after steps. */
  readonly updateEveryNSteps?: number;
  /** Index of the step from which on steps update. Default null: the first. */
  readonly updateStartingAtStep?: number | null;
  /** Index of the epoch from which on ends of epochs update, too. Default null: they do not. */
  readonly updateStartingAtEpoch?: number | null;
}
const { byDefault, flag, orNull, real, whole } = kinds;
const read = signature("EMAWeightAveraging", {
  device: byDefault(null, orNull(deviceKind)),
  useBuffers: byDefault(true, flag),
  decay: byDefault(0.999, real("[0, 1]")),
  updateEveryNSteps: byDefault(1, whole("[0, ∞)")),
  updateStartingAtStep: byDefault(null, orNull(whole("[0, ∞)"))),
  updateStartingAtEpoch: byDefault(null, orNull(whole("[0, ∞)"))),
} satisfies OptionNames<EMAWeightAveragingOptions>);
type EMAWeightAveragingCall = Call<
  EMAWeightAveragingOptions,
  ["device", "useBuffers", "decay", "updateEveryNSteps", "updateStartingAtStep", "updateStartingAtEpoch"],
  [
    device?: Device | string | null,
    useBuffers?: boolean,
    decay?: number,
    updateEveryNSteps?: number,
    updateStartingAtStep?: number | null,
    updateStartingAtEpoch?: number | null,
  ]
>;

/**
 * Exponential moving averages of the weights: `a ← decay · a + (1 - decay) · w` after steps. Everything else is as in
 * {@link WeightAveraging}.
 *
 * @throws {ArgumentError} `EMAWeightAveraging: expected decay to be a number in [0, 1]. Received: 2.`
 * @example new EMAWeightAveraging({ decay: 0.99, updateStartingAtStep: 100 });
 * @see Polyak and Juditsky, 1992.
 */
export class EMAWeightAveraging extends WeightAveraging {
  readonly updateEveryNSteps: number;
  readonly updateStartingAtStep: number | null;
  readonly updateStartingAtEpoch: number | null;

  constructor(...given: EMAWeightAveragingCall) {
    const a = read(given, new.target.name);
    super({ device: a.device, useBuffers: a.useBuffers, avgFn: optim.swaUtils.getEmaAvgFn(a.decay) });
    this.updateEveryNSteps = a.updateEveryNSteps;
    this.updateStartingAtStep = a.updateStartingAtStep;
    this.updateStartingAtEpoch = a.updateStartingAtEpoch;
  }

  override shouldUpdate(stepIdx: number | null, epochIdx: number | null): boolean {
    if (stepIdx !== null)
      return (
        stepIdx >= (this.updateStartingAtStep ?? 0) &&
        this.updateEveryNSteps > 0 &&
        stepIdx % this.updateEveryNSteps === 0
      );
    return epochIdx !== null && this.updateStartingAtEpoch !== null && epochIdx >= this.updateStartingAtEpoch;
  }
}
