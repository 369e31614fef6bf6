import {
  atMost,
  AutogradFunction,
  type DeviceLike,
  type FunctionContext,
  kinds,
  nn,
  type optim,
  type OptionNames,
  type Tensor,
  verbatim,
  zeros,
  zerosLike,
} from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import { pickGiven } from "../collections.js";
import { MisconfigurationError } from "../errors.js";
import type { MemoryForecast } from "../diagnostics/memory-forecast.js";
import type { RankForecast } from "../diagnostics/rank-forecast.js";
import { forecastRankIn } from "../diagnostics/rank-memory.js";
import { ApexPrecision } from "../precision/apex.js";
import type { Precision } from "../precision/precision.js";
import { Float8Histories } from "./float8-histories.js";
import { deviceAndOptions, PARALLEL_OPTIONS, ParallelStrategy, type ParallelOptions } from "./parallel.js";
import type { GradientSync } from "./strategy.js";

export interface DDPOptions extends ParallelOptions {
  /**
   * Some parameters get no gradient in some steps: who they are is found before each backward, by a walk over its
   * graph. Default: false, but true for manual optimization, whose backwards are of parts of the module.
   */
  readonly findUnusedParameters?: boolean;
  /** Gradients are views of the buckets in which they travel. Default true, but false under APEX. */
  readonly gradientAsBucketView?: boolean;
  /** Every step uses the same parameters, equally often. Allows what would else be an error (reentrant checkpoints). */
  readonly staticGraph?: boolean;
  /** MiB of gradients that travel together. Default 25. */
  readonly bucketCapMb?: number;
  /** Process 0's buffers (running statistics) for all before each step. Default true. */
  readonly broadcastBuffers?: boolean;
  /**
   * What gradients are added up in: "float32", "float16" or "bfloat16". Default: their own dtype. 16 bits halve what
   * travels, and a ring rounds at every hop.
   */
  readonly reduceDtype?: "float32" | "float16" | "bfloat16";
  /** PyTorch's names: "fp16_compress", "bf16_compress", or "powerSGD" with its columns and first step. */
  readonly commHook?: "fp16_compress" | "bf16_compress" | "powerSGD" | null;
  readonly powerSGDRank?: number;
  readonly powerSGDStart?: number;
}
const OPTIONS: OptionNames<DDPOptions> = {
  ...PARALLEL_OPTIONS,
  findUnusedParameters: kinds.flag,
  gradientAsBucketView: kinds.flag,
  staticGraph: kinds.flag,
  bucketCapMb: kinds.real("(0, 100000]"),
  broadcastBuffers: kinds.flag,
  reduceDtype: kinds.oneOf("float32", "float16", "bfloat16"),
  commHook: kinds.orNull(kinds.oneOf("fp16_compress", "bf16_compress", "powerSGD")),
  powerSGDRank: kinds.whole("[1, 1024]"),
  powerSGDStart: kinds.whole("[0, 1000000000]"),
};

const MIB = 1 << 20;
const HOOKS = { fp16_compress: "float16", bf16_compress: "bfloat16", powerSGD: "powerSGD" } as const;

/**
 * Data parallel: every process has the whole module and a share of the batches; gradients are averaged over all while
 * backward runs, so that all take the same step.
 *
 * @example new Trainer({ devices: 2, strategy: new DDPStrategy({ reduceDtype: "bfloat16" }) });
 */
export class DDPStrategy extends ParallelStrategy {
  override readonly name: string = "ddp";
  readonly #options: DDPOptions;
  #sync: ReducedGradients | null = null;
  /** Of the latest fit, whose end may be saved. */
  #bucketOrder: readonly string[] | null = null;
  /** The precision keeps gradients beyond their batch: they are not to be the buckets' memory. */
  #gradientsMove = false;

  /** `(options)`, or `(device, options)`: a Trainer of another device refuses it. */
  constructor(first: DeviceLike | DDPOptions = {}, second: DDPOptions = {}) {
    atMost("DDPStrategy", arguments, 2);
    const { device, options } = deviceAndOptions("DDPStrategy", first, second, OPTIONS);
    super(device, options);
    if (options.commHook != null && options.reduceDtype !== undefined)
      throw new MisconfigurationError(
        "DDPStrategy",
        "one of reduceDtype and commHook",
        verbatim("both"),
        "A hook says itself what travels.",
        "ERR_STRATEGY_OPTION",
      );
    if (options.staticGraph === true && options.findUnusedParameters === true)
      throw new MisconfigurationError(
        "DDPStrategy",
        "staticGraph without findUnusedParameters",
        verbatim("both"),
        "A static graph finds in its first step which parameters are not used.",
        "ERR_STRATEGY_OPTION",
      );
    this.#options = options;
  }

  override checkPrecision(precision: Precision): void {
    this.#gradientsMove = precision.averagesEveryBatch;
    if (this.#gradientsMove && this.#options.gradientAsBucketView === true)
      throw new MisconfigurationError(
        "Trainer",
        'no gradientAsBucketView with ampBackend "apex"',
        true,
        "APEX keeps the gradients of a batch while the next one's are averaged: leave it out.",
        "ERR_STRATEGY_PRECISION",
      );
    // Factors of 16 bits overflow where gradients are multiplied by a loss scale.
    if (this.#options.commHook !== "powerSGD") return;
    if (precision.dtypes.gradients !== "float16" || !(precision instanceof ApexPrecision)) return;
    throw new MisconfigurationError(
      "Trainer",
      'float32 gradients with commHook "powerSGD"',
      precision,
      'Its factors would be sums of scaled float16 gradients, which overflow. Use precision 16, or commHook "fp16_compress".',
      "ERR_STRATEGY_PRECISION",
    );
  }

  override setupOptimizers(module: nn.Module, optimizers: readonly optim.Optimizer[]): void {
    super.setupOptimizers(module, optimizers);
    if (this.#options.staticGraph !== true || optimizers.length < 2) return;
    throw new MisconfigurationError(
      "strategy",
      "one optimizer with staticGraph",
      optimizers.length,
      "Backwards for several reach other parameters each: leave staticGraph out.",
      "ERR_STRATEGY_OPTION",
    );
  }
  override setupGradients(module: nn.Module, manual: boolean): void {
    this.endRun();
    this.#bucketOrder = null;
    const options = this.#gradientsMove ? { ...this.#options, gradientAsBucketView: false } : this.#options;
    if (dist.getWorldSize() > 1) this.#sync = new ReducedGradients(module, options, manual);
  }
  override get gradients(): GradientSync | null {
    return this.#sync;
  }
  forecast(module: nn.Module, whole: MemoryForecast, worldSize: number): RankForecast {
    const gradientAsBucketView = !this.#gradientsMove && this.#options.gradientAsBucketView !== false;
    return forecastRankIn(whole, module, { strategy: "ddp", worldSize, rank: this.globalRank, gradientAsBucketView });
  }
  get bucketOrder(): readonly string[] | null {
    return this.#sync?.bucketOrder ?? this.#bucketOrder;
  }
  restoreBucketOrder(order: readonly string[] | null): void {
    this.#sync?.restoreBucketOrder(order);
  }
  override endRun(): void {
    this.#sync?.free();
    this.#bucketOrder = this.bucketOrder;
    this.#sync = null;
  }
}

/** Zero, of which every gradient is zero, but that of the counter: `told`. */
class NoLoss extends AutogradFunction {
  static forward(ctx: FunctionContext, told: number, counter: Tensor, ...parameters: Tensor[]): Tensor {
    ctx.saveForBackward(zerosLike(counter).fill_(told), ...parameters);
    return zeros([], { dtype: "float32", device: counter.device });
  }
  static backward(ctx: FunctionContext): (Tensor | null)[] {
    return [null, ...ctx.savedTensors.map((_, i) => (i === 0 ? ctx.saved(0) : zerosLike(ctx.saved(i))))];
  }
}
/** What a process without a loss adds to the counter for gradients of earlier batches: next to nothing beside a loss. */
const HAS_GRADIENTS = 2 ** -10;

const COUNTER = "the count of losses";

/** Drives the reducer of one fit. */
class ReducedGradients implements GradientSync {
  /** Made by the first forward: it keeps to the stream on which it is made. */
  #reducer: dist.Reducer | null = null;
  /** That of the reducer before it, which its own goes on with. */
  #bucketOrder: readonly string[] | null = null;
  readonly #options: dist.ReducerOptions;
  readonly #named: readonly (readonly [string, Tensor])[];
  readonly #buffers: readonly Tensor[];
  readonly #manual: boolean;
  /** Its gradient tells the share of processes that had a loss: it travels with the others. */
  readonly #counter: nn.Parameter;
  readonly #histories: Float8Histories;

  constructor(module: nn.Module, options: DDPOptions, manual: boolean) {
    this.#named = [...module.namedParameters()].filter(([, p]) => p.requiresGrad);
    this.#buffers = options.broadcastBuffers === false ? [] : [...module.buffers()].map((b) => b.detach());
    this.#manual = manual;
    // In the bucket of the first parameters.
    const { dtype, device } = this.#named[0]?.[1] ?? { dtype: "float32", device: "cpu" };
    this.#counter = new nn.Parameter(zeros([1], { dtype, device }));
    this.#histories = new Float8Histories(module);
    const { commHook, reduceDtype } = options;
    this.#options = {
      hook: commHook == null ? (reduceDtype ?? "average") : HOOKS[commHook],
      ...(options.bucketCapMb === undefined ? {} : { bucketBytes: Math.ceil(options.bucketCapMb * MIB) }),
      findUnusedParameters: options.findUnusedParameters ?? (manual && options.staticGraph !== true),
      ...pickGiven(options, ["gradientAsBucketView", "staticGraph", "powerSGDRank", "powerSGDStart"]),
    };
  }

  beforeForward(sync: boolean): void {
    if (!sync && this.#options.staticGraph === true)
      throw new MisconfigurationError(
        "strategy",
        "accumulateGradBatches: 1 with staticGraph",
        verbatim("a batch whose gradients are only added up"),
        "A static graph counts every backward as one that averages: leave staticGraph out.",
        "ERR_STRATEGY_OPTION",
      );
    if (sync && this.#buffers.length > 0) dist.broadcastCoalesced(this.#buffers);
    this.#reducer ??= new dist.Reducer(this.#reduced, { ...this.#options, bucketOrder: this.#bucketOrder });
    // Backwards of manual optimization are each announced by themselves: there may be several to a forward.
    if (!this.#manual) this.#reducer.beforeForward(sync);
  }
  get #reduced(): readonly (readonly [string, Tensor])[] {
    return this.#manual ? this.#named : [...this.#named, [COUNTER, this.#counter]];
  }
  get bucketOrder(): readonly string[] | null {
    return this.#reducer === null ? this.#bucketOrder : this.#reducer.bucketOrder;
  }
  restoreBucketOrder(order: readonly string[] | null): void {
    const names = new Set(this.#reduced.map(([name]) => name));
    const fits = order?.length === names.size && new Set(order).size === names.size && order.every((n) => names.has(n));
    this.#bucketOrder = fits ? order : null;
  }
  beforeBackward(loss: Tensor, sync: boolean): void {
    if (!sync) return;
    if (this.#manual) this.#reducer?.beforeForward(true);
    this.#reducer?.beforeBackward([loss]);
  }
  countLoss(loss: Tensor, finite: boolean): Tensor {
    if (this.#manual) return loss;
    this.#counter.grad = null;
    const counted = this.#counter.sum().to(loss.dtype); // which is 0
    // Of finite ones the average is at most 1; one that is not makes it more than 2.
    return loss.add(finite ? counted : counted.mul(2 * dist.getWorldSize() + 1));
  }
  get allFinite(): boolean | undefined {
    return this.#manual ? undefined : (this.#counter.grad?.item() ?? 0) < 1.5;
  }
  noLoss(windowOpen: boolean): Tensor {
    this.#counter.grad = null;
    return NoLoss.apply(windowOpen ? HAS_GRADIENTS : 0, this.#counter, ...this.#named.map(([, p]) => p));
  }
  get anyLoss(): boolean {
    return (this.#counter.grad?.item() ?? 0) > 0;
  }
  afterBackward(sync: boolean): void {
    if (!sync || this.#reducer === null) return;
    this.#reducer.afterBackward();
    this.#histories.share();
  }
  streamChanged(): void {
    this.free();
  }
  parametersChanged(): void {
    this.free();
  }
  free(): void {
    this.#bucketOrder = this.bucketOrder;
    this.#reducer?.free();
    this.#reducer = null;
  }
}
