import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { checkArguments, atMost, checkOptions, cuda, kinds, profiler, type nn, type OptionNames } from "@nbit/torch";
import { withFile } from "@nbit/torch/files";
import { filesOf, Profiler, PROFILER_OPTIONS, type ProfilerOptions, type ProfilerSetup } from "./profiler.js";

type TorchOptions = Omit<profiler.ProfileOptions, "withModules" | "accEvents">;
type TableRest = Omit<profiler.TableOptions, "sortBy" | "rowLimit">;

export interface PyTorchProfilerOptions extends ProfilerOptions, TorchOptions {
  /** Calls with other input shapes apart; needs `recordShapes`. Default false. */
  readonly groupByInputShapes?: boolean;
  /** Write a trace for Perfetto and TensorBoard. Default true. */
  readonly exportToChrome?: boolean;
  /** Rows of the table; -1: all. Default 20. */
  readonly rowLimit?: number;
  /** Largest first. Default: the time on the GPU where one is observed, else on the CPU. */
  readonly sortByKey?: profiler.SortKey;
  /** A range for every call of a module. Default true. */
  readonly recordModuleNames?: boolean;
  /** Further options of the table. */
  readonly tableKwargs?: TableRest;
}
const NAMES: OptionNames<PyTorchProfilerOptions> = {
  ...PROFILER_OPTIONS,
  groupByInputShapes: kinds.flag,
  exportToChrome: kinds.flag,
  rowLimit: kinds.whole("[-1, ∞)"),
  sortByKey: kinds.oneOf<profiler.SortKey>(...profiler.SORT_KEYS),
  recordModuleNames: kinds.flag,
  tableKwargs: kinds.record,
  // Checked by the profiler that they are for.
  activities: true,
  schedule: true,
  onTraceReady: true,
  recordShapes: true,
  profileMemory: true,
  withStack: true,
  withFlops: true,
};
const TABLE: OptionNames<TableRest> = {
  maxSrcColumnWidth: true,
  maxNameColumnWidth: true,
  maxShapesColumnWidth: true,
  header: true,
  topLevelEventsOnly: true,
  timeUnit: true,
};

/** One cycle: a step without, one to warm up, three that are recorded. Fewer steps are recorded all. */
const DEFAULT_STEPS = 5;

/**
 * Records the operators of a few steps (`profiler.profile` of `@nbit/torch`) with the actions and modules that they ran
 * in: a table at the end of the run, a trace for https://ui.perfetto.dev and, with `profileMemory`, a page with the
 * memory of tensors over time, in `dirpath`.
 *
 * In a fit, training batches are its steps; else the batches of the run. Default: the second to the fifth batch, of
 * which the first two are not recorded, so that a long run costs no more than a short one. Steps run eagerly while it is
 * there: a step that is replayed as recorded has no operators to show.
 *
 * For the marks of NVIDIA's tools wrap the run: `autograd.profiler.emitNvtx(() => trainer.fit(model))`.
 *
 * @throws {ArgumentError} as `profiler.profile` does for its options.
 * @example new Trainer({ profiler: new PyTorchProfiler({ dirpath: "profiles", profileMemory: true }) })
 */
export class PyTorchProfiler extends Profiler {
  /** Replays would hide operators: the Trainer runs steps eagerly. */
  readonly observesOperators = true;
  readonly #options: PyTorchProfilerOptions;
  readonly #torch: TorchOptions;
  readonly #sortBy: profiler.SortKey;
  #about: ProfilerSetup | null = null;
  #profile: profiler.Profile | null = null;
  #finished: profiler.Profile | null = null;
  readonly #ranges = new Map<string, profiler.RecordFunction[]>();
  readonly #files: string[] = [];

  constructor(options: PyTorchProfilerOptions = {}) {
    atMost("PyTorchProfiler", arguments, 1);
    super(filesOf("PyTorchProfiler", options, NAMES));
    checkOptions("PyTorchProfiler", options.tableKwargs ?? {}, TABLE);
    const { activities, schedule, onTraceReady, recordShapes, profileMemory, withStack, withFlops } = options;
    this.#torch = withoutUndefined({
      activities,
      schedule,
      onTraceReady,
      recordShapes,
      profileMemory,
      withStack,
      withFlops,
    });
    profiler.profile(this.#torch); // what is wrong with its options is said now
    this.#options = options;
    const onGpu = (activities ?? [...profiler.supportedActivities()]).includes("cuda") && cuda.isAvailable();
    this.#sortBy = options.sortByKey ?? (onGpu ? "deviceTimeTotal" : "cpuTimeTotal");
  }

  /** What was recorded; null before. */
  get recorded(): profiler.Profile | null {
    return this.#finished;
  }
  /** Files that were written in the latest run. */
  get files(): readonly string[] {
    return this.#files;
  }

  override setup(about: ProfilerSetup): void {
    super.setup(about);
    this.#about = about;
    this.#files.length = 0;
  }

  start(actionName: string): void {
    atMost("PyTorchProfiler.start", arguments, 1);
    checkArguments("PyTorchProfiler.start", { actionName }, { actionName: kinds.text });
    if (this.#profile === null && this.#finished === null && this.#isStep(actionName)) this.#begin();
    if (this.#profile === null) return;
    const range = profiler.recordFunction(`[pl][profile]${actionName}`);
    const open = this.#ranges.get(actionName);
    if (open === undefined) this.#ranges.set(actionName, [range]);
    else open.push(range);
  }
  stop(actionName: string): void {
    atMost("PyTorchProfiler.stop", arguments, 1);
    checkArguments("PyTorchProfiler.stop", { actionName }, { actionName: kinds.text });
    this.#ranges.get(actionName)?.pop()?.end();
    if (this.#isStep(actionName)) this.#profile?.step();
  }

  /** Of a fit, training batches; of other runs, their steps. */
  #isStep(actionName: string): boolean {
    if (this.stage === null || this.stage === "fit") return actionName === "run_training_batch";
    return (
      actionName.startsWith("[Strategy]") &&
      actionName.endsWith(`.${this.stage === "validate" ? "validation" : this.stage}Step`)
    );
  }

  #begin(): void {
    const module = this.#about?.module ?? null;
    const names =
      (this.#options.recordModuleNames ?? true) && module !== null ? { withModules: module as nn.Module } : {};
    const total = this.#about?.totalSteps() ?? Infinity;
    const cycle =
      this.#torch.schedule !== undefined || total < DEFAULT_STEPS
        ? {}
        : { schedule: profiler.schedule({ wait: 1, warmup: 1, active: 3, repeat: 1 }) };
    this.#profile = profiler.profile({
      ...this.#torch,
      ...cycle,
      ...names,
      onTraceReady: this.#torch.onTraceReady ?? ((ready) => this.#export(ready)),
    });
    this.#profile.addMetadata("Framework", "nbit");
    this.#profile.start();
  }

  #export(ready: profiler.Profile): void {
    const { dirpath } = this;
    if (dirpath === null) return;
    withFile("PyTorchProfiler", "write", dirpath, () => mkdirSync(dirpath, { recursive: true }));
    if (this.#options.exportToChrome ?? true) {
      const path = join(dirpath, this.fileName(null, `.${Date.now()}.pt.trace.json`));
      ready.exportChromeTrace(path);
      this.#files.push(path);
    }
    if (this.#options.profileMemory === true) {
      const path = join(dirpath, this.fileName("memory", ".html"));
      ready.exportMemoryTimeline(path);
      this.#files.push(path);
    }
  }

  #end(): void {
    const profile = this.#profile;
    this.#profile = null;
    for (const open of this.#ranges.values()) for (const range of open.splice(0)) range.end();
    profile?.stop();
    this.#finished = profile ?? this.#finished;
  }

  override summary(): string {
    atMost("PyTorchProfiler.summary", arguments, 0);
    this.#end();
    const averages = this.#averages();
    if (averages === null || averages.length === 0) return "";
    const table = averages.table({
      ...this.#options.tableKwargs,
      sortBy: this.#sortBy,
      rowLimit: this.#options.rowLimit ?? 20,
    });
    const written =
      this.#files.length > 0
        ? this.#files.map((file) => `written: ${file}\n`).join("")
        : this.dirpath === null && this.#torch.onTraceReady === undefined
          ? "No trace was written: there is no folder for it. Give dirpath, or a logger with files.\n"
          : "";
    return this.statsToText(new Map([["records", table + written]]));
  }
  #averages(): profiler.AverageList | null {
    if (this.#finished === null || !this.#finished.hasRecorded) return null;
    return this.#finished.keyAverages({ groupByInputShape: this.#options.groupByInputShapes ?? false });
  }

  override teardown(): void {
    this.#end();
    this.#about = null;
  }
}

type Given<O> = { readonly [K in keyof O]: Exclude<O[K], undefined> };
function withoutUndefined<O extends object>(options: O): Partial<Given<O>> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Partial<Given<O>>;
}
