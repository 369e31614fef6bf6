/**
 * A server of MLflow's REST API 2.0 that keeps everything in memory, for tests: written from the API's reference
 * (experiments/get-by-name and create, runs/create, get, update, log-batch, log-metric, log-parameter, set-tag, and the
 * proxy of artifacts), with its limits, its error codes, and its rule that a parameter does not change. It is not
 * MLflow.
 */
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";

export interface StoredMetric {
  readonly key: string;
  readonly value: number;
  readonly timestamp: number;
  readonly step: number;
}
export interface StoredRun {
  readonly runId: string;
  readonly experimentId: string;
  readonly tags: Map<string, string>;
  readonly params: Map<string, string>;
  readonly metrics: StoredMetric[];
  readonly statuses: string[];
  /** Contents by path. */
  readonly artifacts: Map<string, Buffer>;
}

type Body = Readonly<Record<string, unknown>>;
class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}
const missing = (what: string): Refusal => new Refusal(404, "RESOURCE_DOES_NOT_EXIST", `${what} does not exist`);
const invalid = (why: string): Refusal => new Refusal(400, "INVALID_PARAMETER_VALUE", why);

export class FakeMlflow {
  readonly experiments = new Map<string, string>();
  readonly runs = new Map<string, StoredRun>();
  /** `POST runs/log-batch` and so on, in their order. */
  readonly requests: string[] = [];
  readonly authorizations = new Set<string | undefined>();
  /** Answer so many requests with 503 first. */
  failures = 0;
  artifactScheme = "mlflow-artifacts";
  readonly #server = createServer((request, response) => {
    void this.#answer(request).then(
      (content) => response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(content)),
      (error: unknown) => {
        const { status, code } = error instanceof Refusal ? error : { status: 500, code: "INTERNAL_ERROR" };
        response.writeHead(status).end(JSON.stringify({ error_code: code, message: String((error as Error).message) }));
      },
    );
  });

  async listen(port = 0): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(port, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }
  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage): Promise<unknown> {
    const url = new URL(request.url ?? "", "http://server");
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    this.authorizations.add(request.headers.authorization);
    const path = url.pathname.replace("/api/2.0/mlflow/", "");
    this.requests.push(`${request.method ?? ""} ${path}`);
    if (this.failures > 0) {
      this.failures--;
      throw new Refusal(503, "TEMPORARILY_UNAVAILABLE", "come again");
    }
    const artifact = /^\/api\/2\.0\/mlflow-artifacts\/artifacts\/(.+)$/.exec(path)?.[1];
    if (artifact !== undefined && request.method === "PUT") {
      const [, runId = "", name = ""] = /^[^/]+\/([^/]+)\/artifacts\/(.+)$/.exec(decodeURIComponent(artifact)) ?? [];
      this.#run({ run_id: runId }).artifacts.set(name, Buffer.concat(parts));
      return {};
    }
    const body =
      request.method === "GET"
        ? Object.fromEntries(url.searchParams)
        : (JSON.parse(Buffer.concat(parts).toString()) as Body);
    const handler = this.#routes[`${request.method ?? ""} ${path}`];
    if (handler === undefined) throw new Refusal(404, "ENDPOINT_NOT_FOUND", path);
    return handler(body);
  }

  #run(body: Body): StoredRun {
    const run = this.runs.get(String(body["run_id"]));
    if (run === undefined) throw missing(`Run ${String(body["run_id"])}`);
    return run;
  }
  #info({ runId, experimentId, statuses }: StoredRun): unknown {
    const artifact_uri = `${this.artifactScheme}:/${experimentId}/${runId}/artifacts`;
    return {
      run: { info: { run_id: runId, experiment_id: experimentId, artifact_uri, status: statuses.at(-1) }, data: {} },
    };
  }
  #param(run: StoredRun, key: string, value: string): void {
    if (value.length > 500) throw invalid(`Param value of ${key} is too long`);
    const before = run.params.get(key);
    if (before !== undefined && before !== value) throw invalid(`Changing param values is not allowed. Param ${key}`);
    run.params.set(key, value);
  }
  #metric(run: StoredRun, { key, value, timestamp, step }: Body): void {
    if (typeof key !== "string" || !/^[/\w.\- :]+$/.test(key)) throw invalid(`Invalid metric name: ${String(key)}`);
    const number = typeof value === "string" ? Number(value) : value;
    if (typeof number !== "number" || typeof timestamp !== "number") throw invalid(`Invalid metric ${key}`);
    run.metrics.push({ key, value: number, timestamp, step: Number(step ?? 0) });
  }

  readonly #routes: Readonly<Record<string, (body: Body) => unknown>> = {
    "GET experiments/get-by-name": (body) => {
      const name = String(body["experiment_name"]);
      const id = this.experiments.get(name);
      if (id === undefined) throw missing(`Experiment ${name}`);
      return { experiment: { experiment_id: id, name, lifecycle_stage: "active", artifact_location: "x" } };
    },
    "POST experiments/create": (body) => {
      const name = String(body["name"]);
      if (this.experiments.has(name)) throw new Refusal(400, "RESOURCE_ALREADY_EXISTS", name);
      const id = String(this.experiments.size + 1);
      this.experiments.set(name, id);
      return { experiment_id: id };
    },
    "POST runs/create": (body) => {
      const experimentId = String(body["experiment_id"]);
      if (![...this.experiments.values()].includes(experimentId)) throw missing(`Experiment ${experimentId}`);
      const tags = (body["tags"] ?? []) as { key: string; value: string }[];
      const run: StoredRun = {
        runId: `run${this.runs.size + 1}`,
        experimentId,
        tags: new Map(tags.map(({ key, value }) => [key, value])),
        params: new Map(),
        metrics: [],
        statuses: ["RUNNING"],
        artifacts: new Map(),
      };
      this.runs.set(run.runId, run);
      return this.#info(run);
    },
    "GET runs/get": (body) => this.#info(this.#run(body)),
    "POST runs/update": (body) => {
      const run = this.#run(body);
      run.statuses.push(String(body["status"]));
      return { run_info: {} };
    },
    "POST runs/log-batch": (body) => {
      const run = this.#run(body);
      const { metrics = [], params = [], tags = [] } = body as Record<string, Body[]>;
      if (metrics.length > 1000 || params.length > 100 || tags.length > 100) throw invalid("A batch of too many");
      for (const metric of metrics) this.#metric(run, metric);
      for (const { key, value } of params) this.#param(run, String(key), String(value));
      for (const { key, value } of tags) run.tags.set(String(key), String(value));
      return {};
    },
    "POST runs/log-metric": (body) => {
      this.#metric(this.#run(body), body);
      return {};
    },
    "POST runs/log-parameter": (body) => {
      this.#param(this.#run(body), String(body["key"]), String(body["value"]));
      return {};
    },
    "POST runs/set-tag": (body) => {
      this.#run(body).tags.set(String(body["key"]), String(body["value"]));
      return {};
    },
  };
}
