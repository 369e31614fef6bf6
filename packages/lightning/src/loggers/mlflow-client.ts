/** MLflow's REST API 2.0, as far as a logger needs it. */
import { Buffer } from "node:buffer";
import { createReadStream, statSync } from "node:fs";
import { basename } from "node:path";
import { Readable } from "node:stream";
import { atMost, checkArguments, kinds, NbitError, plainText } from "@nbit/torch";
import { isError, isPlain } from "@nbit/torch/realm";

/** A server of a logger cannot be reached, or refuses what it is sent. */
export class LoggerServerError extends NbitError {
  constructor(
    message: string,
    /** Of the answer; null: there was none. */
    readonly status: number | null,
    /** As the server names it, such as "RESOURCE_DOES_NOT_EXIST". */
    readonly reason: string,
    options?: ErrorOptions,
  ) {
    super(message, "ERR_LOGGER_SERVER", options);
  }

  /** Whether the same request may succeed later. */
  get worthRetrying(): boolean {
    return this.status === null || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

export interface MlflowMetric {
  readonly key: string;
  readonly value: number;
  /** Milliseconds since 1970. */
  readonly timestamp: number;
  readonly step: number;
}
export interface MlflowText {
  readonly key: string;
  readonly value: string;
}
export interface MlflowExperiment {
  readonly experimentId: string;
  readonly name: string;
  readonly lifecycleStage: string;
}
export interface MlflowRun {
  readonly runId: string;
  readonly experimentId: string;
  readonly artifactUri: string;
  readonly status: string;
}
export type MlflowStatus = "RUNNING" | "FINISHED" | "FAILED" | "KILLED";

export interface MlflowBatch {
  readonly metrics?: readonly MlflowMetric[];
  readonly params?: readonly MlflowText[];
  readonly tags?: readonly MlflowText[];
}

type Json = Readonly<Record<string, unknown>>;
const { filled, record, real } = kinds;

/**
 * Calls an MLflow server: `MLFlowLogger.experiment`. Names and arguments are those of MLflow's Python client; every
 * method is a request, and so returns a promise.
 *
 * `MLFLOW_TRACKING_TOKEN`, or `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`, go with each request.
 *
 * @throws {LoggerServerError} `ERR_LOGGER_SERVER`, with the server's own words.
 * @see MLflow's REST API reference, version 2.0.
 */
export class MlflowClient {
  readonly #timeoutSeconds: number;

  constructor(
    readonly trackingUri: string,
    timeoutSeconds = 30,
  ) {
    atMost("MlflowClient", arguments, 2);
    checkArguments(
      "MlflowClient",
      { trackingUri, timeoutSeconds },
      { trackingUri: filled, timeoutSeconds: real("(0, ∞)") },
    );
    this.#timeoutSeconds = timeoutSeconds;
  }

  /** Null: there is none of that name. */
  async getExperimentByName(name: string): Promise<MlflowExperiment | null> {
    atMost("MlflowClient.getExperimentByName", arguments, 1);
    checkArguments("MlflowClient.getExperimentByName", { name }, { name: filled });
    try {
      const answer = await this.#call("GET", "experiments/get-by-name", { experiment_name: name });
      const found = fieldOf(answer, "experiment");
      return {
        experimentId: textOf(found, "experiment_id"),
        name: textOf(found, "name"),
        lifecycleStage: textOf(found, "lifecycle_stage"),
      };
    } catch (error) {
      if (error instanceof LoggerServerError && error.reason === "RESOURCE_DOES_NOT_EXIST") return null;
      throw error;
    }
  }

  /** @returns The experiment's id. */
  async createExperiment(name: string, artifactLocation: string | null = null): Promise<string> {
    atMost("MlflowClient.createExperiment", arguments, 2);
    checkArguments(
      "MlflowClient.createExperiment",
      { name, artifactLocation },
      { name: filled, artifactLocation: kinds.orNull(filled) },
    );
    const location = artifactLocation === null ? {} : { artifact_location: artifactLocation };
    return textOf(await this.#call("POST", "experiments/create", { name, ...location }), "experiment_id");
  }

  async createRun(
    experimentId: string,
    tags: Readonly<Record<string, string>> = {},
    runName: string | null = null,
  ): Promise<MlflowRun> {
    atMost("MlflowClient.createRun", arguments, 3);
    checkArguments(
      "MlflowClient.createRun",
      { experimentId, tags, runName },
      { experimentId: filled, tags: record, runName: kinds.orNull(filled) },
    );
    const answer = await this.#call("POST", "runs/create", {
      experiment_id: experimentId,
      start_time: Date.now(),
      ...(runName === null ? {} : { run_name: runName }),
      tags: Object.entries(tags).map(([key, value]) => ({ key, value: String(value) })),
    });
    return runOf(answer);
  }

  async getRun(runId: string): Promise<MlflowRun> {
    atMost("MlflowClient.getRun", arguments, 1);
    checkArguments("MlflowClient.getRun", { runId }, { runId: filled });
    return runOf(await this.#call("GET", "runs/get", { run_id: runId }));
  }

  async setTerminated(runId: string, status: MlflowStatus = "FINISHED"): Promise<void> {
    atMost("MlflowClient.setTerminated", arguments, 2);
    checkArguments(
      "MlflowClient.setTerminated",
      { runId, status },
      { runId: filled, status: kinds.oneOf("RUNNING", "FINISHED", "FAILED", "KILLED") },
    );
    const end = status === "RUNNING" ? {} : { end_time: Date.now() };
    await this.#call("POST", "runs/update", { run_id: runId, status, ...end });
  }

  /** At most 1000 metrics, 100 parameters and 100 tags in one call. */
  async logBatch(runId: string, batch: MlflowBatch): Promise<void> {
    atMost("MlflowClient.logBatch", arguments, 2);
    checkArguments("MlflowClient.logBatch", { runId, batch }, { runId: filled, batch: record });
    const { metrics = [], params = [], tags = [] } = batch;
    await this.#call("POST", "runs/log-batch", {
      run_id: runId,
      metrics: metrics.map((metric) => ({ ...metric, value: jsonNumber(metric.value) })),
      params,
      tags,
    });
  }

  async logMetric(runId: string, key: string, value: number, timestamp = Date.now(), step = 0): Promise<void> {
    atMost("MlflowClient.logMetric", arguments, 5);
    const [number, whole] = [real("[-∞, ∞]"), kinds.whole()];
    const given = { runId, key, value, timestamp, step };
    checkArguments("MlflowClient.logMetric", given, {
      runId: filled,
      key: filled,
      value: Number.isNaN(value) ? true : number,
      timestamp: whole,
      step: whole,
    });
    await this.#call("POST", "runs/log-metric", { run_id: runId, key, value: jsonNumber(value), timestamp, step });
  }

  async logParam(runId: string, key: string, value: string): Promise<void> {
    atMost("MlflowClient.logParam", arguments, 3);
    checkArguments("MlflowClient.logParam", { runId, key, value }, { runId: filled, key: filled, value: kinds.text });
    await this.#call("POST", "runs/log-parameter", { run_id: runId, key, value });
  }

  async setTag(runId: string, key: string, value: string): Promise<void> {
    atMost("MlflowClient.setTag", arguments, 3);
    checkArguments("MlflowClient.setTag", { runId, key, value }, { runId: filled, key: filled, value: kinds.text });
    await this.#call("POST", "runs/set-tag", { run_id: runId, key, value });
  }

  /**
   * Upload a file, by way of the server. @param artifactPath - Folder within the run's artifacts. Default: their root.
   * @throws {LoggerServerError} `NO_PROXY` where the run's artifacts lie in a store that the server does not pass files
   *   on to (`mlflow server --serve-artifacts`, the default, does).
   */
  async logArtifact(runId: string, localPath: string, artifactPath = ""): Promise<void> {
    atMost("MlflowClient.logArtifact", arguments, 3);
    checkArguments(
      "MlflowClient.logArtifact",
      { runId, localPath, artifactPath },
      { runId: filled, localPath: filled, artifactPath: kinds.text },
    );
    const { artifactUri } = await this.getRun(runId);
    const proxied = /^mlflow-artifacts:(?:\/\/[^/]*)?\/(.*)$/.exec(artifactUri)?.[1];
    if (proxied === undefined)
      throw new LoggerServerError(
        `MLflow: expected artifacts of the run to lie with the server (mlflow-artifacts:). Received: ${plainText(artifactUri)}. Start it with --serve-artifacts.`,
        400,
        "NO_PROXY",
      );
    const path = [proxied, artifactPath, basename(localPath)].filter((part) => part !== "").join("/");
    const url = `${this.#root}/api/2.0/mlflow-artifacts/artifacts/${path.split("/").map(encodeURIComponent).join("/")}`;
    const size = statSync(localPath).size;
    const body = Readable.toWeb(createReadStream(localPath)) as ReadableStream;
    const headers = { "content-type": "application/octet-stream", "content-length": String(size) };
    await this.#request(url, { method: "PUT", body, headers, duplex: "half" }, Infinity);
  }

  get #root(): string {
    return this.trackingUri.replace(/\/+$/, "");
  }

  async #call(method: "GET" | "POST", path: string, content: Json): Promise<Json> {
    const url = new URL(`${this.#root}/api/2.0/mlflow/${path}`);
    if (method === "GET") for (const [key, value] of Object.entries(content)) url.searchParams.set(key, String(value));
    const body =
      method === "GET" ? {} : { body: JSON.stringify(content), headers: { "content-type": "application/json" } };
    return this.#request(url.href, { method, ...body }, this.#timeoutSeconds);
  }

  async #request(url: string, init: RequestInit & { readonly duplex?: "half" }, seconds: number): Promise<Json> {
    const signal = Number.isFinite(seconds) ? { signal: AbortSignal.timeout(seconds * 1000) } : {};
    let text: string;
    let response: Response;
    try {
      response = await fetch(url, { ...init, headers: { ...authorization(), ...init.headers }, ...signal });
      text = await response.text();
    } catch (error) {
      throw new LoggerServerError(
        `MLflow: no answer from ${plainText(this.trackingUri)}: ${whyOf(error)}.`,
        null,
        "NO_ANSWER",
        { cause: error },
      );
    }
    const answer = parsed(text);
    if (!response.ok) {
      const reason = typeof answer["error_code"] === "string" ? answer["error_code"] : String(response.status);
      const said = typeof answer["message"] === "string" ? answer["message"] : text.slice(0, 200);
      throw new LoggerServerError(
        `MLflow: ${plainText(this.trackingUri)} answers ${response.status} ${plainText(reason)}: ${plainText(said)}`,
        response.status,
        reason,
      );
    }
    return answer;
  }
}

function authorization(): Record<string, string> {
  const {
    MLFLOW_TRACKING_TOKEN: token,
    MLFLOW_TRACKING_USERNAME: user,
    MLFLOW_TRACKING_PASSWORD: password,
  } = process.env;
  if (token !== undefined && token !== "") return { authorization: `Bearer ${token}` };
  if (user === undefined || user === "") return {};
  return { authorization: `Basic ${Buffer.from(`${user}:${password ?? ""}`).toString("base64")}` };
}

/** What failed below: "fetch failed" alone says nothing. */
function whyOf(error: unknown): string {
  if (!isError(error)) return String(error);
  const cause: unknown = error.cause;
  const code = isError(cause) && "code" in cause ? String(cause.code) : null;
  return plainText(
    error.name === "TimeoutError" ? "it took too long" : (code ?? (isError(cause) ? cause.message : error.message)),
  );
}

function parsed(text: string): Json {
  if (text === "") return {};
  try {
    const value: unknown = JSON.parse(text);
    return isPlain(value) ? value : {};
  } catch {
    return {}; // a proxy's page
  }
}

function fieldOf(answer: Json, name: string): Json {
  const value = answer[name];
  if (!isPlain(value))
    throw new LoggerServerError(`MLflow: expected an answer with ${name}. Received: another.`, 502, "ANSWER");
  return value;
}
function textOf(answer: Json, name: string): string {
  const value = answer[name];
  if (typeof value !== "string")
    throw new LoggerServerError(`MLflow: expected an answer with ${name}. Received: another.`, 502, "ANSWER");
  return value;
}
function runOf(answer: Json): MlflowRun {
  const info = fieldOf(fieldOf(answer, "run"), "info");
  return {
    runId: textOf(info, "run_id"),
    experimentId: textOf(info, "experiment_id"),
    artifactUri: typeof info["artifact_uri"] === "string" ? info["artifact_uri"] : "",
    status: typeof info["status"] === "string" ? info["status"] : "",
  };
}

/** JSON has no word for these three; protocol buffers' JSON has. */
function jsonNumber(value: number): number | string {
  return Number.isFinite(value) ? value : String(value);
}
