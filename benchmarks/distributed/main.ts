/**
 * The benchmark of several processes: nbit, PyTorch and Lightning, in turn on one machine.
 *
 * node benchmarks/dist/distributed/main.js [--models=gpt2,resnet50,…] [--precisions=bf16,…] [--how=alone,ddp,…]
 * [--sides=nbit,graph,loop,lightning] [--ranks=2] [--steps=30] [--out=benchmarks/results/distributed.json]
 *
 * Every process has as much work as one process alone: efficiency is the step alone over the step together. Rows go to
 * `--out` as they come. `NBIT_BASELINE_PYTHON` names a Python with torch and lightning (default python3).
 */
import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { flagsOf } from "../flags.js";

const flags = flagsOf(["models", "precisions", "how", "sides", "ranks", "steps", "out"]);
const list = (name: string, otherwise: string): readonly string[] => (flags.get(name) ?? otherwise).split(",");
const here = fileURLToPath(new URL(".", import.meta.url));
const baseline = join(here, "..", "..", "distributed", "baseline.py");
const python = process.env["NBIT_BASELINE_PYTHON"] ?? "python3";
const out = flags.get("out") ?? "benchmarks/results/distributed.json";
const ranks = Number(flags.get("ranks") ?? 2);
const steps = flags.get("steps") ?? "30";
const LIMIT_MS = 240_000;

interface Measured {
  readonly side: string;
  readonly model: string;
  readonly precision: string;
  readonly how: string;
  readonly mode: string;
  readonly ranks: number;
  readonly ms: number;
  readonly min: number;
  readonly losses: readonly number[];
  readonly allocatedMiB: number | null;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Both sides are started in the same way: one process for each rank. */
async function measure(command: readonly string[], n: number): Promise<Measured | null> {
  const port = await freePort();
  const processes = Array.from({ length: n }, (_, rank) => {
    const own = n === 1 ? {} : { RANK: `${rank}`, LOCAL_RANK: `${rank}`, WORLD_SIZE: `${n}`, LOCAL_WORLD_SIZE: `${n}` };
    const child = spawn(command[0] ?? "", command.slice(1), {
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        ...process.env,
        ...own,
        MASTER_ADDR: "127.0.0.1",
        MASTER_PORT: `${port}`,
        OMP_NUM_THREADS: process.env["OMP_NUM_THREADS"] ?? "1",
        NODE_NO_WARNINGS: "1",
      },
    });
    const timer = setTimeout(() => child.kill("SIGKILL"), LIMIT_MS);
    return new Promise<{ text: string; errors: string }>((resolve) => {
      let [text, errors] = ["", ""];
      child.stdout.setEncoding("utf8").on("data", (part: string) => (text += part));
      child.stderr.setEncoding("utf8").on("data", (part: string) => (errors += part));
      child.on("close", () => {
        clearTimeout(timer);
        resolve({ text, errors });
      });
    });
  });
  const results = await Promise.all(processes);
  const line = results[0]?.text.split("\n").find((l) => l.startsWith("{"));
  if (line === undefined)
    console.error(`failed: ${command.slice(1).join(" ")}\n${results.map((r) => r.errors.slice(-700)).join("\n")}`);
  return line === undefined ? null : (JSON.parse(line) as Measured);
}

function commandOf(side: string, row: readonly string[]): readonly string[] {
  if (side === "nbit" || side === "graph")
    return [process.execPath, join(here, "nbit.js"), ...row, side === "graph" ? "graph" : "eager", steps];
  return [python, baseline, ...row, side, steps];
}

const results: Measured[] = [];
mkdirSync(dirname(out), { recursive: true });
for (const model of list("models", "gpt-cpu,mlp-cpu"))
  for (const precision of list("precisions", "32"))
    for (const how of list("how", "alone,ddp"))
      for (const side of list("sides", "nbit,loop,lightning")) {
        const measured = await measure(commandOf(side, [model, precision, how]), how === "alone" ? 1 : ranks);
        if (measured === null) continue;
        results.push(measured);
        writeFileSync(out, `${JSON.stringify(results, null, 1)}\n`);
        const alone = results.find(
          (r) =>
            r.model === model &&
            r.precision === precision &&
            r.side === measured.side &&
            r.mode === measured.mode &&
            r.how === "alone",
        );
        const efficiency = alone === undefined ? "" : `, efficiency ${(alone.ms / measured.ms).toFixed(3)}`;
        const memory = measured.allocatedMiB === null ? "" : `, ${(measured.allocatedMiB / 1024).toFixed(2)} GiB`;
        console.log(
          `${model} ${precision} ${how} ${side}: ${measured.ms.toFixed(2)} ms (best ${measured.min.toFixed(2)})${efficiency}${memory}; losses ${measured.losses.map((l) => l.toFixed(5)).join(" ")}`,
        );
      }
