/**
 * The long campaign: thousands of steps for each precision × {eager, graph} × {bare, all callbacks} × way of training,
 * then every optimizer resumed in every precision. On a GPU; without one, on the CPU, where the same loops run eagerly.
 *
 *     npm run test:gpu:long                     all of it, several precisions at a time
 *     npm run test:gpu:long -- --steps 300      shorter loops
 *     npm run test:gpu:long -- --out FILE.md    also writes its log
 *
 * Prints a row per loop that failed and a table of all; ends with `N passed, N failed`.
 */
import { spawn } from "node:child_process";
import { readFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { cuda, versions } from "@nbit/torch";
import { nameOf, runLoop, type Loop } from "./loop.js";
import { MODES, type Mode } from "./net.js";
import { LOW_BIT, PRECISIONS, WHOLE, type PrecisionCase } from "./precisions.js";
import { resumes } from "./resume.js";

interface Row {
  readonly name: string;
  readonly wrong: readonly string[];
  readonly milliseconds: number | null;
  readonly replayed: number | null;
}

const { values } = parseArgs({
  options: {
    steps: { type: "string", default: "3000" },
    out: { type: "string" },
    precision: { type: "string" },
    rows: { type: "string" },
    jobs: { type: "string" },
  },
});
const steps = Number(values.steps);
if (!Number.isInteger(steps) || steps < 16)
  throw new Error(`test:gpu:long: expected --steps to be a whole number of at least 16. Received: ${values.steps}`);
const device = cuda.isAvailable() ? "cuda" : "cpu";
const ways = device === "cuda" ? [false, true] : [false];

/** Modes that make sense: an infinite batch without a scaler makes every weight NaN. */
const modesOf = (precision: PrecisionCase): Mode[] => MODES.filter((mode) => mode !== "infinities" || precision.scales);

/** To the last bit; but for float64, whose learning rate graphs read as float32. */
function equal(precision: PrecisionCase, eager: readonly number[], graph: readonly number[]): boolean {
  const within = precision.name === "64" ? 1e-5 : 0;
  return (
    eager.length === graph.length &&
    eager.every(
      (v, i) => Object.is(v, graph[i]) || Math.abs(v - (graph[i] as number)) <= within * Math.max(1, Math.abs(v)),
    )
  );
}

async function loopsOf(precision: PrecisionCase): Promise<Row[]> {
  const rows: Row[] = [];
  for (const mode of modesOf(precision))
    for (const callbacks of [false, true]) {
      const ends = new Map<boolean, readonly number[]>();
      for (const graph of ways) {
        const loop: Loop = { precision, graph, callbacks, mode, steps, device };
        try {
          const { wrong, milliseconds, replayed, weights } = await runLoop(loop);
          ends.set(graph, weights);
          const eager = ends.get(false);
          if (graph && eager !== undefined && !equal(precision, eager, weights))
            wrong.push("the weights are not those of eager steps");
          rows.push({ name: nameOf(loop), wrong, milliseconds, replayed });
        } catch (error) {
          rows.push({
            name: nameOf(loop),
            wrong: [error instanceof Error ? `${error.name}: ${error.message.split("\n")[0] ?? ""}` : String(error)],
            milliseconds: null,
            replayed: null,
          });
        }
      }
    }
  return rows;
}

async function resumesOf(precision: PrecisionCase): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [optimizer, make] of Object.entries(precision.name === "64" ? WHOLE : { ...WHOLE, ...LOW_BIT }))
    for (const graph of ways) {
      const wrong = await resumes(precision, make, graph, device);
      rows.push({
        name: `${precision.name}, ${graph ? "graph" : "eager"}, ${optimizer} resumed`,
        wrong: wrong === null ? [] : [wrong],
        milliseconds: null,
        replayed: null,
      });
    }
  return rows;
}

/** Every precision in a process of its own: what one leaves behind, another does not meet. */
async function everything(): Promise<Row[]> {
  const folder = mkdtempSync(join(tmpdir(), "nbit-campaign-"));
  const waiting = [...PRECISIONS];
  const all = new Map<string, Row[]>();
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const { name } = next;
      const file = join(folder, `${name}.json`);
      const status = await new Promise<string>((resolve) => {
        const child = spawn(
          process.execPath,
          [fileURLToPath(import.meta.url), "--precision", name, "--rows", file, "--steps", String(steps)],
          {
            stdio: ["ignore", "ignore", "inherit"],
            env: { ...process.env, OMP_NUM_THREADS: "1", NODE_NO_WARNINGS: "1" },
          },
        );
        child.on("close", (code, signal) => resolve(signal ?? String(code)));
      });
      all.set(
        name,
        status === "0"
          ? (JSON.parse(readFileSync(file, "utf8")) as Row[])
          : [{ name: `${name}: its process`, wrong: [`ended with ${status}`], milliseconds: null, replayed: null }],
      );
    }
  };
  await Promise.all(
    Array.from({ length: Number(values.jobs ?? Math.max(1, Math.floor(availableParallelism() / 2))) }, work),
  );
  rmSync(folder, { recursive: true, force: true });
  return PRECISIONS.flatMap(({ name }) => all.get(name) ?? []);
}

function report(rows: readonly Row[]): string {
  const failed = rows.filter((r) => r.wrong.length > 0);
  const where = device === "cuda" ? cuda.getDeviceProperties(0).name : "CPU";
  return [
    `# Long campaign: ${rows.length} rows, ${failed.length} failed`,
    "",
    `${new Date().toISOString().slice(0, 10)}, ${where}, libtorch ${versions().libtorch}, Node.js ${process.version}; ${steps} steps to a loop. \`npm run test:gpu:long\`.`,
    "",
    "A loop passes when it takes the steps it should, skips the steps it should, holds as many tensors and bytes on the device at its end as in its middle, and, replayed from a graph, ends with the weights of",
    "eager steps to the last bit (float64: to 1e-5, since graphs read learning rates in float32). A resumed run passes when weights, optimizer state and loss scale are those of the uninterrupted one to the last bit.",
    "",
    "| row | ms per step | replayed | outcome |",
    "|---|---|---|---|",
    ...rows.map(
      (r) =>
        `| ${r.name} | ${r.milliseconds === null ? "" : (r.milliseconds / steps).toFixed(3)} | ${r.replayed ?? ""} | ${r.wrong.length === 0 ? "passed" : `**${r.wrong.join("; ")}**`} |`,
    ),
    "",
  ].join("\n");
}

if (values.precision !== undefined && values.rows !== undefined) {
  const precision = PRECISIONS.find((p) => p.name === values.precision);
  if (precision === undefined) throw new Error(`no such precision: ${values.precision}`);
  writeFileSync(values.rows, JSON.stringify([...(await loopsOf(precision)), ...(await resumesOf(precision))]));
} else {
  const rows = await everything();
  if (values.out !== undefined) writeFileSync(values.out, report(rows));
  const failed = rows.filter((r) => r.wrong.length > 0);
  for (const { name, wrong } of failed) console.log(`FAILED  ${name}: ${wrong.join("; ")}`);
  console.log(`${rows.length - failed.length} passed, ${failed.length} failed`);
  process.exitCode = failed.length === 0 ? 0 : 1;
}
