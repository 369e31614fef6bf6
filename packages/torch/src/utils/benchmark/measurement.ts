/** What a timer has measured, and what it says of it. As torch.utils.benchmark. */
import { ArgumentError } from "../../errors.js";
import { iterable, listOf, orNull, real, text, whole } from "../../kinds.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../../options.js";

/** What was measured, but for the function itself. Measurements with equal tasks are repetitions of one. */
export interface TaskSpec {
  /** The measured function as text: its name, or its source. */
  readonly stmt: string;
  /** What the measurements of one table share. Default null. */
  readonly label: string | null;
  /** Tells rows of the table apart. Default null: `stmt` does. */
  readonly subLabel: string | null;
  /** Tells columns apart. Default null. */
  readonly description: string | null;
  /** Tells surroundings of equal tasks apart, such as two builds. Default null. */
  readonly env: string | null;
  readonly numThreads: number;
}
const TASK: OptionNames<TaskSpec> = {
  stmt: text,
  label: orNull(text),
  subLabel: orNull(text),
  description: orNull(text),
  env: orNull(text),
  numThreads: whole("[1, ∞)"),
};

const MOST_FIGURES = 4;
/** Seconds: differences below are of the clock. */
const LEAST_CONFIDENCE = 25e-9;
const SPREAD_WARNING = 0.1;
const SPREAD_GROSS = 0.25;

/** The quantile between the two values around it, in proportion. */
function quantile(sorted: readonly number[], q: number): number {
  const at = (sorted.length - 1) * q;
  const low = sorted[Math.floor(at)] ?? NaN;
  const high = sorted[Math.ceil(at)] ?? NaN;
  return low + (high - low) * (at - Math.floor(at));
}

/**
 * Times of one task: each raw time is of `numberPerRun` calls, every figure is of one call, in seconds.
 *
 * @throws {ArgumentError} for no times, or one that is no number ≥ 0.
 */
export class Measurement {
  readonly numberPerRun: number;
  readonly rawTimes: readonly number[];
  readonly taskSpec: TaskSpec;
  /** The caller's own. */
  readonly metadata: Readonly<Record<string, unknown>> | null;
  readonly #sorted: readonly number[];

  constructor(
    numberPerRun: number,
    rawTimes: readonly number[],
    taskSpec: TaskSpec,
    metadata: Readonly<Record<string, unknown>> | null = null,
  ) {
    atMost("Measurement", arguments, 4);
    checkArguments(
      "Measurement",
      { numberPerRun, rawTimes },
      { numberPerRun: whole("[1, ∞)"), rawTimes: listOf(real("[0, ∞)")) },
    );
    checkOptions("Measurement", taskSpec, TASK);
    if (rawTimes.length === 0) throw new ArgumentError("Measurement", "rawTimes to have at least one", rawTimes);
    this.numberPerRun = numberPerRun;
    this.rawTimes = [...rawTimes];
    this.taskSpec = { ...taskSpec };
    this.metadata = metadata;
    this.#sorted = this.times.sort((a, b) => a - b);
  }

  /** Seconds of a call, in the order of measuring. */
  get times(): number[] {
    return this.rawTimes.map((time) => time / this.numberPerRun);
  }
  get median(): number {
    return quantile(this.#sorted, 0.5);
  }
  get mean(): number {
    return this.#sorted.reduce((sum, time) => sum + time, 0) / this.#sorted.length;
  }
  /** From the first to the third quartile. */
  get iqr(): number {
    return quantile(this.#sorted, 0.75) - quantile(this.#sorted, 0.25);
  }
  /** How many digits of the median mean something, from 1 to 4: by the spread of the times between the quartiles. */
  get significantFigures(): number {
    const n = this.#sorted.length;
    const inner = this.#sorted.slice(Math.floor(n / 4), Math.ceil((3 * n) / 4));
    const mean = inner.reduce((sum, time) => sum + time, 0) / inner.length;
    const deviation = Math.sqrt(inner.reduce((sum, time) => sum + (time - mean) ** 2, 0) / inner.length);
    const interval = Math.max((1.645 * deviation) / Math.sqrt(inner.length), LEAST_CONFIDENCE);
    const figures = Math.floor(Math.log10(this.median / interval));
    return Math.min(Math.max(Number.isFinite(figures) ? figures : 1, 1), MOST_FIGURES);
  }
  /** Whether the spread is below a share of the median. */
  meetsConfidence(threshold = SPREAD_WARNING): boolean {
    atMost("Measurement.meetsConfidence", arguments, 1);
    checkArguments("Measurement.meetsConfidence", { threshold }, { threshold: real("(0, ∞)") });
    return this.iqr / this.median < threshold;
  }
  get hasWarnings(): boolean {
    return !this.meetsConfidence();
  }

  get label(): string | null {
    return this.taskSpec.label;
  }
  get subLabel(): string | null {
    return this.taskSpec.subLabel;
  }
  get description(): string | null {
    return this.taskSpec.description;
  }
  get env(): string | null {
    return this.taskSpec.env;
  }
  get numThreads(): number {
    return this.taskSpec.numThreads;
  }
  get stmt(): string {
    return this.taskSpec.stmt;
  }
  get title(): string {
    return `${this.label ?? this.stmt}${this.subLabel === null ? "" : `: ${this.subLabel}`}`;
  }
  /** What a table calls its row. */
  get asRowName(): string {
    return this.subLabel ?? (this.stmt === "" ? "[Unknown]" : this.stmt);
  }

  toString(): string {
    const { unit, scale } = selectUnit(this.median);
    const shown = (seconds: number): string => (seconds / scale).toFixed(2);
    const n = this.#sorted.length;
    const [first, third] = [quantile(this.#sorted, 0.25), quantile(this.#sorted, 0.75)];
    const threads = `${this.numThreads} thread${this.numThreads > 1 ? "s" : ""}`;
    const lines = [
      this.title,
      ...(this.description === null ? [] : [this.description]),
      `  ${n > 1 ? "Median: " : ""}${shown(this.median)} ${unit}`,
      ...(n >= 4 ? [`  IQR:    ${shown(this.iqr)} ${unit} (${shown(first)} to ${shown(third)})`] : []),
      n > 1
        ? `  ${n} measurements, ${this.numberPerRun} runs per measurement, ${threads}`
        : `  1 measurement, ${this.numberPerRun} runs, ${threads}`,
    ];
    if (this.hasWarnings) {
      const gross = !this.meetsConfidence(SPREAD_GROSS);
      lines.push(
        `  WARNING: the interquartile range is ${((this.iqr / this.median) * 100).toFixed(1)}% of the median: ${gross ? "something else used this machine" : "the machine's speed varied"}.`,
      );
    }
    return lines.join("\n");
  }
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString();
  }

  /** Repetitions of the same tasks as one measurement each. Metadata are not carried over. */
  static merge(measurements: Iterable<Measurement>): Measurement[] {
    atMost("Measurement.merge", arguments, 1);
    checkArguments("Measurement.merge", { measurements }, { measurements: iterable });
    const groups = new Map<string, { readonly spec: TaskSpec; readonly times: number[] }>();
    for (const each of measurements) {
      if (!(each instanceof Measurement)) throw new ArgumentError("Measurement.merge", "Measurements", each);
      const key = JSON.stringify(each.taskSpec);
      const known = groups.get(key);
      if (known === undefined) groups.set(key, { spec: each.taskSpec, times: each.times });
      else known.times.push(...each.times);
    }
    return [...groups.values()].map(({ spec, times }) => new Measurement(1, times, spec));
  }
}

/** The unit in which a time has one to three digits before the point, and its seconds. */
export function selectUnit(t: number): { readonly unit: "ns" | "us" | "ms" | "s"; readonly scale: number } {
  atMost("selectUnit", arguments, 1);
  checkArguments("selectUnit", { t }, { t: real("[0, ∞)") });
  if (t < 1e-6) return { unit: "ns", scale: 1e-9 };
  if (t < 1e-3) return { unit: "us", scale: 1e-6 };
  return t < 1 ? { unit: "ms", scale: 1e-3 } : { unit: "s", scale: 1 };
}
/** `x` with `n` digits that are not zeros: 3.14159 with 2 is 3.1. */
export function trimSigfig(x: number, n: number): number {
  atMost("trimSigfig", arguments, 2);
  checkArguments("trimSigfig", { x, n }, { x: real("(-∞, ∞)"), n: whole("[1, 100]") });
  return Number(x.toPrecision(n));
}
export const UNIT_WORDS = { ns: "nanoseconds", us: "microseconds", ms: "milliseconds", s: "seconds" } as const;
