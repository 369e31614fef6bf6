import { atMost, kinds, optim, type DeviceLike, type DType, type nn, type OptionNames, type Tensor } from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import { pickGiven } from "../collections.js";
import { MisconfigurationError } from "../errors.js";
import type { MemoryForecast } from "../diagnostics/memory-forecast.js";
import type { RankForecast } from "../diagnostics/rank-forecast.js";
import { forecastRankIn } from "../diagnostics/rank-memory.js";
import { isOverridden } from "../hooks.js";
import { LightningModule } from "../module.js";
import { ApexPrecision } from "../precision/apex.js";
import type { ClipAlgorithm } from "../precision/clip.js";
import type { Precision } from "../precision/precision.js";
import { Float8Histories } from "./float8-histories.js";
import { deviceAndOptions, PARALLEL_OPTIONS, ParallelStrategy, type ParallelOptions } from "./parallel.js";
import { LOSS_STATES, type GradientSync } from "./strategy.js";

export interface FSDPOptions extends ParallelOptions {
  /** What is shared out: 1, optimizer state; 2, gradients too; 3, parameters too. Default 3. */
  readonly stage?: 1 | 2 | 3;
  /**
   * In which parameters are gathered and computed with, such as "bfloat16": messages of half the size. Shards stay as
   * they are. Default: the parameters' own.
   */
  readonly paramDtype?: DType;
  /** In which gradients are averaged. Default: float32, or float64 where parameters are. */
  readonly reduceDtype?: DType;
  /** Arguments of units are cast to `paramDtype`: where no autocast does. Default false. */
  readonly castForwardInputs?: boolean;
  /** Stage 3: shards, gradients and optimizer state on the CPU. Default false. */
  readonly cpuOffload?: boolean;
  /** Stage 3: parameters are freed after forward, and gathered again for backward. Default true. */
  readonly reshardAfterForward?: boolean;
  /** Classes of modules whose parameters travel together, or a function. Default: see `fullyShard`. */
  readonly shardModules?: dist.FullyShardOptions["shardModules"];
  /** Gradients become shards in every batch of an accumulation window. Default: from stage 2 on. */
  readonly reduceEveryBatch?: boolean;
  /** A parameter that got no gradient on any rank is not stepped. Default true. */
  readonly findUnusedParameters?: boolean;
  /** Shards end at multiples of it. Default 256, the 8-bit optimizers' block. */
  readonly blockSize?: number;
}
const UNITS = kinds.such<NonNullable<FSDPOptions["shardModules"]>>(
  "a function, or an array of classes",
  (v) => typeof v === "function" || (Array.isArray(v) && v.length > 0 && v.every((c) => typeof c === "function")),
);
const FLOATING = kinds.oneOf<DType>("float64", "float32", "bfloat16", "float16");
const OPTIONS: OptionNames<FSDPOptions> = {
  ...PARALLEL_OPTIONS,
  stage: kinds.oneOf(1, 2, 3),
  paramDtype: FLOATING,
  reduceDtype: FLOATING,
  castForwardInputs: kinds.flag,
  cpuOffload: kinds.flag,
  reshardAfterForward: kinds.flag,
  shardModules: kinds.orNull(UNITS),
  reduceEveryBatch: kinds.flag,
  findUnusedParameters: kinds.flag,
  blockSize: kinds.whole("[1, 65536]"),
};
/** What `fullyShard` is told as it is. */
const SHARDING = [
  "stage",
  "reshardAfterForward",
  "shardModules",
  "reduceEveryBatch",
  "findUnusedParameters",
  "blockSize",
] as const;
const STEPS = ["trainingStep", "validationStep", "testStep", "predictStep"] as const;

/**
 * Fully sharded data parallel: as "ddp", with optimizer state, gradients and parameters shared out over the processes,
 * so that each holds 1/N. A module is shared out for the time of a fit; afterwards every process has all of it.
 *
 * @example new Trainer({ devices: 2, strategy: new FSDPStrategy({ stage: 2 }) });
 */
export class FSDPStrategy extends ParallelStrategy {
  override readonly name: string = "fsdp";
  /** Parameters are gathered by it. */
  readonly forwardExchanges = true;
  readonly #options: FSDPOptions;
  #module: nn.Module | null = null;
  #sharded: dist.FullyShardedModule | null = null;
  #histories: Float8Histories | null = null;
  #failed = false;
  #apex: ApexPrecision | null = null;

  /** `(options)`, or `(device, options)`: a Trainer of another device refuses it. */
  constructor(first: DeviceLike | FSDPOptions = {}, second: FSDPOptions = {}) {
    atMost("FSDPStrategy", arguments, 2);
    const { device, options } = deviceAndOptions("FSDPStrategy", first, second, OPTIONS);
    super(device, options);
    this.#options = options;
    if ((options.stage ?? 3) < 3)
      for (const name of ["cpuOffload", "reshardAfterForward"] as const)
        if (options[name] !== undefined)
          throw new MisconfigurationError(
            "FSDPStrategy",
            `${name} with stage 3`,
            options.stage,
            "Other stages keep parameters whole.",
            "ERR_STRATEGY_OPTION",
          );
  }

  override checkPrecision(precision: Precision): void {
    this.#apex = precision instanceof ApexPrecision ? precision : null;
    if (this.#apex === null || this.#options.paramDtype === undefined) return;
    throw new MisconfigurationError(
      "Trainer",
      'no paramDtype with ampBackend "apex"',
      this.#options.paramDtype,
      "The level says in what parameters are gathered: leave it out.",
      "ERR_STRATEGY_PRECISION",
    );
  }

  override setupOptimizers(module: nn.Module, optimizers: readonly optim.Optimizer[]): void {
    this.#failed = false;
    const { cpuOffload, paramDtype, reduceDtype, castForwardInputs = false } = this.#options;
    const level = this.#apex?.shareWeights(module);
    this.#sharded = dist.fullyShard(module, {
      ...pickGiven(this.#options, SHARDING),
      mpPolicy: new dist.MixedPrecisionPolicy({
        paramDtype: level?.paramDtype ?? paramDtype ?? null,
        except: level?.except ?? null,
        reduceDtype: reduceDtype ?? null,
        castForwardInputs,
      }),
      ...(cpuOffload === true ? { offloadPolicy: new dist.CPUOffloadPolicy() } : {}),
      forwardMethods: module instanceof LightningModule ? STEPS.filter((name) => isOverridden(module, name)) : [],
      device: this.rootDevice,
    });
    this.#module = module;
    this.#histories = new Float8Histories(module);
    for (const optimizer of optimizers) dist.shardOptimizer(module, optimizer);
  }

  override get gradients(): GradientSync | null {
    return this.#gradients;
  }
  readonly #gradients: GradientSync = {
    beforeForward: (sync) => this.#sharded?.setRequiresGradientSync(sync),
    worstLoss: (mine) => {
      const state = LOSS_STATES.indexOf(mine);
      return LOSS_STATES[this.collectives?.greatest(state) ?? state] ?? mine;
    },
    beforeBackward: (loss) => this.#sharded?.beforeBackward(loss),
    afterBackward: (sync) => {
      if (sync) this.#histories?.share();
    },
  };
  override readonly graphObstacle = "parameters and gradients that are shared out travel by decisions of the host";
  readonly reduceFoundInf = (found: Tensor): void => {
    dist.allReduce(found, { op: "max" });
  };

  forecast(module: nn.Module, whole: MemoryForecast, worldSize: number): RankForecast | null {
    if (dist.shardedModuleOf(module) !== null) return null;
    const { paramDtype = null } = this.#options;
    const options = pickGiven(this.#options, ["stage", "shardModules", "blockSize"]);
    return forecastRankIn(
      whole,
      module,
      { strategy: "fsdp", worldSize, rank: this.globalRank, ...options },
      paramDtype,
    );
  }

  rehearse<T>(fn: () => T, look: (name: string, gradient: Tensor) => void): T {
    return this.#sharded === null ? fn() : this.#sharded.rehearse(fn, look);
  }

  clip(_: optim.Optimizer, params: readonly Tensor[], value: number, algorithm: ClipAlgorithm): Tensor | null {
    if (algorithm === "norm" && this.#module !== null) return dist.clipShardedGradNorm(this.#module, params, value);
    optim.clipGradValue([...params], value);
    return null;
  }

  castParameters(module: nn.Module, dtype: DType | null): boolean {
    const sharded = dist.shardedModuleOf(module);
    sharded?.gatherIn(dtype);
    return sharded !== null;
  }

  stateDict(module: nn.Module): nn.StateDict {
    return dist.shardedModuleOf(module) === null
      ? module.stateDict({ keepVars: true })
      : dist.fullStateDict(module, { rank0Only: true });
  }
  optimizerState(module: nn.Module, optimizer: optim.Optimizer): optim.OptimizerState {
    return dist.fullOptimizerStateDict(module, optimizer, { rank0Only: true });
  }
  loadOptimizerState(
    module: nn.Module,
    optimizer: optim.Optimizer,
    state: Readonly<Record<string, unknown>>,
    read?: (placeholder: Tensor, start: number, end: number) => Tensor,
  ): void {
    dist.loadFullOptimizerStateDict(module, optimizer, state, read === undefined ? {} : { read });
  }

  gradientDict(module: nn.Module): ReadonlyMap<string, Tensor> {
    return dist.fullGradientDict(module, { rank0Only: true });
  }

  override fail(error: unknown): void {
    this.#failed = true;
    super.fail(error);
  }
  override endRun(): void {
    const module = this.#module;
    this.#module = this.#sharded = this.#histories = null;
    // After a failure there is nobody to gather from.
    if (module === null || this.#failed) return;
    dist.unshardModule(module);
    this.#apex?.weightsAreWhole();
  }
}
