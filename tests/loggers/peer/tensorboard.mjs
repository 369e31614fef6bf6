/**
 * TensorBoard's own reader reads what SummaryWriter and TensorBoardLogger write:
 * `TENSORBOARD_PYTHON=… node tests/loggers/peer/tensorboard.mjs`, with a Python that has tensorboard and pillow.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { TensorBoardLogger } from "@nbit/lightning";
import { arange, nn, tensor, utils, zeros } from "@nbit/torch";

const root = mkdtempSync(join(tmpdir(), "nbit-tensorboard-"));
try {
  write();
  check(read());
  console.log("TensorBoard reads all of it");
} finally {
  rmSync(root, { recursive: true });
}

function write() {
  const writer = new utils.tensorboard.SummaryWriter(join(root, "main"));
  for (let step = 0; step < 3; step++) writer.addScalar("loss", step / 4, step);
  writer.addScalars("g", { x: 1 }, 5);
  writer.addHistogram("weights", tensor([-1, 0.5, 0.5, 2]), 1);
  writer.addImage("image", arange(24).reshape([3, 2, 4]).div(24));
  writer.addVideo("video", zeros([1, 3, 3, 2, 2]));
  writer.addAudio("sound", [0, 0.5, -0.5], null, 8000);
  writer.addText("note", "größer");
  writer.addPrCurve("curve", [0, 1], [0.2, 0.8]);
  writer.addCustomScalarsMultilinechart(["loss"], "mine");
  writer.addMesh("m", zeros([1, 4, 3]));
  writer.addTensor("t", tensor([[1.5, 2]]));
  writer.addGraph(new nn.Sequential(new nn.Linear(3, 2), new nn.ReLU()), zeros([1, 3]));
  writer.addHparams({ lr: 0.1, warm: true, name: "adam" }, { acc: 1 }, null, "hp");
  writer.addEmbedding(zeros([2, 3]), { metadata: ["a", "ü"], tag: "e" });
  writer.close();

  // A run that was stopped at step 4, and goes on from a checkpoint of step 2.
  const logger = () => new TensorBoardLogger(join(root, "resumed"), { name: "log", version: "v" });
  const first = logger();
  for (let step = 0; step < 2; step++) first.logMetrics({ loss: step }, step);
  const state = first.stateDict();
  for (let step = 2; step < 4; step++) first.logMetrics({ loss: step }, step);
  first.finalize();
  const second = logger();
  second.loadStateDict(state);
  for (let step = 2; step < 5; step++) second.logMetrics({ loss: 10 * step }, step);
  second.finalize();
}

function read() {
  const python = process.env.TENSORBOARD_PYTHON ?? "python3";
  const script = fileURLToPath(new URL("tensorboard_reader.py", import.meta.url));
  const { status, stdout, stderr } = spawnSync(python, [script, root], { encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}

function check({ graph, ...found }) {
  assert.deepEqual(found, {
    scalars: {
      loss: [
        [0, 0],
        [1, 0.25],
        [2, 0.5],
      ],
    },
    group: { g: [[5, 1]] },
    histogram: [-1, 2, 4, 2, 4],
    images: { image: ["PNG", 4, 2, 1], video: ["PNG", 2, 2, 3] },
    audio: [8000, 3],
    text: ["größer"],
    curve: ["pr_curves", [6, 127]],
    layout: "mine",
    mesh: ["m", [1, 4, 3]],
    tensor: [[1.5, 2]],
    hparams: { lr: "number_value: 0.1", name: 'string_value: "adam"', warm: "bool_value: true" },
    projector: ["e:00000"],
    resumed: {
      loss: [
        [0, 0],
        [1, 1],
        [2, 20],
        [3, 30],
        [4, 40],
      ],
    },
  });
  assert.ok(
    graph.includes("IO Node") && graph.includes("Parameter") && graph.some((op) => op.startsWith("aten::")),
    graph.join(),
  );
}
