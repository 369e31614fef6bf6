/** What the addon hands over of a trace, as events. */
import { info } from "../native.js";
import { FunctionEvent, type EventScope } from "./event.js";
import { byStart, buildTree } from "./tree.js";

/** An event as the addon writes it; times in nanoseconds since the profiler began. */
export type RawEvent = readonly [
  name: string,
  start: number,
  duration: number,
  thread: number,
  fwdThread: number,
  sequenceNr: number,
  scope: number,
  activityType: number,
  deviceType: number,
  deviceIndex: number,
  correlationId: number,
  linkedCorrelationId: number,
  isAsync: number,
  bytes: number,
  flops: number,
  shapes: readonly (readonly number[])[] | null,
  dtypes: readonly string[] | null,
];

/** Memory that was allocated (or, negative, freed). */
export interface MemoryRecord {
  /** Microseconds since the profiler began. */
  readonly time: number;
  readonly bytes: number;
  readonly deviceType: string;
  readonly deviceIndex: number;
}

export interface ParsedTrace {
  readonly events: readonly FunctionEvent[];
  readonly memory: readonly MemoryRecord[];
}

const MEMORY = "[memory]";
const HIDDEN: ReadonlySet<string> = new Set([
  MEMORY,
  "[OutOfMemory]",
  "profiler::_record_function_enter",
  "profiler::_record_function_enter_new",
  "profiler::_record_function_exit",
  "aten::is_leaf",
  "aten::output_nr",
  "aten::_version",
]);
const ANNOTATIONS: ReadonlySet<number> = new Set([1, 2]); // of the program on the CPU, and where its kernels ran

const scopeOf = (code: number): EventScope =>
  code === 0 ? "function" : code === 1 ? "backward" : code === 7 ? "user" : "other";
const DEVICE_TYPES = info.devices.split(" ");
const typeOf = (code: number): string => DEVICE_TYPES[code] ?? `device ${code}`;

/**
 * Events in the order of their beginnings, with their trees, memory and kernels. Memory that changed hands outside of
 * all events has an event of its own, `[memory]`.
 */
export function parseTrace(raw: readonly RawEvent[]): ParsedTrace {
  const memory = raw
    .filter(([name]) => name === MEMORY)
    .map((e) => ({ time: e[1] / 1e3, bytes: e[13], deviceType: typeOf(e[8]), deviceIndex: e[9] }))
    .sort((a, b) => a.time - b.time);
  const sums = new MemorySums(memory);
  const events: FunctionEvent[] = [];
  const byId = new Map<number, FunctionEvent>();
  const linked: [number, FunctionEvent][] = [];
  for (const e of raw) {
    if (HIDDEN.has(e[0])) continue;
    const start = e[1] / 1e3;
    const end = (e[1] + e[2]) / 1e3;
    const deviceType = typeOf(e[8]);
    const used = deviceType === "cpu" ? sums.within(start, end) : NONE;
    const event = new FunctionEvent({
      id: e[10],
      name: e[0].startsWith("ProfilerStep#") ? "ProfilerStep*" : e[0],
      traceName: e[0],
      timeRange: { start, end },
      thread: e[3],
      fwdThread: e[4],
      sequenceNr: e[5],
      scope: scopeOf(e[6]),
      deviceType,
      deviceIndex: e[9],
      isAsync: e[12] !== 0,
      isUserAnnotation: ANNOTATIONS.has(e[7]),
      flops: e[14],
      inputShapes: e[15],
      inputDtypes: e[16],
      cpuMemoryUsage: used.cpu,
      deviceMemoryUsage: used.device,
    });
    events.push(event);
    if (e[11] > 0) linked.push([e[11], event]);
    else if (deviceType === "cpu" && !event.isAsync) byId.set(event.id, event);
  }
  for (const [id, event] of linked) {
    const launcher = byId.get(id);
    if (launcher === undefined) continue;
    // A call of CUDA's runtime belongs to the thread of the operator that made it.
    if (event.deviceType === "cpu") event.thread = launcher.thread;
    else launcher.kernels.push({ name: event.name, device: event.deviceIndex, duration: event.elapsed });
  }
  for (const record of sums.outside()) events.push(memoryEvent(record));
  events.sort(byStart);
  return { events: buildTree(events), memory };
}

function memoryEvent({ time, bytes, deviceType }: MemoryRecord): FunctionEvent {
  const onCpu = deviceType === "cpu";
  return new FunctionEvent({
    id: -1,
    name: MEMORY,
    traceName: MEMORY,
    timeRange: { start: time, end: time },
    thread: 0,
    fwdThread: 0,
    sequenceNr: -1,
    scope: "function",
    deviceType: "cpu",
    deviceIndex: 0,
    isAsync: false,
    isUserAnnotation: false,
    flops: 0,
    inputShapes: null,
    inputDtypes: null,
    cpuMemoryUsage: onCpu ? bytes : 0,
    deviceMemoryUsage: onCpu ? 0 : bytes,
  });
}

interface Used {
  readonly cpu: number;
  readonly device: number;
}
const NONE: Used = { cpu: 0, device: 0 };

/** Bytes between two times, found in sorted records. */
class MemorySums {
  readonly #cpu: number[] = [0];
  readonly #device: number[] = [0];
  readonly #seen: boolean[];
  constructor(readonly records: readonly MemoryRecord[]) {
    this.#seen = records.map(() => false);
    for (const { bytes, deviceType } of records) {
      const onCpu = deviceType === "cpu";
      this.#cpu.push((this.#cpu.at(-1) as number) + (onCpu ? bytes : 0));
      this.#device.push((this.#device.at(-1) as number) + (onCpu ? 0 : bytes));
    }
  }
  within(start: number, end: number): Used {
    if (this.records.length === 0) return NONE;
    const from = this.#first(start, false);
    const to = this.#first(end, true);
    this.#seen.fill(true, from, to);
    return {
      cpu: (this.#cpu[to] as number) - (this.#cpu[from] as number),
      device: (this.#device[to] as number) - (this.#device[from] as number),
    };
  }
  *outside(): IterableIterator<MemoryRecord> {
    for (const [i, record] of this.records.entries()) if (this.#seen[i] === false) yield record;
  }
  /** The first record at `time` or later; `behind`: after it. */
  #first(time: number, behind: boolean): number {
    let low = 0;
    let high = this.records.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const at = (this.records[middle] as MemoryRecord).time;
      if (at < time || (behind && at === time)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
