import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { NumberRange, OperatorUse, StepPrecisionData } from "./data.js";
import { limitsOf, overall, sharesOf, splitOf } from "./figures.js";
import { renderPrecisionReport, writePrecisionReport } from "./page.js";

const folder = mkdtempSync(join(tmpdir(), "nbit-page-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const range = (exponent: number, counts: number[], extra: Partial<NumberRange> = {}): NumberRange => ({
  count: counts.reduce((a, b) => a + b, 0),
  zeros: 0,
  infinities: 0,
  nans: 0,
  smallest: 2 ** exponent,
  largest: 2 ** (exponent + counts.length - 1),
  exponent,
  counts,
  ...extra,
});
const use = (
  name: string,
  phase: "forward" | "backward",
  dtype: string | null,
  reason: string,
  seconds: number,
  casts = 0,
  castSeconds = 0,
): OperatorUse => ({ name, phase, dtype, reason, calls: 1, seconds, casts, castSeconds });
const none = { activations: null, activationGradients: null, parameterGradients: null };
const DATA: StepPrecisionData = {
  format: 1,
  kind: "step-precision",
  model: "Net<b>",
  precision: "16-mixed",
  compute: "float16",
  device: "cpu",
  step: 3,
  lossScale: 1024,
  modules: [
    { name: "", type: "Net", operators: [use("mse_loss", "forward", "float32", "float32", 1e-4)], ...none },
    { name: "layers", type: "Sequential", operators: [], ...none },
    {
      name: "layers.0",
      type: "Linear",
      operators: [
        use("linear", "forward", "float16", "lower", 3e-3, 3, 1e-3),
        use("AddmmBackward0", "backward", "float16", "backward", 1e-3),
      ],
      activations: range(14, [6, 2, 2]),
      activationGradients: range(-28, [5, 0, 0, 0, 5]),
      parameterGradients: null,
    },
  ],
};

test("figures: time by dtype without casts, and what the dtype does to the numbers", () => {
  const split = splitOf(DATA.modules[2]?.operators ?? []);
  assert.deepEqual([split.casts, split.castSeconds, [...split.byDtype]], [3, 1e-3, [["float16", 3e-3]]]);
  assert.deepEqual(sharesOf(range(14, [6, 2, 2]), limitsOf("float16")), { lost: 0, subnormal: 0, overflow: 0.2 });
  assert.deepEqual(sharesOf(range(-28, [5, 0, 0, 0, 5]), limitsOf("float16")), {
    lost: 0.5,
    subnormal: 0.5,
    overflow: 0,
  });
  assert.equal(sharesOf(range(-28, [5, 0, 0, 0, 5]), limitsOf("float16"), 20).lost, 0);
  assert.equal(overall(DATA, (m) => m.activations, limitsOf("float16")).worst, "layers.0");
});

test("the page: every module, its times, casts and warnings; nothing from outside, nothing unescaped", () => {
  const html = renderPrecisionReport(DATA);
  assert.match(html, /<h1>Net&#60;b&#62; in 16-mixed<\/h1>/);
  assert.doesNotMatch(html, /Net<b>|<script|https?:\/\/(?!www\.w3\.org)/);
  assert.match(html, /20 % overflow<\/b><span>of activations in float16, most in layers\.0/);
  assert.match(
    html,
    /<b>50 % lost<\/b><span>of gradients in float16, most in layers\.0; without the loss scale 100 % would be lost/,
  );
  assert.match(html, /class="seam" style="width:33\.33%" title="3 casts: 1\.00 ms"/);
  assert.match(html, /aria-label="forward: 3\.00 ms, 3 casts"/);
  assert.match(
    html,
    /<td>linear<\/td><td class="d-float16"><i><\/i>float16<\/td><td>autocast: 16 bits<\/td><td>1<\/td><td>3<\/td><td>3000<\/td>/,
  );
  assert.match(html, /<tr class="group"><td class="name"[^>]*>layers<small>Sequential/);
  assert.match(html, /prefers-color-scheme: dark/);
  // Bars outside float16's range are marked as such.
  assert.equal(html.match(/<path class="out"/g)?.length, 2);
});

test("the page is written from a report's file, and other files are refused", () => {
  const source = join(folder, "p.json");
  writeFileSync(source, JSON.stringify(DATA));
  assert.equal(
    readFileSync(writePrecisionReport(join(folder, "deep", "p.html"), source), "utf8"),
    renderPrecisionReport(DATA),
  );
  writeFileSync(source, JSON.stringify({ ...DATA, format: 2 }));
  assert.throws(() => renderPrecisionReport(source), {
    code: "ERR_RUN_LOG",
    message: `${source}: expected format to be at most 1: a newer nbit wrote it. Received: 2.`,
  });
  writeFileSync(source, "{");
  assert.throws(() => renderPrecisionReport(source), {
    code: "ERR_RUN_LOG",
    message: `${source}: expected a precision report as JSON. Received: a file that cannot be read as such.`,
  });
  assert.throws(() => renderPrecisionReport({ ...DATA, modules: [{} as never] }), {
    message: "renderPrecisionReport: expected modules[0].name to be a text. Received: nothing.",
  });
  const first = DATA.modules.find((m) => m.activations !== null);
  for (const [damage, path] of [
    [{ operators: [{}] }, "operators[0].name"],
    [{ activations: { ...first?.activations, counts: Array<number>(5000).fill(0) } }, "activations.counts"],
    [{ activations: { ...first?.activations, smallest: "<b>" } }, "activations.smallest"],
  ] as const)
    assert.throws(() => renderPrecisionReport({ ...DATA, modules: [{ ...first, ...damage } as never] }), {
      code: "ERR_RUN_LOG",
      message: new RegExp(`expected modules\\[0\\]\\.${path.replaceAll(/[[\]]/g, "\\$&")} to be `),
    });
});
