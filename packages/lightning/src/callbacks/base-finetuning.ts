import {
  ArgumentError,
  atMost,
  checkArguments,
  kinds,
  nn,
  optim,
  plainText,
  signature,
  type Call,
  type OptionNames,
} from "@nbit/torch";
import type { LightningModule } from "../module.js";
import { runOf } from "../run-access.js";
import type { TrainerView } from "../trainer-view.js";
import type { HookResult, TrainerFn } from "../types.js";
import { warn } from "../warnings.js";
import { isBatchNorm } from "./batch-norms.js";
import { Callback } from "./callback.js";
import { GroupsByName } from "./finetuning-groups.js";
import { checkWholeParameters } from "./whole-parameters.js";

/** A module, or any number of them, nested as they come. */
export type Modules = nn.Module | Iterable<Modules>;

export interface FreezeArguments {
  readonly modules: Modules;
  /** Leave batch norms trainable. Default true. */
  readonly trainBn?: boolean;
}
export interface FilterParamsArguments {
  readonly modules: Modules;
  /** Parameters of batch norms, too. Default true. */
  readonly trainBn?: boolean;
  /** Those that are trained (default), or those that are not. */
  readonly requiresGrad?: boolean;
}
export interface UnfreezeArguments {
  readonly modules: Modules;
  readonly optimizer: optim.Optimizer;
  /** Default null: that of the first group, divided by `initialDenomLr`. */
  readonly lr?: number | null;
  /** Default 10. */
  readonly initialDenomLr?: number;
  /** Parameters of batch norms, too. Default true. */
  readonly trainBn?: boolean;
}
const { byDefault, flag, orNull, real } = kinds;
const MODULES = kinds.such<Modules>(
  "a module, or an iterable of modules",
  (value) => value instanceof nn.Module || kinds.iterable.accepts(value),
);
/** How deep modules may be nested in iterables: one that contains itself has no end. */
const DEEPEST = 100;
const OPTIMIZER = kinds.instanceOf("an optimizer", optim.Optimizer);
const readFreeze = signature("freeze", {
  modules: MODULES,
  trainBn: byDefault(true, flag),
} satisfies OptionNames<FreezeArguments>);
const readFilter = signature("filterParams", {
  modules: MODULES,
  trainBn: byDefault(true, flag),
  requiresGrad: byDefault(true, flag),
} satisfies OptionNames<FilterParamsArguments>);
const readUnfreeze = signature("unfreezeAndAddParamGroup", {
  modules: MODULES,
  optimizer: OPTIMIZER,
  lr: byDefault(null, orNull(real("[0, ∞)"))),
  initialDenomLr: byDefault(10, real("(0, ∞)")),
  trainBn: byDefault(true, flag),
} satisfies OptionNames<UnfreezeArguments>);

/**
 * Base of callbacks that train a part of a model later than the rest. Override `freezeBeforeTraining`, which runs before
 * `configureOptimizers`, and `finetuneFunction`, which runs when an epoch begins.
 *
 * Give the optimizer what is trained from the start: `this.parameters().filter((p) => p.requiresGrad)`. A run that goes
 * on from a checkpoint has the groups that were added, with their state.
 *
 * @example
 * class UnfreezeLater extends BaseFinetuning {
 *   override freezeBeforeTraining(module: Net): void {
 *     this.freeze(module.features);
 *   }
 *   override finetuneFunction(module: Net, epoch: number, optimizer: optim.Optimizer): void {
 *     if (epoch === 3) this.unfreezeAndAddParamGroup(module.features, optimizer, { lr: 1e-4 });
 *   }
 * }
 */
export abstract class BaseFinetuning extends Callback {
  readonly #groups = new GroupsByName();

  /** Freeze what is not to be trained yet. */
  abstract freezeBeforeTraining(module: LightningModule): void;
  /** Unfreeze what is to be trained from `epoch` on. Called for each optimizer. */
  abstract finetuneFunction(module: LightningModule, epoch: number, optimizer: optim.Optimizer): void;

  /** Modules without children, and those that hold parameters themselves. */
  static flattenModules(modules: Modules): nn.Module[] {
    atMost("flattenModules", arguments, 1);
    checkArguments("flattenModules", { modules }, { modules: MODULES });
    return flatten("flattenModules", modules);
  }
  /** Parameters that are trained, or those that are not. Arguments: modules, trainBn, requiresGrad. */
  static filterParams(
    ...given: Call<
      FilterParamsArguments,
      ["modules", "trainBn", "requiresGrad"],
      [modules: Modules, trainBn?: boolean, requiresGrad?: boolean]
    >
  ): nn.Parameter[] {
    const { modules, trainBn, requiresGrad } = readFilter(given);
    return parametersIn(flatten("filterParams", modules), trainBn, requiresGrad);
  }
  /** Train the parameters of modules. */
  static makeTrainable(modules: Modules): void {
    atMost("makeTrainable", arguments, 1);
    checkArguments("makeTrainable", { modules }, { modules: MODULES });
    thaw(flatten("makeTrainable", modules));
  }
  /** Do not train the parameters that a module holds itself, nor follow its statistics. */
  static freezeModule(module: nn.Module): void {
    atMost("freezeModule", arguments, 1);
    checkArguments("freezeModule", { module }, { module: kinds.instanceOf<nn.Module>("a module", nn.Module) });
    if (isBatchNorm(module)) module.trackRunningStats = false;
    for (const p of own(module)) p.requiresGrad = false;
  }
  /** Do not train modules, except for batch norms where `trainBn` is true. Arguments: modules, trainBn. */
  static freeze(...given: Call<FreezeArguments, ["modules", "trainBn"], [modules: Modules, trainBn?: boolean]>): void {
    const { modules, trainBn } = readFreeze(given);
    for (const module of flatten("freeze", modules)) {
      if (trainBn && isBatchNorm(module)) thaw([module]);
      else BaseFinetuning.freezeModule(module);
    }
  }
  /** Parameters that an optimizer does not have yet; for others there is a warning. */
  static filterOnOptimizer(optimizer: optim.Optimizer, params: Iterable<nn.Parameter>): nn.Parameter[] {
    atMost("filterOnOptimizer", arguments, 2);
    checkArguments("filterOnOptimizer", { optimizer, params }, { optimizer: OPTIMIZER, params: kinds.iterable });
    const known = new Set<unknown>(
      optimizer.paramGroups.flatMap((g) => g.params.map((p) => optim.parameterOfMaster(p))),
    );
    const all = [...params];
    const fresh = all.filter((p) => !known.has(p));
    if (fresh.length < all.length)
      warn(
        "WARN_FINETUNING",
        plainText(
          `BaseFinetuning: ${all.length - fresh.length} parameters that are to be unfrozen are in a group of ${optimizer.constructor.name} already, and keep that one's options. Give it this.parameters().filter((p) => p.requiresGrad).`,
        ),
      );
    return fresh;
  }
  /** Train modules, in a group of their own. Arguments: modules, optimizer, lr, initialDenomLr, trainBn. */
  static unfreezeAndAddParamGroup(
    ...given: Call<
      UnfreezeArguments,
      ["modules", "optimizer", "lr", "initialDenomLr", "trainBn"],
      [modules: Modules, optimizer: optim.Optimizer, lr?: number | null, initialDenomLr?: number, trainBn?: boolean]
    >
  ): void {
    const { modules, optimizer, lr, initialDenomLr, trainBn } = readUnfreeze(given);
    const all = flatten("unfreezeAndAddParamGroup", modules);
    thaw(all);
    const params = BaseFinetuning.filterOnOptimizer(optimizer, parametersIn(all, trainBn, true));
    if (params.length === 0) return;
    optimizer.addParamGroup({ params, lr: lr ?? (optimizer.paramGroups[0]?.lr ?? 0) / initialDenomLr });
  }

  /** As the static ones, for classes of one's own. */
  readonly freeze = BaseFinetuning.freeze;
  readonly makeTrainable = BaseFinetuning.makeTrainable;
  readonly unfreezeAndAddParamGroup = BaseFinetuning.unfreezeAndAddParamGroup;

  /** @throws {MisconfigurationError} `ERR_CALLBACK_STRATEGY`: parameters are shared out, or steps are compiled. */
  override setup(trainer: TrainerView, module: LightningModule, stage: TrainerFn): HookResult {
    if (stage !== "fit") return;
    checkWholeParameters(this, trainer);
    this.freezeBeforeTraining(module);
  }

  override onFitStart(trainer: TrainerView, module: LightningModule): HookResult {
    this.#groups.begin(module, trainer.optimizers);
  }

  override onTrainEpochStart(trainer: TrainerView, module: LightningModule): HookResult {
    const before = trainedOf(module);
    const groups = (): number => trainer.optimizers.reduce((n, optimizer) => n + optimizer.paramGroups.length, 0);
    const groupsBefore = groups();
    for (const optimizer of trainer.optimizers) this.finetuneFunction(module, trainer.currentEpoch, optimizer);
    if (trainedOf(module) !== before || groups() !== groupsBefore) trainsOthers(trainer, module);
  }

  override stateDict(): Record<string, unknown> {
    return { internalOptimizerMetadata: this.#groups.stateDict() };
  }
  override loadStateDict(state: Record<string, unknown>): void {
    this.#groups.loadStateDict(`${this.constructor.name}.loadStateDict`, state.internalOptimizerMetadata);
  }
}

/** Each once. Iterables are read once: an iterator has no second time. */
function flatten(fn: string, modules: Modules): nn.Module[] {
  const found = new Set<nn.Module>();
  const add = (each: unknown, depth: number): void => {
    if (each instanceof nn.Module) {
      for (const m of each.modules()) if ([...m.children()].length === 0 || own(m).length > 0) found.add(m);
    } else if (kinds.iterable.accepts(each) && depth < DEEPEST)
      for (const inner of each as Iterable<unknown>) add(inner, depth + 1);
    else throw new ArgumentError(fn, `modules to be ${MODULES.words}`, each);
  };
  add(modules, 0);
  return [...found];
}
function parametersIn(modules: readonly nn.Module[], trainBn: boolean, requiresGrad: boolean): nn.Parameter[] {
  return modules
    .filter((module) => trainBn || !isBatchNorm(module))
    .flatMap((module) => own(module).filter((p) => p.requiresGrad === requiresGrad));
}
function thaw(modules: readonly nn.Module[]): void {
  for (const module of modules) {
    if (isBatchNorm(module)) module.trackRunningStats = true;
    for (const p of own(module)) p.requiresGrad = true;
  }
}
function own(module: nn.Module): nn.Parameter[] {
  return Array.from(module.namedParameters({ recurse: false }), ([, p]) => p);
}

/** Names of what is trained, as one text. */
function trainedOf(module: LightningModule): string {
  return Array.from(module.namedParameters(), ([name, p]) => (p.requiresGrad ? name : "")).join();
}

/** Other parameters are trained from here on: what was set up, or recorded, for those before begins anew. */
function trainsOthers(trainer: TrainerView, module: LightningModule): void {
  trainer.strategy.setupGradients?.(module, !module.automaticOptimization);
  runOf(trainer)?.fit?.graph?.anew("other parameters are trained now");
}
