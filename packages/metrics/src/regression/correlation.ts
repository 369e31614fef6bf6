/** How predictions and targets go together. */
import {
  atMost,
  ArgumentError,
  arange,
  argsort,
  finfo,
  isFloatingPoint,
  kinds,
  maximum,
  signature,
  stack,
  tensor,
  unique,
  where,
  zeros,
  type Call,
  type OptionNames,
  type Tensor,
} from "@nbit/torch";
import { checkSameShape } from "../errors.js";
import { Metric, METRIC_OPTIONS, type MetricOptions, optionsOf } from "../metric.js";
import { dimZeroCat } from "../states.js";

export interface CorrelationArguments extends MetricOptions {
  /** How many numbers each sample has, `[n, numOutputs]`, with a correlation each. Default 1: `[n]`. */
  readonly numOutputs?: number;
}
const ROWS = {
  numOutputs: kinds.byDefault(1, kinds.whole("[1, ∞)")),
  ...METRIC_OPTIONS,
} satisfies OptionNames<CorrelationArguments>;
const read = signature("metric", ROWS, 1);
type CorrelationCall = Call<CorrelationArguments, ["numOutputs"], [numOutputs?: number]>;

function checkOutputs(name: string, preds: Tensor, target: Tensor, outputs: number): void {
  checkSameShape(name, preds, target);
  if (outputs === 1 ? preds.ndim !== 1 : preds.ndim !== 2 || preds.shape[1] !== outputs)
    throw new ArgumentError(
      name,
      outputs === 1 ? "preds of the shape [n]" : `preds of the shape [n, ${outputs}]`,
      preds,
    );
}

const MOMENTS = ["meanX", "meanY", "maxAbsDevX", "maxAbsDevY", "varX", "varY", "corrXY", "nTotal"] as const;
type Moments = Record<(typeof MOMENTS)[number], Tensor>;

/** Pearson's correlation, of moments that are updated batch by batch (Chan et al., 1983). */
export class PearsonCorrCoef extends Metric {
  declare meanX: Tensor;
  declare meanY: Tensor;
  declare maxAbsDevX: Tensor;
  declare maxAbsDevY: Tensor;
  declare varX: Tensor;
  declare varY: Tensor;
  declare corrXY: Tensor;
  declare nTotal: Tensor;
  readonly numOutputs: number;

  constructor(...given: CorrelationCall) {
    const { numOutputs, ...options } = read(given, new.target.name);
    super(optionsOf(options));
    this.numOutputs = numOutputs;
    // Those of several processes are stacked, and become one where they are needed.
    for (const name of MOMENTS) this.addState(name, zeros([numOutputs]), null);
  }
  update(preds: Tensor, target: Tensor): void {
    atMost(`${this.constructor.name}.update`, arguments, 2);
    checkOutputs(`${this.constructor.name}.update`, preds, target, this.numOutputs);
    const [x, y] = [preds.reshape([-1, this.numOutputs]), target.reshape([-1, this.numOutputs])];
    const n = x.shape[0] ?? 0;
    if (n === 0) return;
    const mean = { x: x.mean(0), y: y.mean(0) };
    const centred = { x: x.sub(mean.x), y: y.sub(mean.y) };
    const both = joined(this, {
      meanX: mean.x,
      meanY: mean.y,
      maxAbsDevX: centred.x.abs().amax(0),
      maxAbsDevY: centred.y.abs().amax(0),
      varX: centred.x.mul(centred.x).sum(0),
      varY: centred.y.mul(centred.y).sum(0),
      corrXY: centred.x.mul(centred.y).sum(0),
      nTotal: this.nTotal.mul(0).add(n),
    });
    // Deviations are from the mean of all.
    const farthest = (t: Tensor, from: Tensor): Tensor => t.sub(from).abs().amax(0);
    Object.assign(this, both, {
      maxAbsDevX: maximum(this.maxAbsDevX, farthest(x, both.meanX)),
      maxAbsDevY: maximum(this.maxAbsDevY, farthest(y, both.meanY)),
    });
  }
  compute(): Tensor {
    let moments: Moments = momentsOf((name) => this[name]);
    if (this.nTotal.ndim > 1) {
      const parts = Array.from({ length: this.nTotal.shape[0] ?? 0 }, (_, i) =>
        momentsOf((name) => this[name].select(0, i)),
      );
      moments = parts.reduce(joined);
    }
    const { maxAbsDevX, maxAbsDevY, varX, varY, corrXY, nTotal } = moments;
    const scaled = (sum: Tensor, by: Tensor): Tensor => sum.div(nTotal.sub(1)).div(by);
    const x = scaled(varX, maxAbsDevX.mul(maxAbsDevX));
    const y = scaled(varY, maxAbsDevY.mul(maxAbsDevY));
    const covariance = scaled(corrXY, maxAbsDevX.mul(maxAbsDevY));
    const bound = Math.sqrt(finfo(x.dtype).eps);
    const sound = x.ge(bound).logicalAnd(y.ge(bound)).logicalAnd(x.isfinite()).logicalAnd(y.isfinite());
    const value = covariance.div(x.mul(y).sqrt()).clamp(-1, 1);
    return where(sound.logicalAnd(covariance.isfinite()), value, NaN);
  }
}

function momentsOf(of: (name: keyof Moments) => Tensor): Moments {
  return Object.fromEntries(MOMENTS.map((name) => [name, of(name)])) as Moments;
}

/** Moments of two parts as those of both. */
function joined(a: Moments, b: Moments): Moments {
  const n = a.nTotal.add(b.nTotal);
  const share = where(n.eq(0), 0, b.nTotal.div(n));
  const [dx, dy] = [b.meanX.sub(a.meanX), b.meanY.sub(a.meanY)];
  const between = a.nTotal.mul(share);
  return {
    meanX: a.meanX.add(dx.mul(share)),
    meanY: a.meanY.add(dy.mul(share)),
    maxAbsDevX: maximum(a.maxAbsDevX, b.maxAbsDevX),
    maxAbsDevY: maximum(a.maxAbsDevY, b.maxAbsDevY),
    varX: a.varX.add(b.varX).add(dx.mul(dx).mul(between)),
    varY: a.varY.add(b.varY).add(dy.mul(dy).mul(between)),
    corrXY: a.corrXY.add(b.corrXY).add(dx.mul(dy).mul(between)),
    nTotal: n,
  };
}

/** Spearman's correlation: that of ranks. Keeps all it sees; computing waits for the device. */
export class SpearmanCorrCoef extends Metric {
  declare preds: Tensor[];
  declare target: Tensor[];
  readonly numOutputs: number;
  constructor(...given: CorrelationCall) {
    const { numOutputs, ...options } = read(given, new.target.name);
    super(optionsOf(options));
    this.numOutputs = numOutputs;
    this.addState("preds", [], "cat");
    this.addState("target", [], "cat");
  }
  update(preds: Tensor, target: Tensor): void {
    atMost(`${this.constructor.name}.update`, arguments, 2);
    const name = `${this.constructor.name}.update`;
    checkOutputs(name, preds, target, this.numOutputs);
    if (!isFloatingPoint(preds.dtype) || !isFloatingPoint(target.dtype))
      throw new ArgumentError(name, "floating-point preds and target", preds);
    this.preds.push(preds.clone());
    this.target.push(target.clone());
  }
  compute(): Tensor {
    const ranks = (t: Tensor): Tensor =>
      this.numOutputs === 1
        ? ranksOf(t)
        : stack(
            Array.from({ length: this.numOutputs }, (_, i) => ranksOf(t.select(1, i))),
            1,
          );
    const centred = (t: Tensor): Tensor => t.sub(t.mean(0));
    const [x, y] = [centred(ranks(dimZeroCat(this.preds))), centred(ranks(dimZeroCat(this.target)))];
    const deviation = (t: Tensor): Tensor => t.mul(t).mean(0).sqrt();
    return x
      .mul(y)
      .mean(0)
      .div(deviation(x).mul(deviation(y)).add(1e-6))
      .clamp(-1, 1);
  }
}

/** 1 for the least; equal values share the mean of theirs. */
function ranksOf(data: Tensor): Tensor {
  const n = data.numel();
  const places = arange(1, n + 1, { dtype: "float32", device: data.device });
  const rank = zeros([n], { device: data.device }).scatter(0, argsort(data), places);
  const [values, inverse, counts] = unique(data, true, true, true) as unknown as [Tensor, Tensor, Tensor];
  const sums = zeros([values.numel()], { device: data.device }).scatterAdd(0, inverse, rank);
  return sums.div(counts).indexSelect(0, inverse);
}

export type VectorReduction = "sum" | "mean" | "none" | null;
export interface CosineArguments extends MetricOptions {
  /** Default `"sum"`. */
  readonly reduction?: VectorReduction;
}
const reduction = (value: VectorReduction): { readonly default: VectorReduction } & kinds.Kind<VectorReduction> =>
  kinds.byDefault(value, kinds.orNull(kinds.oneOf("sum", "mean", "none")) as kinds.Kind<VectorReduction>);
const readCosine = signature("CosineSimilarity", { reduction: reduction("sum"), ...METRIC_OPTIONS }, 1);

function reduced(t: Tensor, how: VectorReduction): Tensor {
  return how === "sum" ? t.sum() : how === "mean" ? t.mean() : t.clone();
}

/** The cosine of the angle between predictions and targets, `[n, d]`. Keeps all it sees. */
export class CosineSimilarity extends Metric {
  static override readonly higherIsBetter: boolean = true;
  declare preds: Tensor[];
  declare target: Tensor[];
  readonly reduction: VectorReduction;
  constructor(...given: Call<CosineArguments, ["reduction"], [reduction?: VectorReduction]>) {
    const { reduction: how, ...options } = readCosine(given, new.target.name);
    super(optionsOf(options));
    this.reduction = how;
    this.addState("preds", [], "cat");
    this.addState("target", [], "cat");
  }
  update(preds: Tensor, target: Tensor): void {
    atMost(`${this.constructor.name}.update`, arguments, 2);
    const name = `${this.constructor.name}.update`;
    checkSameShape(name, preds, target);
    if (preds.ndim !== 2) throw new ArgumentError(name, "preds of the shape [n, d]", preds);
    this.preds.push(preds.to({ dtype: "float32", copy: true }));
    this.target.push(target.to({ dtype: "float32", copy: true }));
  }
  compute(): Tensor {
    const [x, y] = [dimZeroCat(this.preds), dimZeroCat(this.target)];
    const length = (t: Tensor): Tensor => t.mul(t).sum(-1).sqrt();
    return reduced(
      x
        .mul(y)
        .sum(-1)
        .div(length(x).mul(length(y))),
      this.reduction,
    );
  }
}

export interface KLDivergenceArguments extends MetricOptions {
  /** Whether logarithms of probabilities are given. Default false: they are normalised first. */
  readonly logProb?: boolean;
  /** Default `"mean"`. */
  readonly reduction?: VectorReduction;
}
const readKl = signature(
  "KLDivergence",
  { logProb: kinds.byDefault(false, kinds.flag), reduction: reduction("mean"), ...METRIC_OPTIONS },
  2,
);

/** How far distributions `q` are from `p`, both `[n, classes]`, in nats. */
export class KLDivergence extends Metric {
  static override readonly higherIsBetter: boolean = false;
  declare measures: Tensor | Tensor[];
  declare total: Tensor;
  readonly logProb: boolean;
  readonly reduction: VectorReduction;
  constructor(
    ...given: Call<KLDivergenceArguments, ["logProb", "reduction"], [logProb?: boolean, reduction?: VectorReduction]>
  ) {
    const { logProb, reduction: how, ...options } = readKl(given, new.target.name);
    super(optionsOf(options));
    this.logProb = logProb;
    this.reduction = how;
    if (how === null || how === "none") this.addState("measures", [], "cat");
    else this.addState("measures", zeros([]), "sum");
    this.addState("total", tensor(0, { dtype: "int64" }), "sum");
  }
  update(p: Tensor, q: Tensor): void {
    atMost(`${this.constructor.name}.update`, arguments, 2);
    const name = `${this.constructor.name}.update`;
    checkSameShape(name, p, q);
    if (p.ndim !== 2) throw new ArgumentError(name, "distributions of the shape [n, classes]", p);
    const normal = (t: Tensor): Tensor => t.div(t.sum([-1], true));
    const [a, b] = this.logProb ? [p, q] : [normal(p), normal(q)];
    const terms = this.logProb ? a.exp().mul(a.sub(b)) : where(a.eq(0), 0, a.mul(a.div(b).log()));
    const measures = terms.sum(-1);
    if (Array.isArray(this.measures)) this.measures.push(measures);
    else this.measures = this.measures.add(measures.sum());
    this.total = this.total.add(p.shape[0] ?? 0);
  }
  compute(): Tensor {
    const measures = dimZeroCat(this.measures);
    return this.reduction === "mean" ? measures.div(this.total) : measures.clone();
  }
}
