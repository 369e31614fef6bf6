import { kinds, nn, plainText, signature, verbatim, type Call, type OptionNames } from "@nbit/torch";
import type { Checkpoint } from "../checkpoint/format.js";
import { MisconfigurationError } from "../errors.js";
import { LightningModule } from "../module.js";
import { runOf } from "../run-access.js";
import type { TrainerView } from "../trainer-view.js";
import type { TrainerFn } from "../types.js";
import { Callback } from "./callback.js";
import { PrunedParameters, type PrunedPlace } from "./pruned-parameters.js";
import { pruningOf, type Pruning, type PruningClass } from "./pruning-functions.js";
import { checkWholeParameters } from "./whole-parameters.js";

/** A share of the elements, or a count of them. */
export type PruningAmount = number | ((epoch: number) => number);
export interface ModelPruningOptions {
  /**
   * "l1_unstructured", "random_unstructured", "ln_structured", "random_structured", or a class that extends
   * `nn.utils.prune.BasePruningMethod`.
   */
  readonly pruningFn: string | PruningClass;
  /** Modules with the name of a parameter. Default: every weight and bias of the model. */
  readonly parametersToPrune?: readonly PrunedPlace[];
  /** Which of "weight" and "bias". Default both. */
  readonly parameterNames?: readonly ("weight" | "bias")[] | null;
  /** Choose among the elements of all parameters together. Default true; not for slices. */
  readonly useGlobalUnstructured?: boolean;
  /** How many more to prune each time: a share in (0, 1), a count, or a function of the epoch. Default 0.5. */
  readonly amount?: PruningAmount;
  /** Whether to prune, or in which epochs. Default true. */
  readonly applyPruning?: boolean | ((epoch: number) => boolean);
  /** Without masks in checkpoints and when training has ended: weights have zeros. Default true. */
  readonly makePruningPermanent?: boolean;
  /** Put what is left back to its first values after pruning, or in which epochs. Default true. */
  readonly useLotteryTicketHypothesis?: boolean | ((epoch: number) => boolean);
  /** Put it to new first values, by `resetParameters`, instead. Default false. */
  readonly resampleParameters?: boolean;
  /** The dimension of slices. */
  readonly pruningDim?: number | null;
  /** Of "ln_structured": the norm of slices. */
  readonly pruningNorm?: number | null;
  /** 1: print how much is pruned; 2: of each parameter, too. Default 0. */
  readonly verbose?: 0 | 1 | 2;
  /** Prune at the end of training epochs (default), or of validation. */
  readonly pruneOnTrainEpochEnd?: boolean;
}
const { byDefault, callable, either, flag, listOf, oneOf, orNull, real, such, text, whole } = kinds;
const PLACE = such<PrunedPlace>(
  'a pair [module, "name"]',
  (v) => Array.isArray(v) && v.length === 2 && v[0] instanceof nn.Module && typeof v[1] === "string",
);
const perEpoch = <T>(kind: kinds.Kind<T>): kinds.Kind<T | ((epoch: number) => T)> =>
  either(kind, callable as kinds.Kind<(epoch: number) => T>);
const read = signature("ModelPruning", {
  pruningFn: either(text, callable as unknown as kinds.Kind<PruningClass>),
  parametersToPrune: byDefault([], listOf(PLACE)),
  parameterNames: byDefault(null, orNull(listOf(oneOf("weight", "bias")))),
  useGlobalUnstructured: byDefault(true, flag),
  amount: byDefault(0.5, perEpoch(real("[0, ∞)"))),
  applyPruning: byDefault(true, perEpoch(flag)),
  makePruningPermanent: byDefault(true, flag),
  useLotteryTicketHypothesis: byDefault(true, perEpoch(flag)),
  resampleParameters: byDefault(false, flag),
  pruningDim: byDefault(null, orNull(whole())),
  pruningNorm: byDefault(null, orNull(real("(-∞, ∞]"))),
  verbose: byDefault(0, oneOf(0, 1, 2)),
  pruneOnTrainEpochEnd: byDefault(true, flag),
} satisfies OptionNames<ModelPruningOptions>);
type ModelPruningCall = Call<
  ModelPruningOptions,
  [
    "pruningFn",
    "parametersToPrune",
    "parameterNames",
    "useGlobalUnstructured",
    "amount",
    "applyPruning",
    "makePruningPermanent",
    "useLotteryTicketHypothesis",
    "resampleParameters",
    "pruningDim",
    "pruningNorm",
    "verbose",
    "pruneOnTrainEpochEnd",
  ],
  [
    pruningFn: string | PruningClass,
    parametersToPrune?: readonly PrunedPlace[],
    parameterNames?: readonly ("weight" | "bias")[] | null,
    useGlobalUnstructured?: boolean,
    amount?: PruningAmount,
    applyPruning?: boolean | ((epoch: number) => boolean),
    makePruningPermanent?: boolean,
    useLotteryTicketHypothesis?: boolean | ((epoch: number) => boolean),
    resampleParameters?: boolean,
    pruningDim?: number | null,
    pruningNorm?: number | null,
    verbose?: 0 | 1 | 2,
    pruneOnTrainEpochEnd?: boolean,
  ]
>;

/**
 * Prunes parameters while they are trained, with `nn.utils.prune`: after every epoch, `amount` of what is left. By
 * default what stays goes back to its first values (the lottery ticket hypothesis); pass `useLotteryTicketHypothesis:
 * false` to go on from the trained ones.
 *
 * With `makePruningPermanent` (default) checkpoints and the trained module have plain weights with zeros. A run that goes
 * on from a checkpoint has its masks again, from the callback's state.
 *
 * @throws {MisconfigurationError} before training. `ERR_PRUNING`: `ModelPruning: expected pruningDim with
 * "ln_structured". Received: null.`
 * @example new ModelPruning("l1_unstructured", { amount: (epoch) => (epoch < 3 ? 0.2 : 0), useLotteryTicketHypothesis: false });
 * @see Frankle and Carbin, 2018, arXiv:1803.03635.
 */
export class ModelPruning extends Callback {
  readonly #options: ReturnType<typeof read>;
  readonly #pruning: Pruning;
  readonly #parameters: PrunedParameters;

  constructor(...given: ModelPruningCall) {
    const options = read(given, new.target.name);
    super();
    this.#options = options;
    this.#pruning = pruningOf(options);
    const { useLotteryTicketHypothesis: lottery, resampleParameters: resamples } = options;
    this.#parameters = new PrunedParameters({ keepsFirst: lottery !== false, resamples });
  }

  /** Override to leave out some of the parameters that would be pruned. */
  filterParametersToPrune(parametersToPrune: readonly PrunedPlace[]): readonly PrunedPlace[] {
    return parametersToPrune;
  }

  override setup(trainer: TrainerView, module: LightningModule, stage: TrainerFn): void {
    if (stage !== "fit") return;
    checkWholeParameters(this, trainer);
    const { parametersToPrune, parameterNames } = this.#options;
    const all = parametersOf(module, parametersToPrune, parameterNames ?? ["weight", "bias"]);
    this.#parameters.begin(module, this.filterParametersToPrune(all));
  }
  override onFitStart(): void {
    this.#parameters.goOn();
  }

  override onTrainEpochEnd(trainer: TrainerView): void {
    if (this.#options.pruneOnTrainEpochEnd) this.#prune(trainer);
  }
  override onValidationEpochEnd(trainer: TrainerView): void {
    if (!this.#options.pruneOnTrainEpochEnd && trainer.state.fn === "fit" && !trainer.sanityChecking)
      this.#prune(trainer);
  }

  #prune(trainer: TrainerView): void {
    const { amount: howMany, applyPruning: when, useLotteryTicketHypothesis: lottery } = this.#options;
    const epoch = trainer.currentEpoch;
    const amount = typeof howMany === "function" ? howMany(epoch) : howMany;
    if (!(typeof when === "function" ? when(epoch) : when) || amount === 0) return;
    this.#apply(trainer, amount);
    if (typeof lottery === "function" ? lottery(epoch) : lottery)
      this.#parameters.reset(trainer.optimizers, trainer.precision);
    runOf(trainer)?.fit?.graph?.anew("parameters are pruned");
  }
  #apply(trainer: TrainerView, amount: number): void {
    const { verbose } = this.#options;
    const places = this.#parameters.places;
    const before = verbose === 0 ? [] : this.#parameters.counts();
    this.#pruning.prune(places, amount);
    if (verbose === 0 || !trainer.isGlobalZero) return;
    const after = this.#parameters.counts();
    const say = (what: string, was: readonly number[], is: readonly number[], of: readonly number[]): void => {
      const total = sum(of);
      const share = (n: readonly number[]): string => `${sum(n)} (${((100 * sum(n)) / total).toFixed(2)} %)`;
      console.log(plainText(`ModelPruning: ${what}: ${share(was)} of ${total} pruned, now ${share(is)}.`));
    };
    const zeros = (counts: typeof after): number[] => counts.map((c) => c.zeros);
    const sizes = after.map((c) => c.size);
    say(this.#pruning.name, zeros(before), zeros(after), sizes);
    if (verbose < 2) return;
    after.forEach(({ name, zeros: now, size }, i) => say(name, [before[i]?.zeros ?? 0], [now], [size]));
  }

  override onTrainEnd({ optimizers, precision }: TrainerView): void {
    if (this.#options.makePruningPermanent) this.#parameters.makePermanent(optimizers, precision);
  }
  override teardown(): void {
    this.#parameters.end();
  }
  override onException(): void {
    this.#parameters.end();
  }

  override stateDict(): Record<string, unknown> {
    return this.#parameters.stateDict(this.#options.makePruningPermanent);
  }
  override loadStateDict(state: Record<string, unknown>): void {
    this.#parameters.loadStateDict("ModelPruning.loadStateDict", state);
  }
  override onSaveCheckpoint(_trainer: TrainerView, _module: LightningModule, checkpoint: Checkpoint): void {
    if (this.#options.makePruningPermanent) checkpoint.stateDict = withoutMasks(checkpoint.stateDict);
  }
}

/** Pruned parameters as plain ones, with zeros. */
function withoutMasks(stateDict: Checkpoint["stateDict"]): Checkpoint["stateDict"] {
  const plain: Checkpoint["stateDict"] = {};
  for (const [name, tensor] of Object.entries(stateDict)) {
    const of = name.replace(/_(orig|mask)$/, "");
    const [orig, mask] = of === name ? [] : [stateDict[`${of}_orig`], stateDict[`${of}_mask`]];
    if (orig === undefined || mask === undefined) plain[name] = tensor;
    else if (name.endsWith("_orig")) plain[of] = mask.to(orig.dtype).mul(orig.detach());
  }
  return plain;
}

const CONTAINERS = [LightningModule, nn.Sequential, nn.ModuleList, nn.ModuleDict] as const;
/** What is to be pruned: what was given, or all there is. */
function parametersOf(
  module: LightningModule,
  given: readonly PrunedPlace[],
  names: readonly string[],
): readonly PrunedPlace[] {
  const modules = [...module.modules()].filter((m) => !CONTAINERS.some((container) => m instanceof container));
  if (given.length === 0)
    return names.flatMap((name) =>
      modules.flatMap((m): PrunedPlace[] => (Reflect.get(m, name) instanceof nn.Parameter ? [[m, name]] : [])),
    );
  const known = new Set<nn.Module>(modules);
  for (const [m, name] of given)
    if (!known.has(m) || !(Reflect.get(m, name) instanceof nn.Parameter))
      throw new MisconfigurationError(
        "ModelPruning",
        "parametersToPrune that the model has",
        verbatim(plainText(`${m.constructor.name}.${name}`)),
        "Name a layer inside the model, and one of its parameters.",
        "ERR_PRUNING",
      );
  return given;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((a, b) => a + b, 0);
}
