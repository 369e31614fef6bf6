/** Lists of events: sums by operator, tables and files. */
import { byDefault, flag, oneOf, orNull, such, text, whole } from "../kinds.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../options.js";
import { writeText } from "../io/replace.js";
import { signature } from "../signature.js";
import { FunctionEvent, FunctionEventAvg, type EventFigures } from "./event.js";
import { buildTable, shapesText, SORT_KEYS, type SortKey, type TableOptions } from "./table.js";

const EVENTS = such<readonly EventFigures[]>(
  "an array of events",
  (v) => Array.isArray(v) && v.every((e) => e instanceof FunctionEvent || e instanceof FunctionEventAvg),
);
const WIDTH = whole("[8, ∞)");
const TABLE: OptionNames<TableOptions> = {
  sortBy: orNull(oneOf<SortKey>(...SORT_KEYS)),
  rowLimit: whole("[-1, ∞)"),
  maxSrcColumnWidth: WIDTH,
  maxNameColumnWidth: WIDTH,
  maxShapesColumnWidth: WIDTH,
  header: orNull(text),
  topLevelEventsOnly: flag,
  timeUnit: orNull(oneOf("s", "ms", "us")),
};

export interface KeyAveragesOptions {
  /** Calls with other input shapes apart. Needs `recordShapes`. Default false. */
  readonly groupByInputShape?: boolean;
  /** Calls from other places apart, by so many lines of the program. Needs `withStack`. Default 0. */
  readonly groupByStackN?: number;
}
/** @internal */
export const readKeys = signature("keyAverages", {
  groupByInputShape: byDefault(false, flag),
  groupByStackN: byDefault(0, whole("[0, ∞)")),
});
export type KeyAveragesCall =
  | readonly [groupByInputShape?: boolean, groupByStackN?: number]
  | readonly [groupByInputShape: boolean, options: Omit<KeyAveragesOptions, "groupByInputShape">]
  | readonly [options: KeyAveragesOptions];

/** What can be exported as stacks: microseconds of an event's own. */
export type StackMetric = "self_cpu_time_total" | "self_cuda_time_total" | "selfCpuTimeTotal" | "selfDeviceTimeTotal";
const METRIC = oneOf<StackMetric>(
  "self_cpu_time_total",
  "self_cuda_time_total",
  "selfCpuTimeTotal",
  "selfDeviceTimeTotal",
);

/** @internal What was recorded. */
export interface ListAbout {
  readonly device: string | null;
  readonly memory: boolean;
  readonly flops: boolean;
}

abstract class Listed<E extends EventFigures> implements Iterable<E> {
  /** @internal */
  constructor(
    protected readonly items: readonly E[],
    protected readonly about: ListAbout,
  ) {
    checkArguments(new.target.name, { items }, { items: EVENTS });
  }

  get length(): number {
    return this.items.length;
  }
  [Symbol.iterator](): Iterator<E> {
    return this.items[Symbol.iterator]();
  }
  at(index: number): E | undefined {
    atMost("EventList.at", arguments, 1);
    checkArguments("EventList.at", { index }, { index: whole("(-∞, ∞)") });
    return this.items.at(index);
  }
  toArray(): E[] {
    atMost("EventList.toArray", arguments, 0);
    return [...this.items];
  }
  /** Microseconds that all of them took on the CPU, each without what ran within it. */
  get selfCpuTimeTotal(): number {
    return this.items.reduce((total, event) => total + event.selfCpuTimeTotal, 0);
  }
  /**
   * A table for people: `prof.keyAverages().table({ sortBy: "cpuTimeTotal", rowLimit: 10 })`. Shares are of the time
   * that all events took, each without what ran within it.
   */
  table(options: TableOptions = {}): string {
    atMost("EventList.table", arguments, 1);
    checkOptions("EventList.table", options, TABLE);
    return buildTable(this.items, options, this.about);
  }
  toString(): string {
    return this.table();
  }
}

/** Sums by operator. */
export class AverageList extends Listed<FunctionEventAvg> {}

/** Every event, in the order of their beginnings. */
export class EventList extends Listed<FunctionEvent> {
  /** Sums of the events of one name, and of one input shape or place where that is asked for. */
  keyAverages(...given: KeyAveragesCall): AverageList {
    const { groupByInputShape, groupByStackN } = readKeys(given);
    const sums = new Map<string, FunctionEventAvg>();
    for (const event of this.items) {
      const shapes = groupByInputShape ? event.inputShapes : null;
      const stack = event.stack.slice(0, groupByStackN);
      const key = [
        event.key,
        event.deviceType,
        String(event.isUserAnnotation),
        groupByInputShape ? shapesText(shapes ?? []) : "",
        ...stack,
      ].join("\n");
      let known = sums.get(key);
      if (known === undefined) sums.set(key, (known = new FunctionEventAvg(event.key, event, shapes, stack)));
      known.add(event);
    }
    return new AverageList([...sums.values()], this.about);
  }
  /** One sum over all. */
  totalAverage(): FunctionEventAvg | null {
    atMost("EventList.totalAverage", arguments, 0);
    const first = this.items[0];
    if (first === undefined) return null;
    const total = new FunctionEventAvg("Total", first, null, []);
    for (const event of this.items) total.add(event);
    return total;
  }
  /**
   * The stacks of the program with the time of each, for flame graphs (Brendan Gregg's collapsed format, which
   * speedscope and Perfetto open). Needs `withStack`.
   */
  exportStacks(path: string, metric: StackMetric = "self_cpu_time_total"): void {
    atMost("exportStacks", arguments, 2);
    checkArguments("exportStacks", { path, metric }, { path: text, metric: METRIC });
    const device = metric === "self_cuda_time_total" || metric === "selfDeviceTimeTotal";
    const lines: string[] = [];
    for (const event of this.items) {
      const value = Math.trunc(device ? event.selfDeviceTimeTotal : event.selfCpuTimeTotal);
      if (event.stack.length === 0 || value <= 0) continue;
      const frames = [...event.stack].reverse().map((frame) => frame.replace(/[ ;\t\n]/g, "_"));
      lines.push(`${frames.join(";")} ${value}\n`);
    }
    writeText("exportStacks", path, lines.join(""));
  }
}
