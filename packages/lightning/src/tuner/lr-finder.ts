import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import {
  atMost,
  checkOptions,
  gradient,
  kinds,
  scope,
  signature,
  tensor,
  withFile,
  type Call,
  type OptionNames,
} from "@nbit/torch";
import { drawRange } from "./lr-plot.js";

export type LRFinderMode = "exponential" | "linear";
export interface SuggestionOptions {
  /** Values at the beginning that do not count. Default 10. */
  readonly skipBegin?: number;
  /** Values at the end that do not count. Default 1. */
  readonly skipEnd?: number;
}
const readSuggestion = signature("suggestion", {
  skipBegin: kinds.byDefault(10, kinds.whole("[0, ∞)")),
  skipEnd: kinds.byDefault(1, kinds.whole("[0, ∞)")),
} satisfies OptionNames<SuggestionOptions>);

export interface PlotOptions {
  /** Mark the suggestion. Default false. */
  readonly suggest?: boolean;
  /** Where the SVG goes. Default "lr_find.svg". */
  readonly path?: string;
}
const PLOT: OptionNames<PlotOptions> = { suggest: kinds.flag, path: kinds.filled };

/** What a search for a learning rate has seen: rates and losses, what to make of them, and their picture. */
export class LRFinder {
  /** Rates that were tried, and the smoothed loss with each; NaN where a step had none. */
  results: { readonly lr: readonly number[]; readonly loss: readonly number[] } = { lr: [], loss: [] };

  /** @internal */
  constructor(
    readonly mode: LRFinderMode,
    readonly lrMin: number,
    readonly lrMax: number,
    readonly numTraining: number,
  ) {
    atMost("LRFinder", arguments, 4);
  }

  /** @internal The rate of a step. */
  rateAt(step: number): number {
    atMost("LRFinder.rateAt", arguments, 1);
    const { lrMin, lrMax, numTraining } = this;
    if (step === 0) return lrMin;
    const share = (step + 1) / numTraining;
    return this.mode === "linear" ? lrMin + share * (lrMax - lrMin) : lrMin * (lrMax / lrMin) ** share;
  }

  /**
   * The rate at which the loss falls most steeply; null where there are fewer than two finite losses. Arguments:
   * skipBegin, skipEnd.
   */
  suggestion(
    ...given: Call<SuggestionOptions, ["skipBegin", "skipEnd"], [skipBegin?: number, skipEnd?: number]>
  ): number | null {
    const { skipBegin, skipEnd } = readSuggestion(given);
    const { lr, loss } = this.results;
    const counted = lr
      .map((rate, i) => ({ rate, loss: loss[i] ?? NaN }))
      .slice(skipBegin, Math.max(skipBegin, lr.length - skipEnd))
      .filter((point) => Number.isFinite(point.loss));
    if (counted.length < 2) return null;
    return scope(() => {
      const rates = tensor(
        counted.map((point) => point.rate),
        { dtype: "float32" },
      );
      const losses = tensor(
        counted.map((point) => point.loss),
        { dtype: "float32" },
      );
      const [slopes] = gradient(losses, { spacing: [rates] });
      return counted[slopes?.argmin().item() ?? 0]?.rate ?? null;
    });
  }

  /**
   * Draw loss over rate into an SVG file. @returns its path.
   * @example (await new Tuner(trainer).lrFind(model))?.plot({ suggest: true, path: "lr.svg" });
   */
  plot(options: PlotOptions = {}): string {
    atMost("LRFinder.plot", arguments, 1);
    checkOptions("LRFinder.plot", options, PLOT);
    const { suggest = false, path = "lr_find.svg" } = options;
    const target = resolve(path);
    const picture = drawRange(this.results, this.mode === "exponential", suggest ? this.suggestion() : null);
    withFile("LRFinder.plot", "write", target, () => {
      writeFileSync(target, picture);
    });
    return target;
  }
}
