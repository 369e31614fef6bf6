/** The base of profilers, as lightning.pytorch.profilers.Profiler. */
import { appendFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { atMost, checkArguments, checkOptions, kinds, type nn, type OptionNames } from "@nbit/torch";
import { withFile } from "@nbit/torch/files";
import { pickGiven } from "../collections.js";
import { isPromise } from "../promises.js";
import type { TrainerFn } from "../types.js";

export interface ProfilerOptions {
  /** Folder of the report. Default: that of the first logger. */
  readonly dirpath?: string;
  /** Name of the report's file, without its ending; default: the report is printed. */
  readonly filename?: string;
}
export const PROFILER_OPTIONS: OptionNames<ProfilerOptions> = { dirpath: kinds.filled, filename: kinds.filled };

/** What a run tells its profiler before it begins. */
export interface ProfilerSetup {
  readonly stage: TrainerFn;
  /** Of several processes; null: this one runs alone. */
  readonly localRank: number | null;
  /** Of the first logger that has one. */
  readonly logDir: string | null;
  readonly module: nn.Module;
  /** Batches of the run, of training in a fit; known when it begins. */
  readonly totalSteps: () => number;
}

/**
 * Base of profilers: the Trainer calls `start` and `stop` around everything that it does, under Lightning's names:
 * `run_training_epoch`, `run_training_batch`, `[_TrainingEpochLoop].train_dataloader_next`,
 * `[Strategy]SingleDeviceStrategy.trainingStep`, `[LightningModule]Net.onTrainStart`, `[Callback]EarlyStopping.setup`.
 * Hooks that nobody overrides are not called, and have no action.
 *
 * @example
 * class Times extends Profiler {
 *   start(action: string): void { console.time(action); }
 *   stop(action: string): void { console.timeEnd(action); }
 * }
 */
export abstract class Profiler {
  dirpath: string | null;
  readonly filename: string | null;
  protected stage: TrainerFn | null = null;
  protected rank: number | null = null;

  constructor(options: ProfilerOptions = {}) {
    atMost(new.target.name || "Profiler", arguments, 1);
    checkOptions(new.target.name || "Profiler", options, PROFILER_OPTIONS);
    this.dirpath = options.dirpath ?? null;
    this.filename = options.filename ?? null;
  }

  abstract start(actionName: string): void;
  abstract stop(actionName: string): void;

  /** What is reported at the end of a run; "": nothing. */
  summary(): string {
    atMost("Profiler.summary", arguments, 0);
    return "";
  }

  /** Profile an action of your own: until `fn` returns or, where it returns a promise, until that settles. */
  profile<T>(actionName: string, fn: () => T): T {
    atMost("Profiler.profile", arguments, 2);
    checkArguments("Profiler.profile", { actionName, fn }, { actionName: kinds.filled, fn: kinds.callable });
    this.start(actionName);
    let waits = false;
    try {
      const result = fn();
      waits = isPromise(result);
      return waits ? (Promise.resolve(result).finally(() => this.stop(actionName)) as T) : result;
    } finally {
      if (!waits) this.stop(actionName);
    }
  }

  /** Report: to the file `dirpath/filename` where there is one, behind what it has; else to the terminal. */
  describe(): void {
    atMost("Profiler.describe", arguments, 0);
    const summary = this.summary();
    if (summary !== "") this.report(summary);
    this.teardown(this.stage);
  }

  /** @internal Write to where the report goes. */
  report(text: string): void {
    atMost("Profiler.report", arguments, 1);
    checkArguments("Profiler.report", { text }, { text: kinds.text });
    const line = text.endsWith("\n") ? text : `${text}\n`;
    if (this.filename !== null && this.dirpath !== null) {
      const path = join(this.dirpath, this.fileName());
      withFile("Profiler", "write", path, () => {
        mkdirSync(this.dirpath as string, { recursive: true });
        appendFileSync(path, line);
      });
    } else if (this.rank === null || this.rank === 0) process.stdout.write(line);
  }

  /** `fit-filename-0-action.txt`: what is there of these. Signs that a path must not have become `_`. */
  protected fileName(actionName: string | null = null, extension = ".txt"): string {
    const parts = [this.stage, this.filename, this.rank === null ? null : String(this.rank), actionName];
    const name = parts
      .filter((part) => part !== null && part !== "")
      .join("-")
      // eslint-disable-next-line no-control-regex -- control characters are no names
      .replace(/[\\/:*?"<>|\u0000-\u001f]/g, "_")
      .replace(/_+/g, "_")
      .trim();
    return `${name === "" ? "profile" : name}${extension}`;
  }
  /** `FIT Profiler Report`, and what there is of each action. */
  protected statsToText(stats: ReadonlyMap<string, string>): string {
    const rank = this.rank === null ? "" : ` rank: ${this.rank}`;
    return [
      `${this.stage === null ? "" : `${this.stage.toUpperCase()} `}Profiler Report`,
      ...[...stats].flatMap(([action, text]) => [`Profile stats for: ${action}${rank}`, text]),
    ].join("\n");
  }

  /** A run begins. */
  setup({ stage, localRank, logDir }: ProfilerSetup): void {
    this.stage = stage;
    this.rank = localRank;
    this.dirpath ??= logDir;
  }
  /** A run has ended, however that came. */
  teardown(_stage: TrainerFn | null): void {}
}

/** Does nothing: what a Trainer without a profiler has. */
export class PassThroughProfiler extends Profiler {
  constructor() {
    atMost("PassThroughProfiler", arguments, 0);
    super();
  }
  start(_actionName: string): void {
    atMost("PassThroughProfiler.start", arguments, 1);
  }
  stop(_actionName: string): void {
    atMost("PassThroughProfiler.stop", arguments, 1);
  }
}

/** @internal Of the options of a profiler, checked, those that all have. */
export function filesOf<O extends ProfilerOptions>(fn: string, options: O, own: OptionNames<O>): ProfilerOptions {
  checkOptions(fn, options, own);
  return pickGiven(options, ["dirpath", "filename"]);
}
