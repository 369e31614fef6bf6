/**
 * The main job: one classifier on the full MNIST, trained in float32, bfloat16 and float16, side by side.
 *
 *     node examples/dist/mnist/main.js [--epochs 2] [--dir runs] [--batches n]
 */
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { pathToFileURL } from "node:url";
import { comparisonText, figuresOf, readRunLog, writeReport } from "@nbit/dashboard";
import type { Run } from "@nbit/dashboard";
import { cpuCapability, getNumThreads, versions } from "@nbit/torch";
import { loadMnist } from "./data.js";
import { train } from "./train.js";
import type { Precision } from "./train.js";

const { values } = parseArgs({ options: { epochs: { type: "string", default: "2" }, dir: { type: "string", default: "runs" }, batches: { type: "string" } } });
const started = performance.now();
const machine = `libtorch ${versions().libtorch}, ${cpuCapability()}, ${getNumThreads()} threads`;

console.log(`Training on MNIST in three precisions (${machine})\n`);
const data = loadMnist();
const jobs: [string, Precision][] = [["FP32", 32], ["BF16", "bf16"], ["FP16", 16]];
const logs: string[] = [];
for (const [name, precision] of jobs) {
  console.log(`${name}: precision ${JSON.stringify(precision)}`);
  logs.push(
    await train(precision, data, {
      name,
      dir: values.dir,
      maxEpochs: Number(values.epochs),
      // The model is the same each time: list its layers once.
      summaryDepth: logs.length === 0 ? 2 : 0,
      ...(values.batches === undefined ? {} : { limitTrainBatches: Number(values.batches) }),
    }),
  );
  console.log();
}

const runs = logs.map(readRunLog);
const notes = [
  "Peak training memory is the most that tensors held above the data set: parameters, gradients, optimizer state, activations and batches.",
  ...speedNote(runs),
];
const report = writeReport(join(dirname(dirname(logs[0] ?? "")), "report.html"), {
  title: "MNIST in three precisions",
  subtitle: `${runs[0]?.model ?? ""}, ${runs[0]?.parameters.toLocaleString("en") ?? ""} parameters · ${machine} · ${new Date().toISOString().slice(0, 10)}`,
  runs,
  notes,
  unit: "images",
});
console.log(`${comparisonText(runs, { unit: "images" })}\n`);
for (const note of notes) console.log(note);
console.log(`\nDone in ${Math.round((performance.now() - started) / 1000)} s. Report: ${pathToFileURL(report).href}`);

/** Says why 16 bits were slower, where they were. */
function speedNote(all: readonly Run[]): string[] {
  const slower = all.filter((run) => (figuresOf(run, all[0]).speed ?? 1) < 0.95).map((run) => run.name);
  if (slower.length === 0) return [];
  return [
    `${slower.join(" and ")} ran slower than FP32 here: ${cpuCapability()} has no 16-bit arithmetic, so libtorch converts to float32 and back in every operator. CPUs with AVX512-BF16 or AMX compute in bfloat16, GPUs in both, and there 16 bits are the faster ones.`,
  ];
}
