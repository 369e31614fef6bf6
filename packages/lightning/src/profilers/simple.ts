import { atMost, checkArguments, kinds, NbitError, type OptionNames } from "@nbit/torch";
import { pad, visibleWidth } from "../ui/ansi.js";
import { filesOf, Profiler, PROFILER_OPTIONS, type ProfilerOptions } from "./profiler.js";

export interface SimpleProfilerOptions extends ProfilerOptions {
  /** Columns of calls and shares. Default true. */
  readonly extended?: boolean;
}
const NAMES: OptionNames<SimpleProfilerOptions> = { ...PROFILER_OPTIONS, extended: kinds.flag };

interface Row {
  readonly action: string;
  readonly calls: number;
  /** Seconds. */
  readonly total: number;
}

/**
 * Sums up the time of every action: calls, mean and total in seconds, and the share of the time since the run began.
 * Actions lie in each other, so shares add up to more than 100 %.
 *
 * @throws {NbitError} `PROFILER_ACTION` when an action is started twice, or stopped without a start.
 * @example new Trainer({ profiler: "simple" })
 */
export class SimpleProfiler extends Profiler {
  readonly extended: boolean;
  readonly #open = new Map<string, number>();
  readonly #sums = new Map<string, { calls: number; total: number }>();
  #began = performance.now();

  constructor(options: SimpleProfilerOptions = {}) {
    atMost("SimpleProfiler", arguments, 1);
    super(filesOf("SimpleProfiler", options, NAMES));
    this.extended = options.extended ?? true;
  }

  /** Seconds of every action so far, in the order of their first ends. */
  get durations(): ReadonlyMap<string, { readonly calls: number; readonly total: number }> {
    return this.#sums;
  }

  start(actionName: string): void {
    atMost("SimpleProfiler.start", arguments, 1);
    checkArguments("SimpleProfiler.start", { actionName }, { actionName: kinds.text });
    if (this.#open.has(actionName))
      throw new NbitError(`SimpleProfiler.start: ${actionName} has been started already.`, "PROFILER_ACTION");
    this.#open.set(actionName, performance.now());
  }
  stop(actionName: string): void {
    atMost("SimpleProfiler.stop", arguments, 1);
    checkArguments("SimpleProfiler.stop", { actionName }, { actionName: kinds.text });
    const now = performance.now();
    const began = this.#open.get(actionName);
    if (began === undefined)
      throw new NbitError(`SimpleProfiler.stop: ${actionName} was never started.`, "PROFILER_ACTION");
    this.#open.delete(actionName);
    const sum = this.#sums.get(actionName);
    const seconds = (now - began) / 1e3;
    if (sum === undefined) this.#sums.set(actionName, { calls: 1, total: seconds });
    else {
      sum.calls++;
      sum.total += seconds;
    }
  }

  override summary(): string {
    atMost("SimpleProfiler.summary", arguments, 0);
    if (this.#sums.size === 0) return "";
    const elapsed = (performance.now() - this.#began) / 1e3;
    const rows: Row[] = [...this.#sums].map(([action, { calls, total }]) => ({ action, calls, total }));
    const title = `${this.stage === null ? "" : `${this.stage.toUpperCase()} `}Profiler Report`;
    return `${title}\n${this.extended ? extendedTable(rows, elapsed) : plainTable(rows)}`;
  }
  override teardown(): void {
    this.#open.clear();
    this.#sums.clear();
    this.#began = performance.now();
  }
}

const seconds = (value: number): string => String(Number(value.toPrecision(5)));

function extendedTable(rows: Row[], elapsed: number): string {
  rows.sort((a, b) => b.total - a.total);
  const calls = rows.reduce((sum, row) => sum + row.calls, 0);
  return ruled(
    ["Action", "Mean duration (s)", "Num calls", "Total time (s)", "Percentage %"],
    [
      ["Total", "-", String(calls), seconds(elapsed), "100 %"],
      ...rows.map(({ action, calls, total }) => [
        action,
        seconds(total / calls),
        String(calls),
        seconds(total),
        seconds((100 * total) / elapsed),
      ]),
    ],
    1,
  );
}
function plainTable(rows: Row[]): string {
  rows.sort((a, b) => b.total / b.calls - a.total / a.calls);
  return ruled(
    ["Action", "Mean duration (s)", "Total time (s)"],
    rows.map(({ action, calls, total }) => [action, seconds(total / calls), seconds(total)]),
    0,
  );
}
/** With a rule behind the first `totals` rows. */
function ruled(titles: readonly string[], rows: readonly (readonly string[])[], totals: number): string {
  const widths = titles.map((_, i) => Math.max(...[titles, ...rows].map((row) => visibleWidth(row[i] ?? ""))));
  const line = (row: readonly string[]): string =>
    `|  ${row.map((text, i) => pad(text, widths[i] ?? 0)).join("  |  ")}  |`;
  const rule = "-".repeat(visibleWidth(line(titles)));
  const body = rows.map(line);
  return [
    rule,
    line(titles),
    rule,
    ...body.slice(0, totals),
    ...(totals > 0 ? [rule] : []),
    ...body.slice(totals),
    rule,
    "",
  ].join("\n");
}
