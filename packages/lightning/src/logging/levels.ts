import { MisconfigurationError } from "../errors.js";

/** Which levels a hook may log at, and what it does when neither `onStep` nor `onEpoch` is given. */
interface Levels {
  readonly stepAllowed: boolean;
  readonly defaultStep: boolean;
}

const PER_STEP: Levels = { stepAllowed: true, defaultStep: true };
const PER_BATCH: Levels = { stepAllowed: true, defaultStep: false };
const PER_EPOCH: Levels = { stepAllowed: false, defaultStep: false };

const LEVELS: ReadonlyMap<string, Levels> = new Map(
  Object.entries({
    trainingStep: PER_STEP,
    onTrainBatchStart: PER_STEP,
    onTrainBatchEnd: PER_STEP,
    onBeforeZeroGrad: PER_STEP,
    optimizerZeroGrad: PER_STEP,
    onBeforeBackward: PER_STEP,
    backward: PER_STEP,
    onAfterBackward: PER_STEP,
    onBeforeOptimizerStep: PER_STEP,
    configureGradientClipping: PER_STEP,
    optimizerStep: PER_STEP,
    validationStep: PER_BATCH,
    onValidationBatchStart: PER_BATCH,
    onValidationBatchEnd: PER_BATCH,
    testStep: PER_BATCH,
    onTestBatchStart: PER_BATCH,
    onTestBatchEnd: PER_BATCH,
    onTrainStart: PER_EPOCH,
    onTrainEpochStart: PER_EPOCH,
    onTrainEpochEnd: PER_EPOCH,
    onValidationStart: PER_EPOCH,
    onValidationEpochStart: PER_EPOCH,
    onValidationEpochEnd: PER_EPOCH,
    onTestStart: PER_EPOCH,
    onTestEpochStart: PER_EPOCH,
    onTestEpochEnd: PER_EPOCH,
  }),
);

/** Names that a metric's hook may have. */
export const HOOKS_THAT_LOG: readonly string[] = [...LEVELS.keys()];

/** Throws when `hook` cannot log, or cannot log at the levels asked for. */
export function checkLevels(
  hook: string,
  onStep: boolean | undefined,
  onEpoch: boolean | undefined,
): { onStep: boolean; onEpoch: boolean } {
  const levels = LEVELS.get(hook);
  if (levels === undefined) {
    throw new MisconfigurationError(
      "log",
      "to be called from a step method, or a hook of training, validation or testing",
      hook,
      "Write to the logger itself there: trainer.logger.logMetrics(metrics, step).",
      "ERR_LOG_HOOK",
    );
  }
  const step = onStep ?? levels.defaultStep;
  const epoch = onEpoch ?? !levels.defaultStep;
  if (step && !levels.stepAllowed) {
    throw new MisconfigurationError(
      "log",
      `onStep to be false in ${hook}, which runs once per epoch`,
      onStep,
      "Remove onStep.",
      "ERR_LOG_LEVEL",
    );
  }
  if (!epoch && !levels.stepAllowed) {
    throw new MisconfigurationError(
      "log",
      `onEpoch to be true in ${hook}, which runs once per epoch`,
      onEpoch,
      "Remove onEpoch.",
      "ERR_LOG_LEVEL",
    );
  }
  if (!step && !epoch) {
    throw new MisconfigurationError(
      "log",
      "onStep or onEpoch to be true",
      { onStep: step, onEpoch: epoch },
      "A metric with neither would be seen by nobody.",
      "ERR_LOG_LEVEL",
    );
  }
  return { onStep: step, onEpoch: epoch };
}
