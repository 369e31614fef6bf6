/** A softmax over very many classes, most of which are rare. */
import { ArgumentError } from "../../errors.js";
import { byDefault, flag, orNull, real, such, whole } from "../../kinds.js";
import { classIndices } from "../../ops/losses/class-indices.js";
import { argmax, cat, logSoftmax } from "../../ops/index.js";
import { atMost, checkArguments, type OptionNames } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import { deviceKind, dtypeKind, tensorKind } from "../../tensor/kinds.js";
import { scope } from "../../tensor/scope.js";
import type { Tensor } from "../../tensor/tensor.js";
import { ModuleList, Sequential } from "../containers.js";
import { positive } from "../kernels.js";
import { Linear, type FactoryOptions } from "../linear.js";
import { Module } from "../module.js";

export interface AdaptiveLogSoftmaxArguments extends FactoryOptions {
  readonly inFeatures: number;
  /** How many classes there are; classes are numbered by how often they occur. */
  readonly nClasses: number;
  /** Where clusters begin: increasing, each from 1 to nClasses - 1. */
  readonly cutoffs: readonly number[];
  /** Each cluster's projection is this much narrower than the one before. Default 4. */
  readonly divValue?: number;
  /** Default false. */
  readonly headBias?: boolean;
}
const ROWS = {
  inFeatures: positive,
  nClasses: positive,
  cutoffs: such<readonly number[]>("an array of whole numbers > 0, each greater than the one before", increasing),
  divValue: byDefault(4, real("(0, ∞)")),
  headBias: byDefault(false, flag),
  device: byDefault(null, orNull(deviceKind)),
  dtype: byDefault(null, orNull(dtypeKind)),
} satisfies OptionNames<AdaptiveLogSoftmaxArguments>;
function increasing(v: unknown): boolean {
  return Array.isArray(v) && v.length > 0 && v.every((c, i) => whole("[1, ∞)").accepts(c) && (i === 0 || c > v[i - 1]));
}
const read = signature("AdaptiveLogSoftmaxWithLoss", ROWS);

/** `[output, loss]`: the log probability of each target, and the mean of what they lack. */
export type AdaptiveLogSoftmaxOutput = readonly [output: Tensor, loss: Tensor] & {
  readonly output: Tensor;
  readonly loss: Tensor;
};

/**
 * Log softmax over many classes of which most are rare: a head has the frequent ones and one score for each cluster of
 * rarer ones, whose own projections are narrower the rarer they are.
 *
 * `forward`: `input` `[N, inFeatures]` or `[inFeatures]`, `target` `[N]` or `[]` class indices. Looks at the targets, which
 * waits for the device.
 * @throws {ArgumentError} for a target outside of the classes, or cutoffs that do not increase below `nClasses`.
 * @see Grave et al., 2016, "Efficient softmax approximation for GPUs".
 */
export class AdaptiveLogSoftmaxWithLoss extends Module {
  readonly inFeatures: number;
  readonly nClasses: number;
  readonly cutoffs: readonly number[];
  readonly divValue: number;
  readonly headBias: boolean;
  readonly shortlistSize: number;
  readonly nClusters: number;
  readonly headSize: number;
  readonly head: Linear;
  readonly tail: ModuleList<Sequential>;

  constructor(
    ...given: Call<
      AdaptiveLogSoftmaxArguments,
      ["inFeatures", "nClasses", "cutoffs", "divValue", "headBias", "device", "dtype"],
      [
        inFeatures: number,
        nClasses: number,
        cutoffs: readonly number[],
        divValue?: number,
        headBias?: boolean,
        device?: FactoryOptions["device"],
        dtype?: FactoryOptions["dtype"],
      ]
    >
  ) {
    const a = read(given, new.target.name);
    const { cutoffs } = a;
    if ((cutoffs[cutoffs.length - 1] ?? 0) > a.nClasses - 1)
      throw new ArgumentError(new.target.name, `cutoffs below nClasses (${a.nClasses})`, cutoffs);
    super();
    this.inFeatures = a.inFeatures;
    this.nClasses = a.nClasses;
    this.cutoffs = [...cutoffs, a.nClasses];
    this.divValue = a.divValue;
    this.headBias = a.headBias;
    this.shortlistSize = cutoffs[0] ?? a.nClasses;
    this.nClusters = cutoffs.length;
    this.headSize = this.shortlistSize + this.nClusters;
    const factory = { device: a.device ?? undefined, dtype: a.dtype ?? undefined };
    this.head = new Linear(a.inFeatures, this.headSize, { bias: a.headBias, ...factory });
    this.tail = new ModuleList();
    this.cutoffs.slice(1).forEach((end, i) => {
      const width = Math.floor(a.inFeatures / a.divValue ** (i + 1));
      const classes = end - (this.cutoffs[i] ?? 0);
      this.tail.append(
        new Sequential(
          new Linear(a.inFeatures, width, { bias: false, ...factory }),
          new Linear(width, classes, { bias: false, ...factory }),
        ),
      );
    });
  }

  resetParameters(): void {
    atMost("AdaptiveLogSoftmaxWithLoss.resetParameters", arguments, 0);
    for (const layer of [this.head, ...Array.from(this.tail, (projection) => [...projection]).flat()])
      if (layer instanceof Linear) layer.resetParameters();
  }

  forward(input: Tensor, target: Tensor): AdaptiveLogSoftmaxOutput {
    const fn = "AdaptiveLogSoftmaxWithLoss.forward";
    atMost(fn, arguments, 2);
    checkArguments(fn, { input, target }, { input: tensorKind, target: tensorKind });
    if (target.ndim > 1 || input.ndim !== target.ndim + 1 || (target.ndim === 1 && input.size(0) !== target.size(0)))
      throw new ArgumentError(fn, `input [N, ${this.inFeatures}] and target [N], or [${this.inFeatures}] and []`, [
        input,
        target,
      ]);
    const [output, loss] = scope(() => logProbabilities(this, fn, input, classIndices(fn, "target", target)));
    return Object.assign([output, loss] as const, { output, loss });
  }

  /** Log probabilities of all classes: `[N, inFeatures]` → `[N, nClasses]`. */
  logProb(input: Tensor): Tensor {
    atMost("AdaptiveLogSoftmaxWithLoss.logProb", arguments, 1);
    return scope(() => allClasses(this, input, this.head.call(input)));
  }

  /**
   * The likeliest class of each sample, `[N, inFeatures]` → `[N]`: clusters are computed for those only whose likeliest is
   * none of the head's. Waits for the device.
   */
  predict(input: Tensor): Tensor {
    atMost("AdaptiveLogSoftmaxWithLoss.predict", arguments, 1);
    return scope(() => {
      const headScores = this.head.call(input);
      const likeliest = argmax(headScores, 1);
      const rare = likeliest.ge(this.shortlistSize);
      if (rare.any().item() === 0) return likeliest;
      const rows = rare.nonzero().squeeze(1);
      const classes = allClasses(this, input.indexSelect(0, rows), headScores.indexSelect(0, rows));
      return likeliest.indexCopy(0, rows, argmax(classes, 1));
    });
  }
}

function logProbabilities(
  layer: AdaptiveLogSoftmaxWithLoss,
  fn: string,
  input: Tensor,
  target: Tensor,
): readonly [Tensor, Tensor] {
  const [x, classes] = target.ndim === 1 ? [input, target] : [input.unsqueeze(0), target.unsqueeze(0)];
  const n = classes.size(0);
  const inClusters = x.newZeros([n]);
  const ofHead = classes.newEmpty([n]);
  let found = 0;
  let low = 0;
  layer.cutoffs.forEach((high, i) => {
    const rows = classes.ge(low).logicalAnd(classes.lt(high)).nonzero().squeeze(1);
    if (rows.numel() > 0) {
      found += rows.numel();
      const own = classes.indexSelect(0, rows);
      if (i === 0) ofHead.indexCopy_(0, rows, own);
      else {
        ofHead.indexFill_(0, rows, layer.shortlistSize + i - 1);
        const scores = logSoftmax(cluster(layer, i - 1, x.indexSelect(0, rows)), 1);
        inClusters.indexCopy_(0, rows, scores.gather(1, own.sub(low).unsqueeze(1)).squeeze(1).to(x.dtype));
      }
    }
    low = high;
  });
  if (found !== n) throw new ArgumentError(fn, `target to be classes from 0 to ${layer.nClasses - 1}`, target);
  const head = logSoftmax(layer.head.call(x), 1);
  const output = inClusters.add(head.gather(1, ofHead.unsqueeze(1)).squeeze(1));
  return [target.ndim === 1 ? output : output.squeeze(0), output.neg().mean()];
}

function cluster(layer: AdaptiveLogSoftmaxWithLoss, i: number, x: Tensor): Tensor {
  return (layer.tail[i] as Sequential).call(x);
}

function allClasses(layer: AdaptiveLogSoftmaxWithLoss, x: Tensor, headScores: Tensor): Tensor {
  const head = logSoftmax(headScores, 1);
  const clusters = Array.from({ length: layer.nClusters }, (_, i) =>
    logSoftmax(cluster(layer, i, x), 1).add(head.select(1, layer.shortlistSize + i).unsqueeze(1)),
  );
  return cat([head.slice(1, 0, layer.shortlistSize), ...clusters], 1);
}
