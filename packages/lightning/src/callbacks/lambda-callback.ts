import { atMost, checkOptions, kinds, type OptionNames } from "@nbit/torch";
import { misconfigured } from "../errors.js";
import { Callback } from "./callback.js";

/** Hooks of a callback as functions; each is called as the method of its name would be. */
export type LambdaCallbackHooks = {
  readonly [K in "setup" | "teardown" | Extract<keyof Callback, `on${string}`>]?: Callback[K];
};

const NAMES: OptionNames<LambdaCallbackHooks> = {
  setup: kinds.callable,
  teardown: kinds.callable,
  onFitStart: kinds.callable,
  onFitEnd: kinds.callable,
  onSanityCheckStart: kinds.callable,
  onSanityCheckEnd: kinds.callable,
  onTrainBatchStart: kinds.callable,
  onTrainBatchEnd: kinds.callable,
  onTrainEpochStart: kinds.callable,
  onTrainEpochEnd: kinds.callable,
  onValidationEpochStart: kinds.callable,
  onValidationEpochEnd: kinds.callable,
  onTestEpochStart: kinds.callable,
  onTestEpochEnd: kinds.callable,
  onValidationBatchStart: kinds.callable,
  onValidationBatchEnd: kinds.callable,
  onTestBatchStart: kinds.callable,
  onTestBatchEnd: kinds.callable,
  onTrainStart: kinds.callable,
  onTrainEnd: kinds.callable,
  onValidationStart: kinds.callable,
  onValidationEnd: kinds.callable,
  onTestStart: kinds.callable,
  onTestEnd: kinds.callable,
  onException: kinds.callable,
  onSaveCheckpoint: kinds.callable,
  onLoadCheckpoint: kinds.callable,
  onBeforeBackward: kinds.callable,
  onAfterBackward: kinds.callable,
  onBeforeOptimizerStep: kinds.callable,
  onBeforeZeroGrad: kinds.callable,
  onPredictStart: kinds.callable,
  onPredictEnd: kinds.callable,
  onPredictBatchStart: kinds.callable,
  onPredictBatchEnd: kinds.callable,
  onPredictEpochStart: kinds.callable,
  onPredictEpochEnd: kinds.callable,
};

/**
 * A callback made of functions, without a class. Hooks that are not given cost nothing.
 *
 * @throws {MisconfigurationError} `LambdaCallback: expected the option onTrainEnd. Received: "onTrainend".`
 * @example
 * new LambdaCallback({ onTrainEpochEnd: (trainer) => console.log(trainer.currentEpoch) });
 */
export class LambdaCallback extends Callback {
  constructor(hooks: LambdaCallbackHooks = {}) {
    atMost("LambdaCallback", arguments, 1);
    super();
    checkOptions("LambdaCallback", hooks, NAMES, misconfigured("LambdaCallback", "ERR_LAMBDA_CALLBACK"));
    for (const [name, hook] of Object.entries(hooks)) if (hook !== undefined) Object.assign(this, { [name]: hook });
  }
}
