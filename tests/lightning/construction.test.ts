/** Options are checked when a Trainer, or a callback, is made. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ModelCheckpoint, ProgressBar } from "@nbit/lightning";
import { fails } from "./make-trainer.js";

const BAD: readonly (readonly [object, string, RegExp])[] = [
  [{ maxepochs: 3 }, "ERR_TRAINER_OPTION", /Received: "maxepochs"\.$/],
  [
    { maxEpochs: -2 },
    "ERR_TRAINER_OPTION",
    /^Trainer: expected maxEpochs to be a whole number ≥ -1 \(-1: no limit\)\. Received: -2\.$/,
  ],
  [{ maxSteps: 1.5 }, "ERR_TRAINER_OPTION", /maxSteps/],
  [
    { accumulateGradBatches: 0 },
    "ERR_TRAINER_OPTION",
    /^Trainer: expected accumulateGradBatches to be a whole number ≥ 1\. Received: 0\.$/,
  ],
  [
    { gradientClipVal: -1 },
    "ERR_TRAINER_OPTION",
    /^Trainer: expected gradientClipVal to be finite and > 0, or null\. Received: -1\.$/,
  ],
  [
    { gradientClipAlgorithm: "l2" },
    "ERR_TRAINER_OPTION",
    /gradientClipAlgorithm to be one of "norm", "value"\. Received: "l2"\.$/,
  ],
  [
    { limitTrainBatches: 1.5 },
    "ERR_TRAINER_OPTION",
    /limitTrainBatches to be a whole number of batches, or a share in \(0, 1\)\. Received: 1.5\./,
  ],
  [{ onSkippedStep: "wait" }, "ERR_TRAINER_OPTION", /onSkippedStep to be one of "advance", "hold"/],
  [
    { maxTime: "1h" },
    "ERR_DURATION",
    /^Timer: expected a duration as "DD:HH:MM:SS" or \{ days, hours, minutes, seconds \}\. Received: "1h"\.$/,
  ],
  [{ callbacks: [{}] }, "ERR_CALLBACKS", /callbacks to be Callbacks/],
  [
    { enableProgressBar: false, callbacks: [new ProgressBar()] },
    "ERR_CALLBACKS",
    /^Trainer: expected enableProgressBar: true with a ProgressBar\. /,
  ],
  [{ enableCheckpointing: false, callbacks: [new ModelCheckpoint()] }, "ERR_CALLBACKS", /enableCheckpointing/],
];

for (const [options, code, message] of BAD)
  test(`options are checked when the Trainer is made: ${JSON.stringify(Object.keys(options))} ${code}`, () =>
    fails(options, code, message));

test("model checkpoints check their options", () => {
  assert.throws(() => new ModelCheckpoint({ saveTopK: 3 }), {
    code: "ERR_MODEL_CHECKPOINT",
    message: /saveTopK to be -1, 0 or 1 without a metric to rank by\. Received: 3\.$/,
  });
  assert.throws(() => new ModelCheckpoint({ everyNEpochs: 1, everyNTrainSteps: 2 }), { code: "ERR_MODEL_CHECKPOINT" });
});
