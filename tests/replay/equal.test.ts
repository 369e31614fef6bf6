/** Replayed steps leave what eager steps leave, to the last bit: five models under seven precisions. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { TrainerOptions } from "@nbit/lightning";
import { optim } from "@nbit/torch";
import { Classifier, KINDS } from "./models.js";
import { replaysEqual } from "./train.js";

const PRECISIONS: Readonly<Record<string, TrainerOptions>> = {
  "32": { precision: 32 },
  "64": { precision: 64 },
  "bf16-mixed": { precision: "bf16-mixed" },
  "16-mixed": { precision: "16-mixed" },
  "bf16-true": { precision: "bf16-true" },
  "16-true": { precision: "16-true" },
  "apex O1": { precision: 16, ampBackend: "apex", ampLevel: "O1" },
  "apex O2": { precision: 16, ampBackend: "apex", ampLevel: "O2" },
};

for (const [kind, model] of Object.entries(KINDS))
  for (const [precision, options] of Object.entries(PRECISIONS))
    test(`${kind}, ${precision}`, async () => {
      const replayed = await replaysEqual(() => {
        const batches = Array.from({ length: 4 }, model.batch);
        const module = new Classifier(model, (p) => new optim.AdamW(p, { lr: 1e-3, fused: true }));
        return { module, batches };
      }, options);
      // The first batch of a shape is only seen, the second is recorded.
      assert.ok(replayed >= 4, `${replayed} of 8 batches were replayed`);
    });
