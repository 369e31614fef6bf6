import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { test } from "node:test";
import { temporaryFolder } from "../helpers/temporary-folder.js";

const built = fileURLToPath(new URL("../../../examples/dist", import.meta.url));
const root = temporaryFolder("examples");
const run = promisify(execFile);

async function output(example: string, args: readonly string[] = []): Promise<string> {
  const { stdout } = await run(process.execPath, ["--no-warnings", join(built, example), ...args], {
    cwd: root,
    env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: "0" },
  });
  return stdout;
}

/** What each prints; one without an entry has to end without an error. */
const EXPECTED: Readonly<Record<string, RegExp>> = {
  rounding:
    /^32, nearest +mean weight 0\.93\d\nbf16-true, nearest +mean weight 1\.000\nbf16-true, kahan +mean weight 0\.93\d\nbf16-true, stochastic mean weight 0\.93\d\n$/,
  "apex-levels":
    /^O0 +8\d\.\d % right, optimizer in float32 .*\nO1 +8\d\.\d % right, optimizer in float32 .*\nO2 +8\d\.\d % right, optimizer in float32 .*\nO3 +\d\.\d % right, optimizer in float16 /,
  "hello-tensor":
    /tensor\(\[\[ 5\., 11\.\],\n\s+\[11\., 25\.\]\]\)\nx {5}\[ 0, 0\.5, 1, 1\.5, 2 \]\n2 · x \[ 0, 1, 2, 3, 4 \]\nnorm 5\.4772, 1 tensor more/,
  autocast: /linear gives bfloat16, the loss is float32\nthe weight is float32, its gradient float32\n/,
  "grad-scaler": /step 0: .*scale 1048576, skipped\n(.*skipped\n)*(.*stepped\n)+$/,
  "custom-function": /rounded {2}\[ 0, 0\.5, 0\.5, 1 \]\ngradient \[ 0, 1, 1, 2 \]\n/,
  "checkpoint-resume": /^equal to the last bit\n$/,
  float8:
    /^float8, rowwise: 2 of 4 layers converted\nembed .*converted {2}rowwise\n[^]*score .*outFeatures 1 is not a multiple of 16\nlast loss: bfloat16 0\.\d+, float8 0\.\d+\n$/,
  qlora:
    /adapters trained on it {2}error 0\.0\d\d\n[^]*nf4-dq +98,304 +49\.5 KiB +4\.128 {2}frozen\n[^]*adapters is smaller[^]*merged into wide layers {6}error 0\.0/,
  "precision-report": / blocks\.0\.qkv +Linear +float16 +float16 [^]* % float16, [^]*Picture: .*precision\.html\n$/,
  accumulation:
    /batch size 64, 1 per step: 40 steps, last loss 0\.\d+\nbatch size 16, 4 per step: 40 steps, last loss 0\.\d+\n/,
  clipping:
    /precision 32: the largest norm before clipping was \d+\.\d{3}, with loss scale none\nprecision 16: the largest norm before clipping was \d+\.\d{3}, with loss scale 65536\n/,
};

const sources = readdirSync(fileURLToPath(new URL("../../../examples/by-feature", import.meta.url))).filter(
  (file) => file.endsWith(".ts") && file !== "base.ts",
);

for (const name of sources.map((file) => file.slice(0, -3))) {
  test(`by-feature/${name}`, async () => assert.match(await output(`by-feature/${name}.js`), EXPECTED[name] ?? /[^]*/));
}

test("moby-dick: AdamW8bit follows AdamW at a quarter of the state, and samples", async () => {
  const text = await output("moby-dick/main.js", ["--steps", "20", "--width", "64", "--layers", "1", "--sample", "20"]);
  const rows = [...text.matchAll(/^AdamW(?:8bit)? +([\d.]+) +([\d.]+) KiB +([\d.]+) KiB$/gm)].map(
    (m) => m.slice(1).map(Number) as [number, number, number],
  );
  assert.equal(rows.length, 2, text);
  const [full, low] = rows as [[number, number, number], [number, number, number]];
  assert.ok(Math.abs(low[0] / full[0] - 1) < 0.01, text);
  for (const [, forecast, measured] of rows) assert.ok(Math.abs(forecast / measured - 1) < 0.05, text);
  assert.ok(low[2] < 0.3 * full[2], text);
  assert.match(text, /Call me .{12}/s);
  assert.doesNotMatch(text, /^asked /m); // the table of explain() is not printed beside this one
});

test("every expectation has its example", () => {
  assert.deepEqual(
    Object.keys(EXPECTED).filter((name) => !sources.includes(`${name}.ts`)),
    [],
  );
});

test("clipping sees the same unscaled gradients in float32 and float16", async () => {
  const norms = [...(await output("by-feature/clipping.js")).matchAll(/was ([\d.]+)/g)].map((match) =>
    Number(match[1]),
  );
  const [full = 0, half = 0] = norms;
  assert.ok(full > 0.1 && Math.abs(half / full - 1) < 0.02, `${full} and ${half}`);
});

test("the main job trains in three precisions and writes a report", async () => {
  const text = await output("mnist/main.js", ["--epochs", "1", "--batches", "6", "--dir", join(root, "runs")]);
  for (const line of [
    / FP32 +float32 /,
    / BF16 +bfloat16 mixed /,
    / FP16 +float16 mixed /,
    /Peak training/,
    /Report: file:\/\//,
  ])
    assert.match(text, line);
  const folder = join(root, "runs", "mnist");
  const page = readFileSync(join(folder, "report.html"), "utf8");
  assert.match(page, /MNIST in three precisions/);
  for (const version of [0, 1, 2]) {
    for (const file of ["run.jsonl", "metrics.csv"])
      assert.ok(existsSync(join(folder, `version_${version}`, file)), `version_${version}/${file}`);
  }
});
