/** JAX's programs of the same models for the same topologies. */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { pluginFor } from "@nbit/xla";
import type { Work } from "./workloads.js";

export interface JaxProgram {
  readonly seconds: number;
  readonly flops: number | null;
  readonly bytesAccessed: number | null;
  readonly estimatedSeconds: number | null;
  readonly devices: number;
}

export interface JaxJob {
  readonly work: Work;
  readonly topology: string;
  readonly precision: "32" | "bf16";
}

/** With `NBIT_PEER_PYTHON`, or where `npm run bench` has set up its peers. Null: no Python with JAX is there. */
export function jaxPython(): string | null {
  const python = process.env["NBIT_PEER_PYTHON"] ?? join(homedir(), ".cache", "nbit-peer", "bin", "python");
  return existsSync(python) ? python : null;
}

export function jaxVersion(python: string): string {
  return execFileSync(python, ["-c", "import jax; print(jax.__version__)"], { encoding: "utf8" }).trim();
}

/** In the order of jobs; null where JAX has no such model. */
export function jaxPrograms(python: string, jobs: readonly JaxJob[]): (JaxProgram | null)[] {
  const described = jobs.map(describe);
  const input = JSON.stringify(described.filter((job) => job !== null));
  const script = fileURLToPath(new URL("../../tpu/jax_aot.py", import.meta.url));
  const env = {
    ...process.env,
    JAX_PLATFORMS: "cpu",
    TPU_LIBRARY_PATH: pluginFor("tpu"),
    TPU_SKIP_MDS_QUERY: "1",
    TPU_WORKER_HOSTNAMES: "localhost",
    TPU_ACCELERATOR_TYPE: "v5litepod-4",
  };
  const text = execFileSync(python, [script], { input, env, encoding: "utf8", stdio: ["pipe", "pipe", "inherit"] });
  const results = text
    .trim()
    .split("\n")
    .filter((line) => line !== "");
  return described.map((job) => (job === null ? null : (JSON.parse(results.shift() ?? "null") as JaxProgram | null)));
}

function describe({ work, topology, precision }: JaxJob): object | null {
  if (work.spec === null) return null;
  const { module, batch } = work.make();
  const { net } = module;
  const shapes: Record<string, readonly number[]> = {};
  for (const [name, t] of net.namedParameters()) shapes[`p.${name}`] = t.shape;
  for (const [name, t] of net.namedBuffers())
    if (!name.endsWith("num_batches_tracked") && !name.endsWith("numBatchesTracked")) shapes[`s.${name}`] = t.shape;
  const [x, y] = batch.map(({ shape, dtype }) => ({ shape, dtype }));
  return {
    model: work.spec,
    optimizer: { name: work.optimizer, lr: work.optimizer === "SGD" ? 0.01 : 1e-3 },
    shapes,
    x,
    y,
    precision,
    topology,
    options: topology.endsWith(":1x1") ? { chips_per_host_bounds: [1, 1, 1] } : {},
  };
}
