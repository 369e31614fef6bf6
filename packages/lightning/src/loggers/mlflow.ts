import { existsSync } from "node:fs";
import { basename, extname, join } from "node:path";
import { atMost, kinds, plainText, signature, type Call, type OptionNames } from "@nbit/torch";
import { isError } from "@nbit/torch/realm";
import { MisconfigurationError } from "../errors.js";
import { globalRank } from "@nbit/torch/distributed";
import { warn, WarnOnce } from "../warnings.js";
import { flatHparams } from "./hparams.js";
import { Logger, type Metrics, type SavedCheckpoint } from "./logger.js";
import { LoggerServerError, MlflowClient, type MlflowMetric } from "./mlflow-client.js";
import { ServerQueue } from "./server-queue.js";
import { silent } from "./silent.js";

export interface MLFlowLoggerArguments {
  /** Made when there is none. Default "nbit_logs". */
  readonly experimentName?: string;
  /** Name of the run. Default: the server chooses one. */
  readonly runName?: string | null;
  /** Address of the server, `http://localhost:5000`. Default: the environment's `MLFLOW_TRACKING_URI`. */
  readonly trackingUri?: string | null;
  /** Of the run. */
  readonly tags?: Readonly<Record<string, string>> | null;
  /** Folder of what stays here, such as checkpoints. Default "mlruns". */
  readonly saveDir?: string;
  /** Upload checkpoints: true when the run ends, "all" whenever one was saved. Default false. */
  readonly logModel?: boolean | "all";
  /** Put before each metric's name, joined by "-". Default none. */
  readonly prefix?: string;
  /** Where a new experiment's artifacts go. Default: the server decides. */
  readonly artifactLocation?: string | null;
  /** Go on with this run. Default: a new one. */
  readonly runId?: string | null;
  /** Wait until the server has what was logged, at most `timeoutSeconds`. Default false: it is sent while training goes on. */
  readonly synchronous?: boolean | null;
  /** Seconds that one request, and the end of the run, may take. Default 30. */
  readonly timeoutSeconds?: number;
  /** Seconds until a request that failed is sent again; twice as long each time, up to a minute. Default 1. */
  readonly retrySeconds?: number;
}
const { byDefault, either, filled, flag, oneOf, orNull, real, record, such, text } = kinds;
const tagsKind = such<Readonly<Record<string, string>>>(
  "an object of strings",
  (v) => record.accepts(v) && Object.values(v as object).every((tag) => typeof tag === "string"),
);
const read = signature(
  "MLFlowLogger",
  {
    experimentName: byDefault("nbit_logs", filled),
    runName: byDefault(null, orNull(filled)),
    trackingUri: byDefault(null, orNull(filled)),
    tags: byDefault(null, orNull(tagsKind)),
    saveDir: byDefault("mlruns", filled),
    logModel: byDefault(false, either(flag, oneOf("all"))),
    prefix: byDefault("", text),
    artifactLocation: byDefault(null, orNull(filled)),
    runId: byDefault(null, orNull(filled)),
    synchronous: byDefault(null, orNull(flag)),
    timeoutSeconds: byDefault(30, real("(0, ∞)")),
    retrySeconds: byDefault(1, real("(0, ∞)")),
  } satisfies OptionNames<MLFlowLoggerArguments>,
  10,
);

/** Limits of the server's: metrics in a batch, parameters in a batch, characters of a parameter. */
const PER_BATCH = 1000;
const PARAMS_PER_BATCH = 100;
const PARAM_LENGTH = 500;
const MOST_WAITING = 100_000;
const ATTEMPTS_AT_START = 3;
const STATUS = { success: "FINISHED", failed: "FAILED", interrupted: "KILLED" } as const;

/**
 * Logs to an MLflow server by its REST API.
 *
 * The experiment and the run are made before training starts: a server that does not answer then, after three attempts,
 * is an error. Later nothing of it stops training: values wait in a queue of at most 100 000, are sent in batches while
 * training goes on, and again and again, less and less often, while the server is away; one warning says so
 * (`WARN_LOGGER_SERVER`). At its end the run waits for at most `timeoutSeconds`, and a warning says how many values are
 * lost. A process that is killed loses what waits; with `synchronous: true` nothing does.
 *
 * Files in `mlruns` without a server are not written: MLflow has given that store up for databases. Start
 * `mlflow server`, which keeps its data where you tell it to.
 *
 * @throws {MisconfigurationError} `ERR_MLFLOW_URI` without an address, or for one that is not http or https.
 * @throws {LoggerServerError} `ERR_LOGGER_SERVER`, when a run starts and the server does not answer, or refuses.
 * @example
 * const logger = new MLFlowLogger("mnist", { trackingUri: "http://localhost:5000" });
 */
export class MLFlowLogger extends Logger {
  readonly saveDir: string;
  readonly #options: ReturnType<typeof read>;
  readonly #client: MlflowClient;
  readonly #queue: ServerQueue<MlflowMetric>;
  readonly #prefix: string;
  readonly #warnings = new WarnOnce();
  #experimentId: string | null = null;
  #runId: string | null;
  #started = false;
  #follows = false;
  /** Checkpoints to upload, and those that were, by their paths. */
  readonly #checkpoints = new Map<string, "waits" | "done">();
  #uploads: Promise<void> = Promise.resolve();

  constructor(
    ...given: Call<
      MLFlowLoggerArguments,
      [
        "experimentName",
        "runName",
        "trackingUri",
        "tags",
        "saveDir",
        "logModel",
        "prefix",
        "artifactLocation",
        "runId",
        "synchronous",
      ],
      [
        experimentName?: string,
        runName?: string | null,
        trackingUri?: string | null,
        tags?: Readonly<Record<string, string>> | null,
        saveDir?: string,
        logModel?: boolean | "all",
        prefix?: string,
        artifactLocation?: string | null,
        runId?: string | null,
        synchronous?: boolean | null,
      ]
    >
  ) {
    super();
    const options = read(given);
    this.#options = options;
    this.saveDir = options.saveDir;
    this.#runId = options.runId;
    this.#prefix = options.prefix === "" ? "" : `${options.prefix}-`;
    this.#client = new MlflowClient(checkedUri(options.trackingUri), options.timeoutSeconds);
    this.#queue = new ServerQueue({
      name: "MLFlowLogger",
      send: (metrics) => this.#client.logBatch(this.#runId ?? "", { metrics }),
      worthRetrying: (error) => error instanceof LoggerServerError && error.worthRetrying,
      perSend: PER_BATCH,
      most: MOST_WAITING,
      retrySeconds: options.retrySeconds,
    });
  }

  /** The experiment's id, as Lightning has it; its name until a run has started. */
  get name(): string {
    return this.#experimentId ?? this.#options.experimentName;
  }
  /** The run's id; "" until a run has started. */
  get version(): string {
    return this.#runId ?? "";
  }
  get runId(): string | null {
    return this.#runId;
  }
  get experimentId(): string | null {
    return this.#experimentId;
  }
  /** `<saveDir>/<experiment's id>/<run's id>`, for files that stay here; null until a run has started. */
  override get logDir(): string | null {
    return this.#experimentId === null || this.#runId === null
      ? null
      : join(this.saveDir, this.#experimentId, this.#runId);
  }

  /** The client, for what is not a metric. In processes other than the first one that sends nothing. */
  get experiment(): MlflowClient {
    if (!this.#follows && globalRank() === 0) return this.#client;
    return silent(MlflowClient, { trackingUri: this.#client.trackingUri }, Promise.resolve(undefined));
  }

  override follow(version: number | string): void {
    this.#runId = String(version);
    this.#follows = true;
  }

  /** Find or make the experiment and the run. */
  override async start(): Promise<void> {
    if (this.#follows) return;
    await this.#insisting(async () => {
      if (this.#runId === null) {
        this.#experimentId ??= await this.#findExperiment();
        const { runName, tags } = this.#options;
        const named: Record<string, string> = runName === null ? {} : { "mlflow.runName": runName };
        const run = await this.#client.createRun(this.#experimentId, { ...tags, ...named }, runName);
        this.#runId = run.runId;
      } else {
        this.#experimentId = (await this.#client.getRun(this.#runId)).experimentId;
        await this.#client.setTerminated(this.#runId, "RUNNING");
      }
    });
    this.#started = true;
  }

  async #findExperiment(): Promise<string> {
    const { experimentName, artifactLocation } = this.#options;
    const found = await this.#client.getExperimentByName(experimentName);
    if (found !== null && found.lifecycleStage !== "deleted") return found.experimentId;
    return this.#client.createExperiment(experimentName, artifactLocation);
  }

  /** A few attempts, of which the last one's error counts. */
  async #insisting(run: () => Promise<void>): Promise<void> {
    for (let attempt = 1; ; attempt++)
      try {
        return await run();
      } catch (error) {
        const retry = error instanceof LoggerServerError && error.worthRetrying && attempt < ATTEMPTS_AT_START;
        if (!retry) throw error;
        await new Promise((resolve) => setTimeout(resolve, this.#options.retrySeconds * 1000 * 2 ** (attempt - 1)));
      }
  }

  logMetrics(metrics: Metrics, step: number): void | Promise<void> {
    if (this.#follows) return;
    const timestamp = Date.now();
    this.#queue.add(
      Object.entries(metrics).map(([key, value]) => ({
        key: this.#nameOf(this.#prefix + key),
        value,
        timestamp,
        step,
      })),
    );
    if (this.#options.synchronous === true) return this.#arrived();
  }

  async #arrived(): Promise<void> {
    if (this.#started) await this.#queue.drained(this.#options.timeoutSeconds);
  }

  /** What the server takes in names: letters, digits, `_ - . / ` and spaces. */
  #nameOf(key: string): string {
    const name = key.replace(/[^a-zA-Z0-9_/. -]+/g, "");
    if (name !== key)
      this.#warnings.warn(
        "WARN_METRIC_NAME",
        plainText(
          `MLFlowLogger: MLflow takes no name such as ${JSON.stringify(key)}: it is logged as ${JSON.stringify(name)}.`,
        ),
      );
    return name;
  }

  /** As parameters, nested ones under names with "/" between; texts of more than 500 characters are cut off. */
  override async logHyperparams(params: Readonly<Record<string, unknown>>): Promise<void> {
    if (this.#follows) return;
    if (!this.#started) await this.start();
    const all = Object.entries(flatHparams(params)).map(([key, value]) => ({
      key: this.#nameOf(key),
      value: String(value).slice(0, PARAM_LENGTH),
    }));
    for (let at = 0; at < all.length; at += PARAMS_PER_BATCH)
      await this.#orWarn("parameters", () =>
        this.#client.logBatch(this.version, { params: all.slice(at, at + PARAMS_PER_BATCH) }),
      );
  }

  async #orWarn(what: string, run: () => Promise<void>): Promise<void> {
    try {
      await this.#insisting(run);
    } catch (error) {
      warn(
        "WARN_LOGGER_REFUSED",
        plainText(`MLFlowLogger: ${what} could not be logged: ${isError(error) ? error.message : String(error)}`),
      );
    }
  }

  override save(): void {
    atMost("MLFlowLogger.save", arguments, 0);
  }

  override stateDict(): Record<string, unknown> {
    return this.#runId === null ? {} : { runId: this.#runId };
  }

  override afterSaveCheckpoint({ lastSavedPath }: SavedCheckpoint): void {
    if (this.#options.logModel === false || this.#follows) return;
    this.#checkpoints.set(lastSavedPath, "waits");
    if (this.#options.logModel === "all") this.#uploads = this.#uploads.then(() => this.#upload());
  }

  async #upload(): Promise<void> {
    for (const [path, state] of this.#checkpoints) {
      if (state === "done") continue;
      this.#checkpoints.set(path, "done");
      // One that another has taken the place of.
      if (this.#options.logModel === true && !existsSync(path)) continue;
      const folder = basename(path, extname(path));
      await this.#orWarn(`the checkpoint ${path}`, () => this.#client.logArtifact(this.version, path, folder));
    }
  }

  override async finalize(status: "success" | "failed" | "interrupted" = "success"): Promise<void> {
    if (!this.#started) return;
    this.#started = false;
    if (!(await this.#queue.drained(this.#options.timeoutSeconds))) {
      const lost = this.#queue.stop() + this.#queue.dropped;
      warn("WARN_LOGGER_LOST", `MLFlowLogger: the server did not take ${lost} values in time: they are lost.`);
      return;
    }
    if (this.#options.logModel === true) this.#uploads = this.#uploads.then(() => this.#upload());
    await this.#uploads;
    await this.#orWarn("the end of the run", () => this.#client.setTerminated(this.version, STATUS[status]));
  }
}

function checkedUri(given: string | null): string {
  const uri = given ?? process.env["MLFLOW_TRACKING_URI"] ?? "";
  if (/^https?:\/\/[^/]/.test(uri) && URL.canParse(uri)) return uri;
  throw new MisconfigurationError(
    "MLFlowLogger",
    'trackingUri to be the address of a server, such as "http://localhost:5000"',
    uri,
    "Start one: mlflow server --port 5000. Files in mlruns without a server are not written.",
    "ERR_MLFLOW_URI",
  );
}
