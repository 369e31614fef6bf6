/** How to call what measures: profilers, timers, counters. */
import * as lightning from "@nbit/lightning";
import { utils } from "@nbit/torch";

interface Row {
  readonly args: readonly unknown[];
  readonly self?: object;
}
const row = (...args: readonly unknown[]): Row => ({ args });
const of = (self: object, ...args: readonly unknown[]): Row => ({ self, args });
const nothing = (): number => 0;
const timer = (): utils.benchmark.Timer => new utils.benchmark.Timer({ stmt: nothing });

export const PROFILING: Readonly<Record<string, () => Row>> = {
  "torch.autograd.profiler.emitItt": () => row(nothing),
  "torch.autograd.profiler.emitNvtx": () => row(nothing),
  "torch.autograd.profiler.profile": () => row(),
  "torch.profiler.schedule": () => row(),
  "torch.utils.benchmark.Timer": () => row(),
  "torch.utils.benchmark.Timer#blockedAutorange": () => of(timer()),
  "torch.utils.benchmark.Timer#adaptiveAutorange": () => of(timer()),
  "lightning.Profiler": () => row(),
  "lightning.AdvancedProfiler": () => row(),
  "lightning.PyTorchProfiler": () => row(),
  "lightning.SimpleProfiler": () => row(),
  "lightning.Throughput": () => row(),
  "lightning.Throughput#update": () => of(new lightning.Throughput()),
  "lightning.ThroughputMonitor": () => row(),
};

/** They count their arguments. */
export const PLAIN_PROFILING: Readonly<Record<string, string>> = {
  "torch.autograd.profiler.":
    "EventList#keyAverages EventList#totalAverage EventList#exportStacks RecordFunction recordFunction",
  "torch.autograd.profiler.RecordFunction#": "end",
  "torch.profiler.": "supportedActivities tensorboardTraceHandler",
  "torch.profiler.Profile#":
    "start stop step events keyAverages exportChromeTrace exportStacks memoryTimeline exportMemoryTimeline addMetadata addMetadataJson toggleCollectionDynamic",
  "torch.utils.benchmark.":
    "Compare Measurement Measurement.merge Measurement#meetsConfidence Timer#timeit selectUnit trimSigfig",
  "torch.utils.benchmark.Compare#": "extendResults trimSignificantFigures colorize highlightWarnings print",
  "torch.utils.flopCounter.": "FlopCounterMode registerFlopFormula",
  "torch.utils.flopCounter.FlopCounterMode#": "start stop run getTotalFlops getFlopCounts getTable",
  "lightning.": "PassThroughProfiler bottleneckOf getAvailableFlops measureFlops",
  "lightning.AdvancedProfiler#": "start stop summary",
  "lightning.PassThroughProfiler#": "start stop",
  "lightning.Profiler#": "summary describe report",
  "lightning.PyTorchProfiler#": "start stop summary",
  "lightning.SimpleProfiler#": "start stop summary",
  "lightning.Throughput#": "compute reset",
  "lightning.ThroughputMonitor#": "latest",
};
