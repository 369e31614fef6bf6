/** Batch normalisation over the batches of several processes, as if they were one. */
import { isRecomputing } from "../autograd/recomputing.js";
import { AutogradFunction, isGradEnabled, noGrad, type FunctionContext } from "../autograd/index.js";
import { allGatherIntoTensor, allReduce } from "../distributed/collectives.js";
import { groupOf, isInitialized, ProcessGroup } from "../distributed/group.js";
import { ArgumentError, NbitError } from "../errors.js";
import { byDefault, flag, instanceOf, orNull } from "../kinds.js";
import { aten } from "../ops/aten.js";
import { batchNorm, cat, empty, ones, promoteTypes, relu as reluOf, zeros } from "../ops/index.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../options.js";
import { signature, type Call } from "../signature.js";
import type { DType } from "../tensor/dtype.js";
import { tensorKind } from "../tensor/kinds.js";
import type { Tensor } from "../tensor/tensor.js";
import { BATCH_NORM, BatchNorm, RELU_NAMES, type BatchNormOptions } from "./batch-norm.js";
import { FACTORY } from "./factory.js";
import type { BatchNormReluOptions } from "./fused-batch-norm.js";
import { positive } from "./kernels.js";
import { Module } from "./module.js";

export interface SyncBatchNormOptions extends BatchNormOptions {
  /** Whose batches are normalised together. Default null: those of all processes. */
  readonly processGroup?: ProcessGroup | null;
}
const groupKind = orNull(instanceOf("a ProcessGroup", ProcessGroup));
export interface SyncBatchNormArguments extends SyncBatchNormOptions {
  readonly numFeatures: number;
}
const read = signature(
  "SyncBatchNorm",
  {
    numFeatures: positive,
    ...BATCH_NORM,
    processGroup: byDefault(null, groupKind),
    ...FACTORY,
    bias: byDefault(true, flag),
  } satisfies OptionNames<SyncBatchNormArguments>,
  6,
);
export type SyncBatchNormCall = Call<
  SyncBatchNormArguments,
  ["numFeatures", "eps", "momentum", "affine", "trackRunningStats", "processGroup"],
  [
    numFeatures: number,
    eps?: number,
    momentum?: number | null,
    affine?: boolean,
    trackRunningStats?: boolean,
    processGroup?: ProcessGroup | null,
  ]
>;

/** Of the batches of all ranks: mean and biased variance per channel in float64, and the count of values, `[1]`. */
interface Statistics {
  readonly mean: Tensor;
  readonly variance: Tensor;
  readonly count: Tensor;
}

/** What statistics are computed in. */
const wideOf = (x: Tensor): DType => promoteTypes(x.dtype, "float32");

/** One all-gather of mean, variance and count, which may differ between ranks and be 0 on some. */
function gatherStatistics(x: Tensor, group: ProcessGroup): Statistics {
  const channels = x.size(1);
  const { device } = x;
  const count = x.numel() / channels;
  // Float64, since that costs nothing for so few numbers and counts above 2²⁴ stay exact.
  const wide = { dtype: "float64", device } as const;
  const mine = zeros([2 * channels + 1], wide);
  if (count > 0) {
    const other = { dtype: wideOf(x), device };
    const [mean, variance] = momentsOf(x, zeros([channels], other), ones([channels], other));
    mine.narrow(0, 0, channels).copy_(mean);
    mine.narrow(0, channels, channels).copy_(variance);
    mine.narrow(0, 2 * channels, 1).fill_(count);
  }
  const all = empty([group.size, 2 * channels + 1], wide);
  allGatherIntoTensor(all, mine, { group });
  const counts = all.narrow(1, 2 * channels, 1);
  const total = counts.sum([0]);
  // A rank that sees two values knows that there are enough: only small batches wait for the device.
  if (count < 2 && total.item() < 2)
    throw new ArgumentError(
      "SyncBatchNorm",
      "more than one value per channel in training, over all ranks",
      x,
      "Use a larger batch, dropLast in the loader, or eval().",
    );
  const means = all.narrow(1, 0, channels);
  const mean = means.mul(counts).sum([0]).div(total);
  const within = all.narrow(1, channels, channels);
  const variance = within.add(means.sub(mean).square()).mul(counts).sum([0]).div(total);
  return { mean, variance, count: total };
}

/** Mean and biased variance in one pass; the running statistics only tell the dtype of the result. */
function momentsOf(x: Tensor, runningMean: Tensor, runningVar: Tensor): readonly [mean: Tensor, variance: Tensor] {
  const [mean, variance] = aten["batch_norm_update_stats"]?.(x, runningMean, runningVar, 0) ?? [];
  if (mean === undefined || variance === undefined)
    throw new ArgumentError("SyncBatchNorm", "a libtorch with batch_norm_update_stats", x);
  return [mean, variance];
}

class SyncNorm extends AutogradFunction {
  static forward(
    ctx: FunctionContext,
    x: Tensor,
    weight: Tensor | null,
    bias: Tensor | null,
    { mean, variance, count }: Statistics,
    eps: number,
    group: ProcessGroup,
  ): Tensor {
    const dtype = wideOf(x);
    const [narrowMean, narrowVar] = [mean.to(dtype), variance.to(dtype)];
    ctx.values["eps"] = eps;
    ctx.values["group"] = group;
    ctx.saveForBackward(x, weight, narrowMean, narrowVar, count, bias);
    const [w, b] = [weight?.to(dtype) ?? null, bias?.to(dtype) ?? null];
    return batchNorm(x, w, b, narrowMean, narrowVar, false, 0, eps, true);
  }

  static backward(ctx: FunctionContext, g: Tensor): (Tensor | null)[] {
    if (isGradEnabled())
      throw new NbitError(
        "SyncBatchNorm: expected a backward without createGraph. Received: one that is to be differentiated again. Use BatchNorm, or compute the second derivative without it.",
        "ERR_SYNC_BATCH_NORM_TWICE",
      );
    const [x, mean, variance, count] = [ctx.saved(0), ctx.saved(2), ctx.saved(3), ctx.saved(4)];
    const [weight, bias] = [ctx.savedTensors[1] ?? null, ctx.savedTensors[5] ?? null];
    const needs = (i: number): boolean => ctx.needsInputGrad[i] === true;
    const eps = ctx.values["eps"] as number;
    // Where something casts what batchNorm is given, as APEX's O1 does, its result and so `g` are wider than x.
    const [ofWeight, ofBias] = localSums(g, x.to(g.dtype), mean, variance, eps);
    const gw = weight !== null && needs(1) ? ofWeight.to(weight.dtype) : null;
    const gb = bias !== null && needs(2) ? ofBias.to(bias.dtype) : null;
    if (!needs(0)) return [null, gw, gb];

    const sums = cat([ofBias, ofWeight]);
    allReduce(sums, { group: ctx.values["group"] as ProcessGroup });
    const channels = x.size(1);
    const wide = (t: Tensor): Tensor => t.to("float64");
    const rstd = wide(variance).add(eps).rsqrt();
    const scale = weight === null ? rstd : rstd.mul(wide(weight));
    const ofX = scale
      .mul(rstd)
      .mul(wide(sums.narrow(0, channels, channels)))
      .div(count)
      .neg();
    const shift = scale
      .mul(wide(sums.narrow(0, 0, channels)))
      .div(count)
      .neg();
    const shape = [1, channels, ...x.shape.slice(2).map(() => 1)];
    const per = (t: Tensor): Tensor => t.to(mean.dtype).view(shape);
    const gx = x.to(mean.dtype).sub(per(mean)).mul_(per(ofX)).add_(per(shift));
    return [gx.addcmul_(g.to(mean.dtype), per(scale)).to(x.dtype), gw, gb];
  }
}

/** Sums over this rank's batch, per channel, of gradient times normalised input, and of gradient. */
function localSums(
  g: Tensor,
  x: Tensor,
  mean: Tensor,
  variance: Tensor,
  eps: number,
): readonly [ofWeight: Tensor, ofBias: Tensor] {
  if (x.numel() === 0) return [mean.mul(0), mean.mul(0)];
  const only = [false, true, true];
  const results = aten["native_batch_norm_backward"]?.(g, x, null, mean, variance, null, null, false, eps, only);
  const [, ofWeight, ofBias] = results ?? [];
  if (ofWeight === undefined || ofBias === undefined)
    throw new ArgumentError("SyncBatchNorm", "a libtorch with native_batch_norm_backward", x);
  return [ofWeight, ofBias];
}

/**
 * Batch normalisation with the statistics of all ranks' batches: what {@link nn.BatchNorm2d} would give for the whole
 * batch in one process, forward and backward.
 *
 * Input `[N, C, …]` of two or more dimensions and any floating point dtype. Statistics are computed in float32 (float64
 * for such inputs) and joined in float64, weighted by counts: batches may differ in size and shape between ranks, and be
 * empty on some. Parameters, buffers and the state dict are those of BatchNorm. In evaluation, without a process group
 * and with one process it is BatchNorm.
 *
 * Communicates once forward (`2C + 1` numbers of every rank) and once backward (`2C` numbers), where x needs a gradient:
 * every rank must call it equally often. Gradients of weight and bias are this rank's share, which the strategy
 * averages. Cannot be differentiated twice.
 *
 * @param options.processGroup - Whose batches count. Default null: those of all processes.
 * @throws {ArgumentError} `SyncBatchNorm: expected more than one value per channel in training, over all ranks.
 * Received: …`
 * @example
 * const net = nn.SyncBatchNorm.convertSyncBatchnorm(new ResNet());
 * @see Ioffe and Szegedy, 2015, arXiv:1502.03167.
 */
export class SyncBatchNorm extends BatchNorm {
  /** Whose batches are normalised together; null: those of all processes. */
  readonly processGroup: ProcessGroup | null;

  constructor(...given: SyncBatchNormCall) {
    const { processGroup, ...norm } = read(given, new.target.name);
    super(norm);
    this.processGroup = processGroup;
  }
  protected override get dims(): null {
    return null;
  }

  override forward(x: Tensor): Tensor {
    atMost("SyncBatchNorm.forward", arguments, 1);
    checkArguments("SyncBatchNorm.forward", { x }, { x: tensorKind });
    const group = this.others();
    return group === null ? super.forward(x) : this.normalise(x, group);
  }

  override thenRelu(
    x: Tensor,
    residual: Tensor | null = null,
    options: Pick<BatchNormReluOptions, "relu" | "path"> = {},
  ): Tensor {
    const fn = "SyncBatchNorm.thenRelu";
    atMost(fn, arguments, 3);
    const group = this.others();
    if (group === null) return super.thenRelu(x, residual, options);
    checkOptions(fn, options, RELU_NAMES);
    checkArguments(fn, { x, residual }, { x: tensorKind, residual: orNull(tensorKind) });
    if (options.path === "kernel")
      throw new ArgumentError(fn, 'path to be "auto" or "reference" with several processes', options.path);
    const normed = this.normalise(x, group);
    const sum = residual === null ? normed : normed.add(residual);
    return (options.relu ?? true) ? reluOf(sum) : sum;
  }

  override thenReluForBranches(
    x: Tensor,
    residual: Tensor | null = null,
    options: Pick<BatchNormReluOptions, "relu" | "path"> = {},
  ): readonly [Tensor, Tensor] {
    atMost("SyncBatchNorm.thenReluForBranches", arguments, 3);
    if (this.others() === null) return super.thenReluForBranches(x, residual, options);
    const y = this.thenRelu(x, residual, options);
    return [y, y];
  }

  /** With whom to share statistics now; null: with nobody. */
  private others(): ProcessGroup | null {
    if (!this.training || !isInitialized()) return null;
    const group = groupOf("SyncBatchNorm", this.processGroup);
    return group.size > 1 ? group : null;
  }

  private normalise(x: Tensor, group: ProcessGroup): Tensor {
    this.checkInput(x);
    if (!x.isFloatingPoint() || x.size(1) !== this.numFeatures)
      throw new ArgumentError("SyncBatchNorm", `a floating point input of ${this.numFeatures} channels`, x);
    const statistics = noGrad(() => gatherStatistics(x.detach(), group));
    const momentum = this.countBatch();
    if (this.runningMean !== null && this.runningVar !== null && this.trackRunningStats && !isRecomputing())
      noGrad(() => {
        const { mean, variance, count } = statistics;
        follow(this.runningMean, mean, momentum);
        follow(this.runningVar, variance.mul(count).div(count.sub(1)), momentum);
      });
    return SyncNorm.apply(x, this.weight, this.bias, statistics, this.eps, group);
  }

  /**
   * Replace every BatchNorm below `module`, or itself, by a SyncBatchNorm with the same parameters, buffers, hooks and
   * mode. A layer that stands in several places is replaced by one. Before optimizers are made or after: parameters
   * keep their identity.
   *
   * @returns `module`, changed; for a BatchNorm the layer that takes its place.
   */
  static convertSyncBatchnorm(module: BatchNorm, processGroup?: ProcessGroup | null): SyncBatchNorm;
  static convertSyncBatchnorm<M extends Module>(module: M, processGroup?: ProcessGroup | null): M;
  static convertSyncBatchnorm(module: Module, processGroup: ProcessGroup | null = null): Module {
    const fn = "SyncBatchNorm.convertSyncBatchnorm";
    atMost(fn, arguments, 2);
    checkArguments(fn, { module, processGroup }, { module: instanceOf("a Module", Module), processGroup: groupKind });
    return converted(module, processGroup, new Map());
  }
}

/** Move a running statistic towards that of a batch, rounded once. */
function follow(running: Tensor | null, value: Tensor, momentum: number): void {
  running?.copy_(
    running
      .to("float64")
      .mul(1 - momentum)
      .add(value.mul(momentum)),
  );
}

function converted(module: Module, group: ProcessGroup | null, done: Map<Module, Module>): Module {
  const known = done.get(module);
  if (known !== undefined) return known;
  const replacement = module instanceof BatchNorm ? replacementFor(module, group) : module;
  done.set(module, replacement);
  for (const [name, child] of Object.entries(module)) {
    if (!(child instanceof Module)) continue;
    const next = converted(child, group, done);
    if (next !== child || replacement !== module) Reflect.set(replacement, name, next);
  }
  return replacement;
}

function replacementFor(norm: BatchNorm, processGroup: ProcessGroup | null): SyncBatchNorm {
  const { numFeatures, eps, momentum, affine, trackRunningStats, weight, bias, training } = norm;
  // Nothing is made that is replaced at once: what they are is told below.
  const sync = new SyncBatchNorm(numFeatures, { eps, momentum, affine: false, trackRunningStats: false, processGroup });
  Object.assign(sync, { affine, trackRunningStats, weight, bias });
  for (const name of ["runningMean", "runningVar", "numBatchesTracked"] as const) sync.registerBuffer(name, norm[name]);
  sync.training = training;
  sync.takeHooksOf(norm);
  return sync;
}
