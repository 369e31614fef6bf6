/** What a profiler saw: single events, and their sums by operator. Times are in microseconds. */

/** A piece of work on a device that an operator has launched. */
export interface Kernel {
  readonly name: string;
  readonly device: number;
  /** Microseconds. */
  readonly duration: number;
}

/** Microseconds since the profiler began. */
export interface TimeRange {
  readonly start: number;
  readonly end: number;
}

/** What tables, sums and files read of an event and of an average alike. */
export interface EventFigures {
  readonly key: string;
  readonly count: number;
  readonly cpuTimeTotal: number;
  readonly selfCpuTimeTotal: number;
  /** Averages per call. */
  readonly cpuTime: number;
  readonly deviceTimeTotal: number;
  readonly selfDeviceTimeTotal: number;
  readonly deviceTime: number;
  /** Bytes that it allocated and did not free. */
  readonly cpuMemoryUsage: number;
  readonly selfCpuMemoryUsage: number;
  readonly deviceMemoryUsage: number;
  readonly selfDeviceMemoryUsage: number;
  readonly flops: number;
  readonly isAsync: boolean;
  readonly deviceType: string;
  readonly isUserAnnotation: boolean;
  readonly inputShapes: readonly (readonly number[])[] | null;
  readonly stack: readonly string[];
  readonly cpuParent: FunctionEvent | null;
}

/** How libtorch calls the place that an event was recorded at. */
export type EventScope = "function" | "backward" | "user" | "other";

export interface FunctionEventFields {
  readonly id: number;
  readonly name: string;
  readonly traceName: string;
  readonly timeRange: TimeRange;
  readonly thread: number;
  readonly fwdThread: number;
  readonly sequenceNr: number;
  readonly scope: EventScope;
  readonly deviceType: string;
  readonly deviceIndex: number;
  readonly isAsync: boolean;
  readonly isUserAnnotation: boolean;
  readonly flops: number;
  readonly inputShapes: readonly (readonly number[])[] | null;
  readonly inputDtypes: readonly string[] | null;
  readonly cpuMemoryUsage: number;
  readonly deviceMemoryUsage: number;
}

/**
 * One call of an operator, a range of the program's own, or a kernel on a GPU. `profile().events()` makes them.
 *
 * As in torch.autograd.profiler_util.FunctionEvent: an event's children are those that ran within it on its thread.
 */
export class FunctionEvent implements EventFigures {
  readonly id: number;
  /** Such as `aten::addmm`; steps of a schedule are all called `ProfilerStep*`. */
  readonly name: string;
  /** The same, but `ProfilerStep#3`. */
  readonly traceName: string;
  readonly timeRange: TimeRange;
  thread: number;
  readonly fwdThread: number;
  /** Links a node of a backward to the operator that made it; -1: none. */
  readonly sequenceNr: number;
  readonly scope: EventScope;
  /** "cpu" or "cuda". */
  readonly deviceType: string;
  readonly deviceIndex: number;
  readonly isAsync: boolean;
  readonly isUserAnnotation: boolean;
  readonly flops: number;
  /** With `recordShapes`: by argument; an empty list for what is no tensor. */
  readonly inputShapes: readonly (readonly number[])[] | null;
  readonly inputDtypes: readonly string[] | null;
  readonly cpuMemoryUsage: number;
  readonly deviceMemoryUsage: number;
  readonly count = 1;
  /** With `withStack`: lines of the program, the innermost first. */
  stack: readonly string[] = [];
  /** With `withModules`: the modules that it ran in, such as `Net.layers.0`, the innermost last. */
  moduleHierarchy: readonly string[] = [];
  readonly kernels: Kernel[] = [];
  cpuChildren: FunctionEvent[] = [];
  cpuParent: FunctionEvent | null = null;

  constructor(fields: FunctionEventFields) {
    this.id = fields.id;
    this.name = fields.name;
    this.traceName = fields.traceName;
    this.timeRange = fields.timeRange;
    this.thread = fields.thread;
    this.fwdThread = fields.fwdThread;
    this.sequenceNr = fields.sequenceNr;
    this.scope = fields.scope;
    this.deviceType = fields.deviceType;
    this.deviceIndex = fields.deviceIndex;
    this.isAsync = fields.isAsync;
    this.isUserAnnotation = fields.isUserAnnotation;
    this.flops = fields.flops;
    this.inputShapes = fields.inputShapes;
    this.inputDtypes = fields.inputDtypes;
    this.cpuMemoryUsage = fields.cpuMemoryUsage;
    this.deviceMemoryUsage = fields.deviceMemoryUsage;
  }

  get key(): string {
    return this.name;
  }
  get elapsed(): number {
    return this.timeRange.end - this.timeRange.start;
  }
  get cpuTimeTotal(): number {
    return this.deviceType === "cpu" ? this.elapsed : 0;
  }
  get selfCpuTimeTotal(): number {
    if (this.isAsync || this.deviceType !== "cpu") return 0;
    return this.cpuTimeTotal - sum(this.cpuChildren, (child) => child.cpuTimeTotal);
  }
  get cpuTime(): number {
    return this.cpuTimeTotal;
  }
  #deviceTime: number | null = null;
  /** Of its kernels and those of its children. */
  get deviceTimeTotal(): number {
    if (this.deviceType !== "cpu") return this.elapsed;
    if (this.isAsync) return 0;
    return (this.#deviceTime ??=
      sum(this.kernels, (kernel) => kernel.duration) + sum(this.cpuChildren, (child) => child.deviceTimeTotal));
  }
  get selfDeviceTimeTotal(): number {
    if (this.deviceType !== "cpu") return this.elapsed;
    return this.isAsync ? 0 : sum(this.kernels, (kernel) => kernel.duration);
  }
  get deviceTime(): number {
    return this.deviceTimeTotal;
  }
  get selfCpuMemoryUsage(): number {
    if (this.isAsync || this.deviceType !== "cpu") return 0;
    return this.cpuMemoryUsage - sum(this.cpuChildren, (child) => child.cpuMemoryUsage);
  }
  get selfDeviceMemoryUsage(): number {
    if (this.isAsync || this.deviceType !== "cpu") return 0;
    return this.deviceMemoryUsage - sum(this.cpuChildren, (child) => child.deviceMemoryUsage);
  }
}

/** Sums over events of one key. */
export class FunctionEventAvg implements EventFigures {
  readonly key: string;
  count = 0;
  cpuTimeTotal = 0;
  selfCpuTimeTotal = 0;
  deviceTimeTotal = 0;
  selfDeviceTimeTotal = 0;
  cpuMemoryUsage = 0;
  selfCpuMemoryUsage = 0;
  deviceMemoryUsage = 0;
  selfDeviceMemoryUsage = 0;
  flops = 0;
  readonly isAsync: boolean;
  readonly deviceType: string;
  readonly isUserAnnotation: boolean;
  readonly scope: EventScope;
  readonly cpuParent: FunctionEvent | null;

  constructor(
    key: string,
    first: FunctionEvent,
    readonly inputShapes: readonly (readonly number[])[] | null,
    readonly stack: readonly string[],
  ) {
    this.key = key;
    this.isAsync = first.isAsync;
    this.deviceType = first.deviceType;
    this.isUserAnnotation = first.isUserAnnotation;
    this.scope = first.scope;
    this.cpuParent = first.cpuParent;
  }
  get cpuTime(): number {
    return this.count === 0 ? 0 : this.cpuTimeTotal / this.count;
  }
  get deviceTime(): number {
    return this.count === 0 ? 0 : this.deviceTimeTotal / this.count;
  }
  /** @internal */
  add(event: FunctionEvent): void {
    this.count += event.count;
    this.cpuTimeTotal += event.cpuTimeTotal;
    this.selfCpuTimeTotal += event.selfCpuTimeTotal;
    this.deviceTimeTotal += event.deviceTimeTotal;
    this.selfDeviceTimeTotal += event.selfDeviceTimeTotal;
    this.cpuMemoryUsage += event.cpuMemoryUsage;
    this.selfCpuMemoryUsage += event.selfCpuMemoryUsage;
    this.deviceMemoryUsage += event.deviceMemoryUsage;
    this.selfDeviceMemoryUsage += event.selfDeviceMemoryUsage;
    this.flops += event.flops;
  }
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  let total = 0;
  for (const item of items) total += of(item);
  return total;
}
