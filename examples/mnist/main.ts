/**
 * The main job: one classifier on the full MNIST, trained in float32, bfloat16 and float16, side by side.
 *
 *     node examples/dist/mnist/main.js [--epochs 2] [--dir runs] [--batches n]
 */
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { comparisonText, readRunLog, writeReport } from "@nbit/dashboard";
import { InterruptError } from "@nbit/lightning";
import { cpuCapability, getNumThreads, isMkldnnBf16Supported, versions } from "@nbit/torch";
import { loadMnist } from "./data.js";
import { train } from "./train.js";
import type { Precision } from "./train.js";

const JOBS: readonly [name: string, precision: Precision][] = [
  ["FP32", 32],
  ["BF16", "bf16"],
  ["FP16", 16],
];

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      epochs: { type: "string", default: "2" },
      dir: { type: "string", default: "runs" },
      batches: { type: "string" },
    },
  });
  const started = performance.now();
  const machine = `libtorch ${versions().libtorch}, ${cpuCapability()}, ${getNumThreads()} threads`;
  console.log(`Training on MNIST in three precisions (${machine})\n`);

  const data = loadMnist();
  const logs: string[] = [];
  for (const [name, precision] of JOBS) {
    console.log(`${name}: precision ${JSON.stringify(precision)}`);
    const log = await train(precision, data, {
      name,
      dir: values.dir,
      maxEpochs: Number(values.epochs),
      // The model is the same each time: list its layers once.
      summaryDepth: logs.length === 0 ? 2 : 0,
      ...(values.batches === undefined ? {} : { limitTrainBatches: Number(values.batches) }),
    });
    logs.push(log);
    console.log();
  }

  const runs = logs.map((log) => readRunLog(log));
  const notes = [
    "Peak training memory is the most that tensors held above the data set: parameters, gradients, optimizer state, activations and batches.",
  ];
  if (!isMkldnnBf16Supported()) {
    notes.push(
      `This CPU (${cpuCapability()}) has no 16-bit arithmetic: libtorch converts to float32 and back in every operator, so here 16 bits save memory, not time. ` +
        "CPUs with AVX512-BF16 or AMX compute in bfloat16, GPUs in both, and there they are the faster ones.",
    );
  }
  const report = writeReport(join(dirname(dirname(logs[0] ?? "")), "report.html"), {
    title: "MNIST in three precisions",
    subtitle: `${runs[0]?.model ?? ""}, ${(runs[0]?.parameters ?? 0).toLocaleString("en")} parameters · ${machine} · ${new Date().toISOString().slice(0, 10)}`,
    runs,
    notes,
    unit: "images",
  });
  console.log(`${comparisonText(runs, { unit: "images" })}\n`);
  for (const note of notes) console.log(note);
  console.log(`\nDone in ${Math.round((performance.now() - started) / 1000)} s. Report: ${pathToFileURL(report).href}`);
}

try {
  await main();
} catch (error) {
  if (!(error instanceof InterruptError)) throw error;
  console.error(error.message);
  process.exitCode = 130;
}
