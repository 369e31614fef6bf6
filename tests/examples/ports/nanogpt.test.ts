import { comparesWithTwin, runs } from "./check.js";
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { CHECKPOINT, train } from "nbit-examples/nanogpt/train";
import { temporaryFolder } from "../../helpers/temporary-folder.js";

comparesWithTwin({ name: "nanogpt", train, steps: 24, steps16: 16, part: "scratch", falling: ["loss", "val"] });
const resumed = (options: Parameters<typeof train>[0]): ReturnType<typeof train> =>
  train({ ...options, resume: CHECKPOINT });
comparesWithTwin({ name: "nanogpt", train: resumed, steps: 24, steps16: 16, part: "resumed" });

test("a checkpoint of its own is where the run goes on", () => {
  const out = join(temporaryFolder("nanogpt"), "ckpt.pt");
  const whole = train({ steps: 9, out });
  const [first = NaN, ...more] = train({ steps: 2, resume: out }).val;
  assert.deepEqual(more, []);
  assert.ok(Math.abs(first / (whole.val[1] ?? NaN) - 1) < 0.05, `${first} beside ${whole.val.join(", ")}`);
});
runs("nanogpt", /^step 0: val loss .*\niter 0: loss /);
