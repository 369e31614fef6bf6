import { atMost, checkArguments, checkOptions, kinds, type OptionNames } from "@nbit/torch/options";
import stringWidth from "string-width";
import { distinct } from "./names.js";
import { RUN } from "./records.js";
import type { Run } from "./records.js";
import { columnsOf, precisionOf, type Column } from "./table.js";
import { padded, shortened, wrapped } from "./text.js";

export interface ComparisonOptions {
  /** What one element of a batch is, in the plural. Default "samples". */
  readonly unit?: string;
  /**
   * Columns of the terminal, ≥ 20. Where the table is wider, names are shortened; where that is not enough, each run is
   * a list of its own. Default: as wide as it needs.
   */
  readonly columns?: number;
}
const NAMES: OptionNames<ComparisonOptions> = { unit: kinds.text, columns: kinds.whole("[20, ∞)") };

/** In a terminal. */
const LONGEST_NAME = 40;
const SHORTEST_NAME = 12;

/**
 * The report's comparison as text for a terminal: one line per run, numbers right-aligned, the heading on two lines.
 *
 * @example
 * console.log(comparisonText(findRunLogs("runs").flatMap((path) => readRunLogs(path)), { unit: "images" }));
 */
export function comparisonText(runs: readonly Run[], options: ComparisonOptions = {}): string {
  atMost("comparisonText", arguments, 2);
  checkArguments("comparisonText", { runs }, { runs: kinds.listOf(RUN) });
  checkOptions("comparisonText", options, NAMES);
  const named = distinct(runs);
  const columns = columnsOf(named, options.unit ?? "samples");
  const room = options.columns ?? Infinity;
  const widest = Math.max(0, ...named.map(({ name }) => stringWidth(name)));
  const whole = tableOf(named, columns, LONGEST_NAME);
  const over = widthOf(whole) - room;
  if (over <= 0) return whole.join("\n");
  const most = Math.min(LONGEST_NAME, widest) - over;
  return (most >= SHORTEST_NAME ? tableOf(named, columns, most) : listsOf(named, columns, room)).join("\n");
}

const widthOf = (lines: readonly string[]): number => Math.max(...lines.map((line) => stringWidth(line)));

function tableOf(runs: readonly Run[], columns: readonly Column[], longestName: number): string[] {
  const heads = columns.map(({ title }) => breakTitle(title));
  const grid = [
    ["", "", ...heads.map(([first]) => first)],
    ["Run", "Precision", ...heads.map(([, second]) => second)],
    ...runs.map((run, i) => [
      shortened(run.name, longestName),
      precisionOf(run),
      ...columns.map(({ cells }) => cells[i]?.text ?? "–"),
    ]),
  ];
  const widths = (grid[0] ?? []).map((_, c) => Math.max(...grid.map((row) => stringWidth(row[c] ?? ""))));
  const lines = grid.map((row) =>
    ` ${row.map((cell, c) => padded(cell, widths[c] ?? 0, c < 2 ? "left" : "right")).join("   ")}`.trimEnd(),
  );
  const rule = "─".repeat(widths.reduce((sum, w) => sum + w, 0) + 3 * (widths.length - 1) + 2);
  return [...lines.slice(0, 2), rule, ...lines.slice(2)];
}

/** A run below the other, with a line for each figure. */
function listsOf(runs: readonly Run[], columns: readonly Column[], room: number): string[] {
  const titles = ["Precision", ...columns.map(({ title }) => title)].map((title) => shortened(title, room - 12));
  const width = Math.max(...titles.map((title) => stringWidth(title)));
  return runs.flatMap((run, i) => {
    const texts = [precisionOf(run), ...columns.map(({ cells }) => cells[i]?.text ?? "–")];
    const lines = titles.flatMap((title, t) =>
      wrapped(texts[t] ?? "", room - width - 4).map(
        (text, below) => `  ${padded(below === 0 ? title : "", width)}  ${text}`,
      ),
    );
    return [...(i === 0 ? [] : [""]), shortened(run.name, room), ...lines];
  });
}

/** `Peak training memory` → `Peak training`, `memory`: the last word goes below. */
function breakTitle(title: string): [string, string] {
  const at = title.lastIndexOf(" ");
  return at < 0 ? ["", title] : [title.slice(0, at), title.slice(at + 1)];
}
