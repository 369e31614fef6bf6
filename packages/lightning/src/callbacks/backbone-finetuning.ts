import { kinds, nn, type optim, plainText, signature, type Call, type OptionNames } from "@nbit/torch";
import { fieldsOf, notNegative, orNull } from "@nbit/torch/schema";
import { checkState } from "../checkpoint/schema.js";
import { MisconfigurationError } from "../errors.js";
import type { LightningModule } from "../module.js";
import type { TrainerView } from "../trainer-view.js";
import type { HookResult, TrainerFn } from "../types.js";
import { BaseFinetuning } from "./base-finetuning.js";

export interface BackboneFinetuningOptions {
  /** Default 10. */
  readonly unfreezeBackboneAtEpoch?: number;
  /** By what the backbone's rate is multiplied in each later epoch. Default: 2. */
  readonly lambdaFunc?: (epoch: number) => number;
  /** The backbone's first rate, as a share of the first group's. Default 0.1. */
  readonly backboneInitialRatioLr?: number;
  /** The backbone's first rate. Default null: that share. */
  readonly backboneInitialLr?: number | null;
  /** The backbone's rate ends at the first group's. Default true. */
  readonly shouldAlign?: boolean;
  /** By what the first group's rate is divided where there is no other. Default 10. */
  readonly initialDenomLr?: number;
  /** Train batch norms of the backbone, too. Default true. */
  readonly trainBn?: boolean;
  /** Print both rates when an epoch begins. Default false. */
  readonly verbose?: boolean;
  /** Digits after the point of printed rates. Default 12. */
  readonly rounding?: number;
}
const { byDefault, flag, orNull: orNullKind, real, whole } = kinds;
const ROWS = {
  unfreezeBackboneAtEpoch: byDefault(10, whole("[0, ∞)")),
  lambdaFunc: byDefault(() => () => 2, kinds.callable as kinds.Kind<(epoch: number) => number>),
  backboneInitialRatioLr: byDefault(0.1, real("[0, ∞)")),
  backboneInitialLr: byDefault(null, orNullKind(real("[0, ∞)"))),
  shouldAlign: byDefault(true, flag),
  initialDenomLr: byDefault(10, real("(0, ∞)")),
  trainBn: byDefault(true, flag),
  verbose: byDefault(false, flag),
  rounding: byDefault(12, whole("[0, 100]")),
} satisfies OptionNames<BackboneFinetuningOptions>;
const read = signature("BackboneFinetuning", ROWS);
type BackboneFinetuningCall = Call<
  BackboneFinetuningOptions,
  [
    "unfreezeBackboneAtEpoch",
    "lambdaFunc",
    "backboneInitialRatioLr",
    "backboneInitialLr",
    "shouldAlign",
    "initialDenomLr",
    "trainBn",
    "verbose",
    "rounding",
  ],
  [
    unfreezeBackboneAtEpoch?: number,
    lambdaFunc?: (epoch: number) => number,
    backboneInitialRatioLr?: number,
    backboneInitialLr?: number | null,
    shouldAlign?: boolean,
    initialDenomLr?: number,
    trainBn?: boolean,
    verbose?: boolean,
    rounding?: number,
  ]
>;

const STATE = fieldsOf({ previousBackboneLr: orNull(notNegative) });

/**
 * Freezes `module.backbone`, and trains it from an epoch on, in a parameter group of its own: with a tenth of the first
 * group's rate, which then grows by `lambdaFunc` each epoch until it reaches that.
 *
 * Give the optimizer what is trained from the start: `this.parameters().filter((p) => p.requiresGrad)`, or those of the
 * head.
 *
 * @throws {MisconfigurationError} before anything is frozen. `ERR_FINETUNING`: `BackboneFinetuning: expected the module
 * to have a backbone: a Module. Received: undefined.`
 * @example new BackboneFinetuning({ unfreezeBackboneAtEpoch: 3, lambdaFunc: () => 1.5 });
 */
export class BackboneFinetuning extends BaseFinetuning {
  /** The backbone's rate in the latest epoch; null before it is trained. */
  previousBackboneLr: number | null = null;
  readonly #options: ReturnType<typeof read>;

  constructor(...given: BackboneFinetuningCall) {
    const options = read(given, new.target.name);
    super();
    this.#options = options;
  }

  override setup(trainer: TrainerView, module: LightningModule, stage: TrainerFn): HookResult {
    if (stage === "fit") backboneOf(module);
    return super.setup(trainer, module, stage);
  }

  override freezeBeforeTraining(module: LightningModule): void {
    this.freeze(backboneOf(module));
  }

  override finetuneFunction(module: LightningModule, epoch: number, optimizer: optim.Optimizer): void {
    const { unfreezeBackboneAtEpoch, lambdaFunc, shouldAlign, trainBn, initialDenomLr } = this.#options;
    const rate = optimizer.paramGroups[0]?.lr ?? 0;
    if (epoch === unfreezeBackboneAtEpoch) {
      const initial = this.#options.backboneInitialLr ?? rate * this.#options.backboneInitialRatioLr;
      this.previousBackboneLr = initial;
      this.unfreezeAndAddParamGroup(backboneOf(module), optimizer, initial, initialDenomLr, trainBn);
      this.#say(rate, initial);
    } else if (epoch > unfreezeBackboneAtEpoch && this.previousBackboneLr !== null) {
      const grown = lambdaFunc(epoch + 1) * this.previousBackboneLr;
      const next = shouldAlign && grown > rate ? rate : grown;
      const group = optimizer.paramGroups.at(-1);
      if (group !== undefined) group.lr = next;
      this.previousBackboneLr = next;
      this.#say(rate, next);
    }
  }
  #say(rate: number, backbone: number): void {
    const { verbose, rounding } = this.#options;
    const round = (value: number): number => Number(value.toFixed(rounding));
    if (verbose) console.log(plainText(`BackboneFinetuning: lr ${round(rate)}, of the backbone ${round(backbone)}.`));
  }

  override stateDict(): Record<string, unknown> {
    return { ...super.stateDict(), previousBackboneLr: this.previousBackboneLr };
  }
  override loadStateDict(state: Record<string, unknown>): void {
    const { previousBackboneLr } = checkState("BackboneFinetuning.loadStateDict", STATE, {
      previousBackboneLr: state.previousBackboneLr,
    });
    super.loadStateDict(state);
    this.previousBackboneLr = previousBackboneLr;
  }
}

function backboneOf(module: LightningModule): nn.Module {
  const backbone: unknown = Reflect.get(module, "backbone");
  if (backbone instanceof nn.Module) return backbone;
  throw new MisconfigurationError(
    "BackboneFinetuning",
    "the module to have a backbone: a Module",
    backbone,
    undefined,
    "ERR_FINETUNING",
  );
}
