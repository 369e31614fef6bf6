import type { LightningDataModule } from "../datamodule.js";
import type { LightningModule } from "../module.js";
import type { EvaluateOptions, FitOptions, PredictOptions } from "../run-options.js";
import type { TrainerView } from "../trainer-view.js";
import type { Trial } from "../tuner/trial.js";
import type { TrainerFn } from "../types.js";
import { Callback } from "./callback.js";

/** A run that is about to begin anew, and how to try it out before. */
export interface Trials {
  readonly trainer: TrainerView;
  readonly module: LightningModule;
  /** What brings the loaders; null: they are passed, or the module does. */
  readonly datamodule: LightningDataModule | null;
  readonly fn: TrainerFn;
  readonly options: FitOptions | EvaluateOptions | PredictOptions;
  /** What such a run does, without loggers and callbacks; it may fail. Nothing is put back afterwards. */
  readonly run: (trial: Trial) => Promise<void>;
}

/**
 * @internal Base of callbacks that look for a setting before a run, by trying it out. A run that goes on from a
 * checkpoint has the setting of the run before.
 */
export abstract class Finder extends Callback {
  /** @internal */
  abstract search(trials: Trials): Promise<void>;
}
