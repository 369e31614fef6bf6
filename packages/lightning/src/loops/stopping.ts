import type { LoopContext } from "./context.js";
import type { FitProgress } from "./progress.js";

/** When a fit is over: after `maxEpochs` or `maxSteps`, or when somebody asks to stop and the minima are met. */
export class Stopping {
  readonly #context: LoopContext;
  readonly #progress: FitProgress;

  constructor(context: LoopContext, progress: FitProgress) {
    this.#context = context;
    this.#progress = progress;
  }

  /** Between epochs. */
  isOver(): boolean {
    const { maxEpochs } = this.#context.options;
    return this.maxStepsReached() || (maxEpochs !== -1 && this.#progress.epoch >= maxEpochs) || this.stopsEarly();
  }

  maxStepsReached(): boolean {
    const { maxSteps } = this.#context.options;
    return maxSteps !== -1 && this.#progress.globalStep >= maxSteps;
  }

  stopsEarly(): boolean {
    const { options, shouldStop, warnings } = this.#context;
    if (!shouldStop) return false;
    const { epoch, globalStep } = this.#progress;
    if (epoch >= options.minEpochs && globalStep >= options.minSteps) return true;
    warnings.warn(
      "WARN_STOP_DELAYED",
      `fit: asked to stop, but goes on until minEpochs (${options.minEpochs}) and minSteps (${options.minSteps}) are met.`,
    );
    return false;
  }
}
