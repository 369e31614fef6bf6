import { kinds, plainText, signature, type Call, type OptionNames } from "@nbit/torch";
import { fieldsOf, finite, orNull } from "@nbit/torch/schema";
import type { Checkpoint } from "../checkpoint/format.js";
import { checkState } from "../checkpoint/schema.js";
import { MisconfigurationError } from "../errors.js";
import type { LightningModule } from "../module.js";
import type { TrainerView } from "../trainer-view.js";
import { Attribute, type Holder } from "../tuner/attribute.js";
import { findLr } from "../tuner/find-lr.js";
import { holdersIn, holdersOf } from "../tuner/holders.js";
import { LRFinder, type LRFinderMode } from "../tuner/lr-finder.js";
import { warn } from "../warnings.js";
import { Finder, type Trials } from "./finder.js";

export interface LearningRateFinderOptions {
  /** Default 1e-8. */
  readonly minLr?: number;
  /** Default 1. */
  readonly maxLr?: number;
  /** Steps of the search. Default 100. */
  readonly numTrainingSteps?: number;
  /** How the rate grows. Default "exponential". */
  readonly mode?: LRFinderMode;
  /** The search ends where the smoothed loss is this many times the best. Default 4; null: it does not. */
  readonly earlyStopThreshold?: number | null;
  /** Set the module's rate to the suggestion. Default true. */
  readonly updateAttr?: boolean;
  /** The module's field, or hyperparameter. Default "": `lr`, or `learningRate`. */
  readonly attrName?: string;
}
const { byDefault, flag, oneOf, orNull: orNullKind, real, text, whole } = kinds;
/** @internal */
export const FINDER = {
  minLr: byDefault(1e-8, real("(0, ∞)")),
  maxLr: byDefault(1, real("(0, ∞)")),
  numTrainingSteps: byDefault(100, whole("[1, ∞)")),
  mode: byDefault("exponential", oneOf("exponential", "linear")),
  earlyStopThreshold: byDefault(4, orNullKind(real("(0, ∞)"))),
  updateAttr: byDefault(true, flag),
  attrName: byDefault("", text),
} satisfies OptionNames<LearningRateFinderOptions>;
const read = signature("LearningRateFinder", FINDER);
type LearningRateFinderCall = Call<
  LearningRateFinderOptions,
  ["minLr", "maxLr", "numTrainingSteps", "mode", "earlyStopThreshold", "updateAttr", "attrName"],
  [
    minLr?: number,
    maxLr?: number,
    numTrainingSteps?: number,
    mode?: LRFinderMode,
    earlyStopThreshold?: number | null,
    updateAttr?: boolean,
    attrName?: string,
  ]
>;
const STATE = fieldsOf({ lr: orNull(finite) });

/**
 * Looks for a learning rate before a fit: trains for some steps while the rate grows, and takes the one at which the
 * loss falls most steeply. Weights, optimizer, random numbers and loaders are then as before, and training begins with
 * the rate found in `module.lr`, `module.learningRate`, or the hyperparameter of that name.
 *
 * A run that goes on from a checkpoint has its rate, and does not search. With several processes, losses are those of
 * process 0.
 *
 * @throws {MisconfigurationError} before the search. `ERR_TUNER_ATTRIBUTE`: `LearningRateFinder: expected lr or
 * learningRate in the module, its data module, or their hparams. …`
 * @example new LearningRateFinder({ minLr: 1e-5, maxLr: 1 });
 * @see Smith, 2015, arXiv:1506.01186.
 */
export class LearningRateFinder extends Finder {
  /** What the search saw; null before it. */
  optimalLr: LRFinder | null = null;
  readonly #options: ReturnType<typeof read>;
  #lr: number | null = null;

  constructor(...given: LearningRateFinderCall) {
    const options = read(given, new.target.name);
    super();
    if (options.minLr >= options.maxLr)
      throw new MisconfigurationError(
        new.target.name,
        `maxLr to be more than minLr (${options.minLr})`,
        options.maxLr,
        undefined,
        "ERR_LR_FINDER",
      );
    this.#options = options;
  }

  /** @internal */
  override async search(trials: Trials): Promise<void> {
    if (trials.fn !== "fit") return;
    const { trainer, module } = trials;
    if (trainer.fastDevRun !== false) {
      warn("WARN_TUNER_DEV_RUN", "LearningRateFinder: no search with fastDevRun.");
      return;
    }
    const attribute = this.#options.updateAttr ? this.#attribute(holdersOf(module, trials.datamodule)) : null;
    const { mode, minLr, maxLr, numTrainingSteps, earlyStopThreshold } = this.#options;
    const finder = new LRFinder(mode, minLr, maxLr, numTrainingSteps);
    await findLr(trials, finder, earlyStopThreshold);
    this.optimalLr = finder;
    if (attribute === null) return;
    const lr = finder.suggestion();
    if (lr === null) {
      warn(
        "WARN_LR_FINDER",
        "LearningRateFinder: there are too few losses for a suggestion: the rate stays. Raise numTrainingSteps.",
      );
      return;
    }
    this.#lr = lr;
    attribute.set(lr);
    if (trainer.isGlobalZero)
      console.log(plainText(`LearningRateFinder: ${attribute.name} is ${Number(lr.toPrecision(6))}.`));
  }
  #attribute(holders: readonly Holder[]): Attribute {
    const { attrName } = this.#options;
    const names = attrName === "" ? ["lr", "learningRate"] : [attrName];
    const fix = "Use it in configureOptimizers; another name goes into attrName.";
    return Attribute.demand("LearningRateFinder", names, holders, fix);
  }

  override stateDict(): Record<string, unknown> {
    return { lr: this.#lr };
  }
  override loadStateDict(state: Record<string, unknown>): void {
    this.#lr = checkState("LearningRateFinder.loadStateDict", STATE, state).lr;
  }
  override onLoadCheckpoint(trainer: TrainerView, module: LightningModule, checkpoint: Checkpoint): void {
    const state = checkpoint.callbacks?.[this.stateKey];
    if (trainer.state.fn !== "fit" || state === undefined || !this.#options.updateAttr) return;
    const { lr } = checkState("LearningRateFinder", STATE, state);
    if (lr !== null) this.#attribute(holdersIn(trainer, module)).set(lr);
  }
}
