import { mkdirSync } from "node:fs";
import { join, relative } from "node:path";
import { checkArguments, ArgumentError, atMost, kinds, NbitError, verbatim, type OptionNames } from "@nbit/torch";
import { withFile, writeText } from "@nbit/torch/files";
import { CpuSampler, functionsWithin, now, type CpuProfile, type FunctionTime, type Interval } from "./cpu-profile.js";
import { filesOf, Profiler, PROFILER_OPTIONS, type ProfilerOptions } from "./profiler.js";

export interface AdvancedProfilerOptions extends ProfilerOptions {
  /** Functions listed for each action: a whole number of them, or a share in (0, 1]. Default 1.0: all. */
  readonly lineCountRestriction?: number;
  /** Write V8's profile of the run beside the report, as a `.cpuprofile` file. Needs a folder. Default false. */
  readonly dumpStats?: boolean;
  /** Microseconds between samples. Default 1000. */
  readonly samplingInterval?: number;
}
const NAMES: OptionNames<AdvancedProfilerOptions> = {
  ...PROFILER_OPTIONS,
  lineCountRestriction: kinds.such(
    "a whole number ≥ 0, or a share in [0, 1]",
    (v) => typeof v === "number" && v >= 0 && (v <= 1 || Number.isInteger(v)),
  ),
  dumpStats: kinds.flag,
  samplingInterval: kinds.whole("[50, 1000000]"),
};

/** What calls actions, and not what they do: the Trainer's own loops, and this profiler. */
const CALLERS = /(?:packages|@nbit)\/lightning\/dist\/(?!callbacks|checkpoint|loggers|logging)/;

/**
 * Says for every action in which functions its time went: V8's sampling profiler runs for the whole run (where Lightning
 * has Python's cProfile), and the samples that fall into an action are its own. Functions of libtorch are not told
 * apart: for these use "pytorch".
 *
 * The profile grows with the run, by about 1 MB a minute: for runs of a few hundred steps (`limitTrainBatches`).
 *
 * @throws {NbitError} `PROFILER_ACTION` when an action is stopped without a start.
 * @example new Trainer({ profiler: new AdvancedProfiler({ dirpath: "profiles", filename: "run", dumpStats: true }) })
 */
export class AdvancedProfiler extends Profiler {
  readonly lineCountRestriction: number;
  readonly dumpStats: boolean;
  readonly #interval: number;
  readonly #sampler = new CpuSampler();
  readonly #open = new Map<string, number[]>();
  readonly #intervals = new Map<string, Interval[]>();

  constructor(options: AdvancedProfilerOptions = {}) {
    atMost("AdvancedProfiler", arguments, 1);
    super(filesOf("AdvancedProfiler", options, NAMES));
    this.lineCountRestriction = options.lineCountRestriction ?? 1;
    this.dumpStats = options.dumpStats ?? false;
    this.#interval = options.samplingInterval ?? 1000;
  }

  start(actionName: string): void {
    atMost("AdvancedProfiler.start", arguments, 1);
    checkArguments("AdvancedProfiler.start", { actionName }, { actionName: kinds.text });
    this.#sampler.start(this.#interval);
    const open = this.#open.get(actionName);
    if (open === undefined) this.#open.set(actionName, [now()]);
    else open.push(now());
  }
  stop(actionName: string): void {
    atMost("AdvancedProfiler.stop", arguments, 1);
    checkArguments("AdvancedProfiler.stop", { actionName }, { actionName: kinds.text });
    const began = this.#open.get(actionName)?.pop();
    if (began === undefined)
      throw new NbitError(`AdvancedProfiler.stop: ${actionName} was never started.`, "PROFILER_ACTION");
    const own = this.#intervals.get(actionName);
    if (own === undefined) this.#intervals.set(actionName, [[began, now()]]);
    else own.push([began, now()]);
  }

  override summary(): string {
    atMost("AdvancedProfiler.summary", arguments, 0);
    const profile = this.#sampler.stop();
    if (profile === null) return "";
    if (this.dumpStats) this.#dump(profile);
    const stats = new Map<string, string>();
    for (const [action, intervals] of this.#intervals)
      stats.set(action, this.#table(functionsWithin(profile, intervals, CALLERS), intervals));
    return this.statsToText(stats);
  }
  #table(functions: readonly FunctionTime[], intervals: readonly Interval[]): string {
    const limit = this.lineCountRestriction;
    const shown = functions.slice(
      0,
      limit > 1 || limit === 0 ? limit : limit === 1 ? functions.length : Math.ceil(limit * functions.length),
    );
    const total = intervals.reduce((sum, [from, to]) => sum + (to - from), 0);
    const ms = (microseconds: number): string => (microseconds / 1e3).toFixed(3).padStart(11);
    return [
      `${intervals.length} call${intervals.length === 1 ? "" : "s"} in ${(total / 1e6).toFixed(3)} seconds`,
      "   own (ms)  total (ms)  function",
      ...shown.map(
        ({ name, place, own, total }) =>
          `${ms(own)} ${ms(total)}  ${name}${place === "" ? "" : ` (${place.startsWith("/") ? relative(process.cwd(), place) : place})`}`,
      ),
      "",
    ].join("\n");
  }
  #dump(profile: CpuProfile): void {
    const { dirpath } = this;
    if (dirpath === null)
      throw new ArgumentError(
        "AdvancedProfiler",
        "dirpath, or a logger with a folder, with dumpStats",
        verbatim("neither"),
      );
    const path = join(dirpath, this.fileName(null, ".cpuprofile"));
    withFile("AdvancedProfiler", "write", dirpath, () => mkdirSync(dirpath, { recursive: true }));
    writeText("AdvancedProfiler", path, JSON.stringify(profile));
  }
  override teardown(): void {
    this.#sampler.stop();
    this.#open.clear();
    this.#intervals.clear();
  }
}
