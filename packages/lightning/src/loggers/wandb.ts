import { join } from "node:path";
import {
  ArgumentError,
  atMost,
  checkArguments,
  checkOptions,
  kinds,
  signature,
  type Call,
  type OptionNames,
} from "@nbit/torch";
import { count, fieldsOf, text as anyText } from "@nbit/torch/schema";
import { checkState } from "../checkpoint/schema.js";
import { globalRank } from "@nbit/torch/distributed";
import { Logger, type Metrics } from "./logger.js";
import { silent } from "./silent.js";
import { makeFolder } from "./version.js";
import { clipsValue, imagesValue, newId, tableValue, WandbRun, type WandbImage } from "./wandb-run.js";

export interface WandbLoggerArguments {
  /** Shown for the run. Default: W&B chooses one. */
  readonly name?: string | null;
  /** Folder in which `wandb/` is made. Default ".". */
  readonly saveDir?: string;
  /** Id of the run, to go on with one. Default: a new one. */
  readonly version?: string | null;
  /** True, which is the default: runs are files that `wandb sync` sends. */
  readonly offline?: true;
  /** Default: the environment's `WANDB_PROJECT`, or "nbit_logs". */
  readonly project?: string | null;
  /** Put before each metric's name, joined by "-". Default none. */
  readonly prefix?: string;
  /** User or team. Default: that of who sends it. */
  readonly entity?: string | null;
  readonly group?: string | null;
  readonly jobType?: string | null;
  readonly notes?: string | null;
  readonly tags?: readonly string[];
}
const { byDefault, filled, listOf, orNull, such, text } = kinds;
const someText = byDefault(null, orNull(filled));
const read = signature(
  "WandbLogger",
  {
    name: someText,
    saveDir: byDefault(".", filled),
    version: byDefault(
      null,
      orNull(
        such<string>("an id of letters, digits, _ and -", (v) => typeof v === "string" && /^[\w-]{1,128}$/.test(v)),
      ),
    ),
    offline: byDefault(true, {
      ...such<true>("true", (v) => v === true),
      meant: () =>
        "Only W&B's own client speaks with its servers: wandb sync sends the run, also while it is being written.",
    }),
    project: someText,
    prefix: byDefault("", text),
    entity: someText,
    group: someText,
    jobType: someText,
    notes: someText,
    tags: byDefault([], listOf(filled)),
  } satisfies OptionNames<WandbLoggerArguments>,
  4,
);
const STATE = fieldsOf({ id: anyText, nextStep: count });
const FINISHED = { success: 0, failed: 1, interrupted: 255 } as const;

/** Values that stand with each picture, sound or film. */
export interface WandbCaptions {
  readonly caption?: readonly string[];
}
const CAPTIONS: OptionNames<WandbCaptions> = { caption: listOf(text) };

/**
 * Writes runs for Weights & Biases as its own client does offline; `wandb sync wandb/offline-run-…` sends them.
 *
 * There is no connection, so nothing of a server can slow or stop training, and no key is asked for. Each call is in the
 * file when it returns: a kill loses nothing. Metrics are rows over `trainer/global_step`, as Lightning's are.
 * Checkpoints are not sent, `watch` is not there, and artifacts are not: they need the server.
 *
 * A run that goes on from a checkpoint with the same id (`version`) writes another folder of that run, whose rows go on
 * where the checkpoint's ended; rows that the first folder has after it come twice: `wandb sync --append` keeps both.
 *
 * @throws {ArgumentError} `WandbLogger: expected offline to be true. Received: false. …`
 * @example
 * const logger = new WandbLogger({ project: "mnist", saveDir: "logs" });
 * logger.logMetrics({ loss: 0.25 }, 0);
 * logger.finalize();
 */
export class WandbLogger extends Logger {
  /** The project, as Lightning has it. */
  readonly name: string;
  readonly saveDir: string;
  readonly #options: ReturnType<typeof read>;
  readonly #prefix: string;
  #id: string;
  #run: WandbRun | null = null;
  #follows = false;
  #startingStep = 0;

  constructor(
    ...given: Call<
      WandbLoggerArguments,
      ["name", "saveDir", "version", "offline"],
      [name?: string | null, saveDir?: string, version?: string | null, offline?: true]
    >
  ) {
    super();
    const options = read(given);
    this.#options = options;
    this.name = options.project ?? (process.env["WANDB_PROJECT"] || "nbit_logs");
    this.saveDir = options.saveDir;
    this.#id = options.version ?? newId();
    this.#prefix = options.prefix === "" ? "" : `${options.prefix}-`;
  }

  /** The run's id. */
  get version(): string {
    return this.#id;
  }

  /** `<saveDir>/<project>/<id>`, for files of others, as Lightning has it; the run's own lie in `experiment.dir`. */
  override get logDir(): string {
    return join(this.saveDir, this.name, this.#id);
  }

  /** The run, for what is not a metric. In processes other than the first one that writes nothing. */
  get experiment(): WandbRun {
    if (this.#mute()) {
      const update = (): void => undefined;
      return silent(WandbRun, { id: this.#id, project: this.name, config: { update }, summary: { update } });
    }
    return (this.#run ??= this.#open());
  }

  #open(): WandbRun {
    const { name, entity, group, jobType, notes, tags } = this.#options;
    const run = new WandbRun({
      id: this.#id,
      name,
      project: this.name,
      entity,
      group,
      jobType,
      notes,
      tags,
      saveDir: this.saveDir,
      startingStep: this.#startingStep,
    });
    run.defineMetric("trainer/global_step");
    run.defineMetric("*", "trainer/global_step");
    return run;
  }

  override follow(version: number | string): void {
    this.#id = String(version);
    this.#follows = true;
  }

  /** The folder must be one that can be written to; the run is made by the first value. */
  override start(): void {
    if (!this.#follows) makeFolder("WandbLogger", join(this.saveDir, "wandb"));
  }

  logMetrics(metrics: Metrics, step: number): void {
    this.#log(Object.fromEntries(Object.entries(metrics).map(([key, value]) => [this.#prefix + key, value])), step);
  }

  #log(row: Readonly<Record<string, unknown>>, step: number | null): void {
    if (!this.#follows) this.experiment.log(step === null ? row : { ...row, "trainer/global_step": step });
  }

  override logHyperparams(params: Readonly<Record<string, unknown>>): void {
    if (!this.#follows) this.experiment.config.update(params);
  }

  /**
   * Pictures under one name: tensors `[C, H, W]` or `[H, W]`, bytes of PNG files, or paths.
   * @param options.caption - A text for each.
   */
  logImage(key: string, images: readonly WandbImage[], step: number | null = null, options: WandbCaptions = {}): void {
    atMost("WandbLogger.logImage", arguments, 4);
    const captions = checkMedia("WandbLogger.logImage", key, "images", images, step, options);
    if (!this.#mute())
      this.#log({ [this.#prefix + key]: imagesValue(this.experiment, this.#prefix + key, images, captions) }, step);
  }

  /** A table: a row of values for each name of `columns`. */
  logTable(
    key: string,
    columns: readonly string[],
    data: readonly (readonly unknown[])[],
    step: number | null = null,
  ): void {
    atMost("WandbLogger.logTable", arguments, 4);
    const row = such<readonly unknown[]>(
      `a row of ${Array.isArray(columns) ? columns.length : 0} values`,
      (v) => Array.isArray(v) && v.length === columns.length,
    );
    checkArguments(
      "WandbLogger.logTable",
      { key, columns, data, step },
      { key: filled, columns: listOf(text), data: listOf(row), step: orNull(kinds.whole()) },
    );
    if (!this.#mute())
      this.#log({ [this.#prefix + key]: tableValue(this.experiment, this.#prefix + key, columns, data) }, step);
  }

  /** Texts, as a table. */
  logText(
    key: string,
    columns: readonly string[],
    data: readonly (readonly string[])[],
    step: number | null = null,
  ): void {
    atMost("WandbLogger.logText", arguments, 4);
    this.logTable(key, columns, data, step);
  }

  /** Sounds: paths of files. */
  logAudio(key: string, audios: readonly string[], step: number | null = null, options: WandbCaptions = {}): void {
    atMost("WandbLogger.logAudio", arguments, 4);
    const captions = checkMedia("WandbLogger.logAudio", key, "audios", audios, step, options, true);
    if (!this.#mute())
      this.#log(
        { [this.#prefix + key]: clipsValue(this.experiment, "audio", this.#prefix + key, audios, captions) },
        step,
      );
  }

  /** Films: paths of files. */
  logVideo(key: string, videos: readonly string[], step: number | null = null, options: WandbCaptions = {}): void {
    atMost("WandbLogger.logVideo", arguments, 4);
    const captions = checkMedia("WandbLogger.logVideo", key, "videos", videos, step, options, true);
    if (!this.#mute())
      this.#log(
        { [this.#prefix + key]: clipsValue(this.experiment, "videos", this.#prefix + key, videos, captions) },
        step,
      );
  }

  #mute(): boolean {
    return this.#follows || globalRank() !== 0;
  }

  override stateDict(): Record<string, unknown> {
    return { id: this.#id, nextStep: this.#run?.step ?? this.#startingStep };
  }

  override loadStateDict(state: Record<string, unknown>): void {
    if (Object.keys(state).length === 0) return;
    const { id, nextStep } = checkState("WandbLogger.loadStateDict", STATE, state);
    if (id !== this.#id || nextStep <= (this.#run?.step ?? 0)) return; // a run of its own
    this.#startingStep = nextStep;
    this.#run?.finish();
    this.#run = null;
  }

  override finalize(status: "success" | "failed" | "interrupted" = "success"): void {
    this.#startingStep = this.#run?.step ?? this.#startingStep;
    this.#run?.finish(FINISHED[status]);
    this.#run = null;
  }
}

function checkMedia(
  fn: string,
  key: string,
  name: string,
  media: readonly unknown[],
  step: number | null,
  options: WandbCaptions,
  pathsAlone = false,
): readonly string[] | null {
  checkArguments(fn, { key, step }, { key: filled, step: orNull(kinds.whole()) });
  const paths = (v: unknown): boolean => !pathsAlone || filled.accepts(v);
  if (!Array.isArray(media) || !media.every(paths))
    throw new ArgumentError(
      fn,
      `${name} to be an array${pathsAlone ? ", every element the path of a file" : ""}`,
      media,
    );
  checkOptions(fn, options, CAPTIONS);
  const { caption = null } = options;
  if (caption !== null && caption.length !== media.length)
    throw new ArgumentError(fn, `${media.length} captions, one per element of ${name}`, caption.length);
  return caption;
}
