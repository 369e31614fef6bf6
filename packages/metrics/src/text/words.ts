/** Metrics of words: text is split at white space. */
import {
  atMost,
  ArgumentError,
  kinds,
  signature,
  tensor,
  zeros,
  type Call,
  type OptionNames,
  type Tensor,
} from "@nbit/torch";
import { Metric, METRIC_OPTIONS, type MetricOptions, optionsOf } from "../metric.js";

const words = (text: string): readonly string[] => text.split(/\s+/u).filter((word) => word !== "");
/** One text, or several. */
function textsOf(fn: string, what: string, given: string | readonly string[]): readonly string[] {
  const list: unknown = typeof given === "string" ? [given] : given;
  if (!Array.isArray(list) || !list.every((text) => typeof text === "string"))
    throw new ArgumentError(fn, `${what} to be a text, or an array of texts`, given);
  return list;
}

/** The fewest insertions, deletions and replacements that make one list of the other. */
export function editDistance(from: readonly string[], to: readonly string[]): number {
  let row = Array.from({ length: to.length + 1 }, (_, i) => i);
  for (const [i, word] of from.entries()) {
    const next = [i + 1];
    for (const [j, other] of to.entries())
      next.push(Math.min((row[j] ?? 0) + (word === other ? 0 : 1), (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    row = next;
  }
  return row.at(-1) ?? 0;
}

function checkLengths(name: string, preds: readonly unknown[], target: readonly unknown[]): void {
  if (preds.length !== target.length)
    throw new ArgumentError(name, `as many targets as predictions, ${preds.length}`, target.length);
}

const readPlain = signature("metric", METRIC_OPTIONS, 0);

abstract class ErrorRate extends Metric {
  static override readonly higherIsBetter: boolean = false;
  declare errors: Tensor;
  declare total: Tensor;
  constructor(...given: Call<MetricOptions, [], []>) {
    super(optionsOf(readPlain(given, new.target.name)));
    this.addState("errors", zeros([]), "sum");
    this.addState("total", zeros([]), "sum");
  }
  update(preds: string | readonly string[], target: string | readonly string[]): void {
    atMost(`${this.constructor.name}.update`, arguments, 2);
    const name = `${this.constructor.name}.update`;
    const [said, meant] = [textsOf(name, "preds", preds), textsOf(name, "target", target)];
    checkLengths(name, said, meant);
    let errors = 0;
    let total = 0;
    for (const [i, text] of said.entries()) {
      const expected = this.parts(meant[i] ?? "");
      errors += editDistance(this.parts(text), expected);
      total += expected.length;
    }
    this.errors = this.errors.add(errors);
    this.total = this.total.add(total);
  }
  compute(): Tensor {
    return this.errors.div(this.total);
  }
  protected abstract parts(text: string): readonly string[];
}

/** Edits of words, as a share of the words that are meant. */
export class WordErrorRate extends ErrorRate {
  protected parts(text: string): readonly string[] {
    return words(text);
  }
}
/** Edits of characters, as a share of the characters that are meant. */
export class CharErrorRate extends ErrorRate {
  protected parts(text: string): readonly string[] {
    return [...text];
  }
}

export interface BLEUScoreArguments extends MetricOptions {
  /** Up to how many words in a row. Default 4. */
  readonly nGram?: number;
  /** Whether one is added to each count beyond single words. Default false. */
  readonly smooth?: boolean;
  /** Of each length. Default null: alike. */
  readonly weights?: readonly number[] | null;
}
const BLEU = {
  nGram: kinds.byDefault(4, kinds.whole("[1, ∞)")),
  smooth: kinds.byDefault(false, kinds.flag),
  weights: kinds.byDefault(
    null,
    kinds.such<readonly number[] | null>(
      "numbers, or null",
      (v) => v === null || (Array.isArray(v) && v.every((w) => typeof w === "number")),
    ),
  ),
  ...METRIC_OPTIONS,
} satisfies OptionNames<BLEUScoreArguments>;
const readBleu = signature("BLEUScore", BLEU, 3);

/** How many runs of words of predictions stand in one of their references (Papineni et al., 2002). */
export class BLEUScore extends Metric {
  static override readonly higherIsBetter: boolean = true;
  declare predsLen: Tensor;
  declare targetLen: Tensor;
  declare numerator: Tensor;
  declare denominator: Tensor;
  readonly nGram: number;
  readonly smooth: boolean;
  readonly weights: readonly number[];
  constructor(
    ...given: Call<
      BLEUScoreArguments,
      ["nGram", "smooth", "weights"],
      [nGram?: number, smooth?: boolean, weights?: readonly number[] | null]
    >
  ) {
    const { nGram, smooth, weights, ...options } = readBleu(given, new.target.name);
    if (weights !== null && weights.length !== nGram)
      throw new ArgumentError(new.target.name, `as many weights as nGram, ${nGram}`, weights);
    super(optionsOf(options));
    this.nGram = nGram;
    this.smooth = smooth;
    this.weights = weights ?? Array<number>(nGram).fill(1 / nGram);
    this.addState("predsLen", zeros([]), "sum");
    this.addState("targetLen", zeros([]), "sum");
    this.addState("numerator", zeros([nGram]), "sum");
    this.addState("denominator", zeros([nGram]), "sum");
  }
  /** @param target - Of each prediction its references: a text, or several. */
  update(preds: string | readonly string[], target: readonly (string | readonly string[])[]): void {
    atMost(`${this.constructor.name}.update`, arguments, 2);
    const name = `${this.constructor.name}.update`;
    const said = textsOf(name, "preds", preds);
    if (!Array.isArray(target))
      throw new ArgumentError(name, "target to be an array, of each prediction its references", target);
    checkLengths(name, said, target);
    const counts = { numerator: Array<number>(this.nGram).fill(0), denominator: Array<number>(this.nGram).fill(0) };
    const lengths = { preds: 0, target: 0 };
    for (const [i, text] of said.entries()) {
      const own = words(text);
      const references = textsOf(name, "target", target[i] ?? []).map(words);
      lengths.preds += own.length;
      lengths.target += nearestLength(own.length, references);
      const most = new Map<string, number>();
      for (const reference of references)
        for (const [gram, count] of grams(reference, this.nGram)) most.set(gram, Math.max(most.get(gram) ?? 0, count));
      for (const [gram, count] of grams(own, this.nGram)) {
        const at = gram.split("\n").length - 1;
        counts.numerator[at] = (counts.numerator[at] ?? 0) + Math.min(count, most.get(gram) ?? 0);
        counts.denominator[at] = (counts.denominator[at] ?? 0) + count;
      }
    }
    this.predsLen = this.predsLen.add(lengths.preds);
    this.targetLen = this.targetLen.add(lengths.target);
    this.numerator = this.numerator.add(tensor(counts.numerator));
    this.denominator = this.denominator.add(tensor(counts.denominator));
  }
  compute(): Tensor {
    const found = this.numerator.tolist() as number[];
    if (Math.min(...found) === 0) return tensor(0);
    const all = this.denominator.tolist() as number[];
    const more = (i: number): number => (this.smooth && i > 0 ? 1 : 0);
    const precisions = tensor(found.map((n, i) => (n + more(i)) / ((all[i] ?? 0) + more(i))));
    const mean = tensor([...this.weights])
      .mul(precisions.log())
      .sum()
      .exp();
    const [own, meant] = [Number(this.predsLen.item()), Number(this.targetLen.item())];
    return own > meant ? mean : mean.mul(Math.exp(1 - meant / own));
  }
}

function nearestLength(length: number, references: readonly (readonly string[])[]): number {
  let best: number | null = null;
  for (const reference of references)
    if (best === null || Math.abs(reference.length - length) < Math.abs(best - length)) best = reference.length;
  return best ?? 0;
}

/** Runs of up to `most` words, joined by line ends, which no word has, with how often each occurs. */
function grams(list: readonly string[], most: number): Map<string, number> {
  const counts = new Map<string, number>();
  for (let n = 1; n <= most; n++)
    for (let i = 0; i + n <= list.length; i++) {
      const gram = list.slice(i, i + n).join("\n");
      counts.set(gram, (counts.get(gram) ?? 0) + 1);
    }
  return counts;
}
