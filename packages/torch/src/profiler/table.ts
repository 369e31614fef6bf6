/** Events and averages as a table for people. */
import type { EventFigures } from "./event.js";

export interface TableOptions {
  /** Largest first; a figure of the events, as `"cpuTimeTotal"` or PyTorch's `"cpu_time_total"`. Default: as they came. */
  readonly sortBy?: SortKey | null;
  /** Rows at most; -1: all. Default 100. */
  readonly rowLimit?: number;
  readonly maxSrcColumnWidth?: number;
  readonly maxNameColumnWidth?: number;
  readonly maxShapesColumnWidth?: number;
  /** A line above the table. */
  readonly header?: string | null;
  /** Only what ran within nothing else. Default false. */
  readonly topLevelEventsOnly?: boolean;
  /** One unit for all times. Default: each its own. */
  readonly timeUnit?: "s" | "ms" | "us" | null;
}

/** PyTorch's names, and those of the fields. */
const SORT = {
  cpu_time: "cpuTime",
  cuda_time: "deviceTime",
  device_time: "deviceTime",
  cpu_time_total: "cpuTimeTotal",
  cuda_time_total: "deviceTimeTotal",
  device_time_total: "deviceTimeTotal",
  self_cpu_time_total: "selfCpuTimeTotal",
  self_cuda_time_total: "selfDeviceTimeTotal",
  self_device_time_total: "selfDeviceTimeTotal",
  cpu_memory_usage: "cpuMemoryUsage",
  cuda_memory_usage: "deviceMemoryUsage",
  device_memory_usage: "deviceMemoryUsage",
  self_cpu_memory_usage: "selfCpuMemoryUsage",
  self_cuda_memory_usage: "selfDeviceMemoryUsage",
  self_device_memory_usage: "selfDeviceMemoryUsage",
  flops: "flops",
  count: "count",
} as const;
type Figure = (typeof SORT)[keyof typeof SORT];
export type SortKey = keyof typeof SORT | Figure;
export const SORT_KEYS: readonly SortKey[] = [
  ...new Set<SortKey>([...Object.values(SORT), ...(Object.keys(SORT) as SortKey[])]),
];
const figureOf = (key: SortKey): Figure =>
  Object.hasOwn(SORT, key) ? SORT[key as keyof typeof SORT] : (key as Figure);

export function formatTime(microseconds: number, unit: TableOptions["timeUnit"] = null): string {
  if (unit === "s" || (unit === null && microseconds >= 1e6)) return `${(microseconds / 1e6).toFixed(3)}s`;
  if (unit === "ms" || (unit === null && microseconds >= 1e3)) return `${(microseconds / 1e3).toFixed(3)}ms`;
  return `${microseconds.toFixed(3)}us`;
}
export function formatMemory(bytes: number): string {
  for (const [name, size] of [
    ["GB", 2 ** 30],
    ["MB", 2 ** 20],
    ["KB", 2 ** 10],
  ] as const)
    if (Math.abs(bytes) >= size) return `${(bytes / size).toFixed(2)} ${name}`;
  return `${bytes} B`;
}
const share = (part: number, whole: number): string => (whole === 0 ? "NaN" : `${((part * 100) / whole).toFixed(2)}%`);

const FLOP_UNITS = ["FLOPs", "KFLOPs", "MFLOPs", "GFLOPs", "TFLOPs", "PFLOPs"] as const;

interface Column {
  readonly title: string;
  readonly left?: boolean;
  /** Widest that a cell may be; what is longer loses its beginning (`left`) or its end. */
  readonly most?: number;
  readonly cell: (event: EventFigures) => string;
}

function clip(text: string, most: number | undefined, keepsEnd: boolean): string {
  if (most === undefined || most < 4 || text.length <= most) return text;
  return keepsEnd ? `...${text.slice(text.length - most + 3)}` : `${text.slice(0, most - 3)}...`;
}

/** @param about - What was recorded: columns of memory and FLOPs are there only then. */
export function buildTable(
  given: readonly EventFigures[],
  options: TableOptions,
  about: { readonly device: string | null; readonly memory: boolean; readonly flops: boolean },
): string {
  if (given.length === 0) return "";
  const { sortBy = null, rowLimit = 100, header = null, topLevelEventsOnly = false, timeUnit = null } = options;
  const sorted = sortBy === null ? [...given] : largestFirst(given, figureOf(sortBy));
  const shown = topLevelEventsOnly ? sorted.filter((event) => event.cpuParent === null) : sorted;
  const rows = rowLimit < 0 ? shown : shown.slice(0, rowLimit);
  const cpu = given.reduce((total, event) => total + event.selfCpuTimeTotal, 0);
  // Kernels are events themselves; operators only point to them.
  const device = given.reduce(
    (total, e) => total + (e.deviceType !== "cpu" && !e.isUserAnnotation ? e.selfDeviceTimeTotal : 0),
    0,
  );
  const columns = columnsOf(given, options, about, { cpu, device });
  const cells = rows.map((event) => columns.map(({ cell, most, left }) => clip(cell(event), most, left === true)));
  const widths = columns.map(({ title }, i) => Math.max(title.length, ...cells.map((row) => row[i]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row
      .map((text, i) =>
        columns[i]?.left === true ? text.padEnd(widths[i] as number) : text.padStart(widths[i] as number),
      )
      .join("  ")
      .trimEnd();
  const rule = widths.map((width) => "-".repeat(width)).join("  ");
  const above = [header, topLevelEventsOnly ? "This report only displays what ran at the top level" : null].filter(
    (text) => text !== null,
  );
  return [
    ...above.flatMap((text) => ["=".repeat(rule.length), text]),
    rule,
    line(columns.map(({ title }) => title)),
    rule,
    ...cells.map(line),
    rule,
    `Self CPU time total: ${formatTime(cpu, timeUnit)}`,
    ...(device > 0
      ? [`Self ${(about.device ?? "device").toUpperCase()} time total: ${formatTime(device, timeUnit)}`]
      : []),
    "",
  ].join("\n");
}

function largestFirst(events: readonly EventFigures[], by: Figure): EventFigures[] {
  return [...events].sort((a, b) => b[by] - a[by]);
}

function columnsOf(
  events: readonly EventFigures[],
  options: TableOptions,
  about: { readonly device: string | null; readonly memory: boolean; readonly flops: boolean },
  totals: { readonly cpu: number; readonly device: number },
): Column[] {
  const { maxNameColumnWidth = 55, maxShapesColumnWidth = 80, maxSrcColumnWidth = 75, timeUnit = null } = options;
  const time = (of: (e: EventFigures) => number) => (e: EventFigures) => formatTime(of(e), timeUnit);
  const bytes = (of: (e: EventFigures) => number) => (e: EventFigures) => formatMemory(of(e));
  const device = (about.device ?? "device").toUpperCase();
  const hasDeviceTime = events.some((e) => e.selfDeviceTimeTotal > 0);
  const hasDeviceMemory = events.some((e) => e.selfDeviceMemoryUsage !== 0);
  const hasShapes = events.some((e) => e.inputShapes !== null && e.inputShapes.length > 0);
  const hasStack = events.some((e) => e.stack.length > 0);
  const flops = events.map((e) => e.flops).filter((n) => n > 0);
  const unit = flops.length === 0 ? 0 : Math.min(5, Math.floor(Math.log10(Math.min(...flops)) / 3));
  return [
    { title: "Name", most: maxNameColumnWidth, cell: (e) => e.key },
    { title: "Self CPU %", cell: (e) => share(e.selfCpuTimeTotal, totals.cpu) },
    { title: "Self CPU", cell: time((e) => e.selfCpuTimeTotal) },
    { title: "CPU total %", cell: (e) => (e.isAsync ? "0" : share(e.cpuTimeTotal, totals.cpu)) },
    { title: "CPU total", cell: time((e) => e.cpuTimeTotal) },
    { title: "CPU time avg", cell: time((e) => e.cpuTime) },
    ...(hasDeviceTime
      ? [
          { title: `Self ${device}`, cell: time((e) => e.selfDeviceTimeTotal) },
          { title: `Self ${device} %`, cell: (e: EventFigures) => share(e.selfDeviceTimeTotal, totals.device) },
          { title: `${device} total`, cell: time((e) => e.deviceTimeTotal) },
          { title: `${device} time avg`, cell: time((e) => e.deviceTime) },
        ]
      : []),
    ...(about.memory
      ? [
          { title: "CPU Mem", cell: bytes((e) => e.cpuMemoryUsage) },
          { title: "Self CPU Mem", cell: bytes((e) => e.selfCpuMemoryUsage) },
        ]
      : []),
    ...(about.memory && hasDeviceMemory
      ? [
          { title: `${device} Mem`, cell: bytes((e) => e.deviceMemoryUsage) },
          { title: `Self ${device} Mem`, cell: bytes((e) => e.selfDeviceMemoryUsage) },
        ]
      : []),
    { title: "# of Calls", cell: (e) => String(e.count) },
    ...(hasShapes
      ? [
          {
            title: "Input Shapes",
            most: maxShapesColumnWidth,
            cell: (e: EventFigures) => (e.inputShapes === null ? "" : shapesText(e.inputShapes)),
          },
        ]
      : []),
    ...(about.flops && flops.length > 0
      ? [
          {
            title: `Total ${FLOP_UNITS[unit] ?? "FLOPs"}`,
            cell: (e: EventFigures) => (e.flops > 0 ? (e.flops / 1000 ** unit).toFixed(3) : "--"),
          },
        ]
      : []),
    ...(hasStack
      ? [{ title: "Source Location", left: true, most: maxSrcColumnWidth, cell: (e: EventFigures) => e.stack[0] ?? "" }]
      : []),
  ];
}

/** `[[2, 3], []]`, as PyTorch writes them. */
export function shapesText(shapes: readonly (readonly number[])[]): string {
  return `[${shapes.map((shape) => `[${shape.join(", ")}]`).join(", ")}]`;
}
