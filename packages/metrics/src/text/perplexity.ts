import {
  atMost,
  ArgumentError,
  isFloatingPoint,
  kinds,
  nn,
  signature,
  where,
  zeros,
  type Call,
  type OptionNames,
  type Tensor,
} from "@nbit/torch";
import { validOf } from "../classification/labels.js";
import { checkTensors } from "../errors.js";
import { Metric, METRIC_OPTIONS, type MetricOptions, optionsOf } from "../metric.js";

export interface PerplexityArguments extends MetricOptions {
  /** Targets of this value are left out. Default null: none are. */
  readonly ignoreIndex?: number | null;
}
const ROWS = {
  ignoreIndex: kinds.byDefault(null, kinds.orNull(kinds.whole())),
  ...METRIC_OPTIONS,
} satisfies OptionNames<PerplexityArguments>;
const read = signature("Perplexity", ROWS, 1);

/** The exponential of the mean negative logarithm of the probability of each next token. */
export class Perplexity extends Metric {
  static override readonly higherIsBetter: boolean = false;
  declare totalLogProbs: Tensor;
  declare count: Tensor;
  readonly ignoreIndex: number | null;
  constructor(...given: Call<PerplexityArguments, ["ignoreIndex"], [ignoreIndex?: number | null]>) {
    const { ignoreIndex, ...options } = read(given, new.target.name);
    super(optionsOf(options));
    this.ignoreIndex = ignoreIndex;
    this.addState("totalLogProbs", zeros([]), "sum");
    this.addState("count", zeros([]), "sum");
  }
  /**
   * @param preds - Logits `[n, length, vocabulary]`.
   * @param target - int64 `[n, length]`.
   */
  update(preds: Tensor, target: Tensor): void {
    atMost(`${this.constructor.name}.update`, arguments, 2);
    const name = `${this.constructor.name}.update`;
    checkTensors(name, { preds, target });
    if (preds.ndim !== 3 || !isFloatingPoint(preds.dtype))
      throw new ArgumentError(name, "preds to be logits of the shape [n, length, vocabulary]", preds);
    if (target.ndim !== 2 || target.dtype !== "int64" || [0, 1].some((i) => target.shape[i] !== preds.shape[i]))
      throw new ArgumentError(name, `target to be int64 of the shape [${preds.shape.slice(0, 2).join(", ")}]`, target);
    const valid = validOf(target, this.ignoreIndex).flatten();
    const labels = where(valid, target.flatten(), 0);
    const logits = preds.reshape([-1, preds.shape[2] ?? 0]).to("float32");
    const logProbs = nn.functional.logSoftmax(logits, 1).gather(1, labels.unsqueeze(1)).squeeze(1);
    this.totalLogProbs = this.totalLogProbs.sub(where(valid, logProbs, 0).sum());
    this.count = this.count.add(valid.sum());
  }
  compute(): Tensor {
    return this.totalLogProbs.div(this.count).exp();
  }
}
