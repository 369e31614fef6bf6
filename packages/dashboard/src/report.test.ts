import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { isAbsolute, join } from "node:path";
import { after, test } from "node:test";
import { runInNewContext } from "node:vm";
import { CLIENT } from "./client.js";
import { figuresOf } from "./figures.js";
import { renderReport, writeReport } from "./report.js";
import { findRunLogs, parseRunLog } from "./run.js";
import type { Run } from "./records.js";
import { comparisonText } from "./table.js";

const root = mkdtempSync(join(tmpdir(), "nbit-report-"));
after(() => rmSync(root, { recursive: true }));

interface LogOptions {
  readonly name?: string;
  readonly precision?: string;
  readonly secondsPerEpoch?: number;
  readonly skips?: boolean;
  readonly ended?: boolean;
}

/** A log as the Trainer writes it: 200 steps in two epochs. */
function logText(options: LogOptions = {}): string {
  const { name = "FP32", precision = "32-true", secondsPerEpoch = 2, skips = false, ended = true } = options;
  const lines: object[] = [
    {
      type: "run",
      format: 1,
      name,
      precision,
      model: "Classifier",
      parameters: 9466,
      device: "cpu",
      startedAt: "2026-01-02T03:04:05.000Z",
      tensorsBefore: 2 ** 20,
    },
  ];
  if (skips)
    lines.push(
      { type: "scale", step: 1, value: 65536 },
      { type: "skip", step: 50, lossScale: 65536, nonFinite: ["conv.weight", "fc.weight", "fc.bias"] },
      { type: "scale", step: 50, value: 32768 },
    );
  for (let step = 1; step <= 200; step++) {
    lines.push({
      type: "step",
      step,
      epoch: step > 100 ? 1 : 0,
      seconds: step / 50,
      metrics: { train_loss: step === 7 ? "NaN" : 2.3 / step },
    });
    if (step % 100 !== 0) continue;
    const epoch = step / 100 - 1;
    lines.push({
      type: "eval",
      stage: "validate",
      step,
      epoch,
      evaluationSeconds: 0.1,
      metrics: { val_loss: 0.1, val_acc: epoch === 0 ? 0.9 : 0.95 },
    });
    lines.push({
      type: "epoch",
      epoch,
      step,
      trainingSeconds: secondsPerEpoch,
      batches: 100,
      samples: 12_800,
      metrics: { train_loss: 0.02 },
      memory: { peakTensors: 9 * 2 ** 20, peakRss: 2 ** 30 },
    });
  }
  if (ended)
    lines.push(
      { type: "eval", stage: "test", step: 200, epoch: 1, metrics: { "test/accuracy": 0.9876 } },
      {
        type: "end",
        status: "success",
        step: 200,
        seconds: 5,
        skippedSteps: skips ? 1 : 0,
        memory: { peakTensors: 9 * 2 ** 20 },
      },
    );
  return lines.map((line) => `${JSON.stringify(line)}\n`).join("");
}

const fp32 = (): Run => parseRunLog(logText());
const fp16 = (): Run => parseRunLog(logText({ name: "FP16", precision: "16-mixed", secondsPerEpoch: 4, skips: true }));

test("a log is read whole, a torn last line left out", () => {
  const run = fp16();
  assert.equal(run.steps.length, 200);
  assert.ok(Number.isNaN(run.steps[6]?.metrics["train_loss"]));
  assert.deepEqual(run.skips, [{ step: 50, lossScale: 65536, nonFinite: ["conv.weight", "fc.weight", "fc.bias"] }]);
  assert.equal(run.end?.status, "success");
  const torn = parseRunLog(logText({ ended: false }) + '{"type":"step","st');
  assert.equal(torn.steps.length, 200);
  assert.equal(torn.end, null);
});

test("unknown records and fields are ignored", () => {
  const run = parseRunLog(`${logText()}{"type":"later","x":[1]}\n`.replace('"model"', '"new":{"a":1},"model"'));
  assert.equal(run.epochs.length, 2);
});

test("a damaged log says where and what", () => {
  const lines = logText().split("\n");
  const message = (change: (lines: string[]) => void): string => {
    const copy = [...lines];
    change(copy);
    try {
      parseRunLog(copy.join("\n"), "runs/run.jsonl");
    } catch (error) {
      assert.ok(error instanceof Error && "code" in error && error.code === "ERR_RUN_LOG");
      return error.message;
    }
    return assert.fail("no error");
  };
  assert.equal(
    message((l) => (l[2] = "{oops")),
    'runs/run.jsonl:3: expected a line of JSON. Received: "{oops".',
  );
  assert.equal(
    message((l) => (l[2] = "[1]")),
    'runs/run.jsonl:3: expected a JSON object. Received: "[1]".',
  );
  assert.equal(
    message((l) => (l[2] = '{"type":"step","step":"two"}')),
    'runs/run.jsonl:3: expected step to be a number. Received: "two".',
  );
  assert.equal(
    message((l) => (l[2] = '{"type":"step","step":2,"metrics":{"loss":null}}')),
    "runs/run.jsonl:3: expected metrics.loss to be a number. Received: null.",
  );
  assert.equal(
    message((l) => l.shift()),
    'runs/run.jsonl: expected a run log, whose first line has "type":"run".',
  );
  assert.equal(
    message((l) => (l[0] = l[0]?.replace('"format":1', '"format":2') ?? "")),
    "runs/run.jsonl: expected format 1 or older. Received: 2. Update @nbit/dashboard.",
  );
  assert.equal(
    message((l) => l.splice(0)),
    'runs/run.jsonl: expected a run log, whose first line has "type":"run".',
  );
});

test("figures: speed against float32, memory above what was there, test accuracy before validation's", () => {
  const [base, half] = [fp32(), fp16()];
  assert.deepEqual(figuresOf(half, base), {
    secondsPerEpoch: 4,
    samplesPerSecond: 3200,
    speed: 0.5,
    peakMemory: 8 * 2 ** 20,
    accuracy: 0.9876,
    accuracyFrom: "test",
    skippedSteps: 1,
  });
  const running = figuresOf(parseRunLog(logText({ ended: false })), undefined);
  assert.equal(running.accuracy, 0.95);
  assert.equal(running.accuracyFrom, "validate");
  assert.equal(running.speed, null);
  const empty = figuresOf(parseRunLog(logText().split("\n")[0] + "\n"), base);
  assert.deepEqual(empty, {
    secondsPerEpoch: null,
    samplesPerSecond: null,
    speed: null,
    peakMemory: null,
    accuracy: null,
    accuracyFrom: null,
    skippedSteps: 0,
  });
});

test("the page carries everything itself and forbids the network", () => {
  const page = renderReport({ title: "MNIST", runs: [fp32(), fp16()], unit: "images", notes: ["a < b"] });
  assert.match(page, /default-src 'none'/);
  for (const outside of [
    /\bsrc=/,
    /<link/,
    /<img/,
    /<iframe/,
    /@import/,
    /url\(/,
    /\bfetch\(/,
    /https?:\/\/(?!www\.w3\.org\/2000\/svg)/,
  ])
    assert.doesNotMatch(page, outside);
  assert.match(page, /a &#60; b/);
  for (const text of [
    "Speed against FP32",
    "0.50 ×",
    "Images per second",
    "98.76 %",
    "8.00 MiB",
    "float16 mixed",
    "Training loss · train_loss",
    "Loss scale",
    "Validation accuracy · val_acc",
    "the one skipped step",
    '<td class="many"><span>train_loss 0.02000</span></td>',
  ])
    assert.ok(page.includes(text), text);
  assert.equal(page.match(/class="mark"/g)?.length, 1);
  for (const svg of page.match(/<svg.*?<\/svg>/gs) ?? assert.fail("no charts"))
    assert.doesNotMatch(svg, /NaN|undefined|Infinity/);
});

test("the comparison as text is aligned and says the same", () => {
  assert.deepEqual(comparisonText([fp32(), fp16()], { unit: "images" }).split("\n"), [
    "                        Seconds per   Images per   Speed against   Peak training       Test   Skipped",
    " Run    Precision             epoch       second            FP32          memory   accuracy     steps",
    "──────────────────────────────────────────────────────────────────────────────────────────────────────",
    " FP32   float32                2.00        6,400          1.00 ×        8.00 MiB    98.76 %         0",
    " FP16   float16 mixed          4.00        3,200          0.50 ×        8.00 MiB    98.76 %         1",
  ]);
});

test("names from a log cannot become markup or script", () => {
  const evil = '</script><script>alert(1)</script><b a="';
  const run = parseRunLog(
    logText({ name: "NAME", skips: true })
      .replaceAll("NAME", JSON.stringify(evil).slice(1, -1))
      .replaceAll("train_loss", JSON.stringify(evil).slice(1, -1)),
  );
  assert.equal(run.name, evil);
  const page = renderReport({ title: evil, runs: [run] });
  assert.doesNotMatch(page, /<script>alert/);
  assert.doesNotMatch(page, /<b a=/);
  const data = [...page.matchAll(/<script type="application\/json"[^>]*>(.*?)<\/script>/gs)].map((match): unknown =>
    JSON.parse(match[1] ?? ""),
  );
  assert.ok(data.length >= 3 && JSON.stringify(data).includes("alert(1)"));
});

test("one run that is still going makes a report", () => {
  const page = renderReport({ title: "now", runs: [parseRunLog(logText({ ended: false }))] });
  assert.match(page, /not ended/);
  assert.doesNotMatch(page, /Speed against/);
  assert.match(renderReport({ title: "start", runs: [parseRunLog(logText().split("\n")[0] + "\n")] }), /At a glance/);
  assert.throws(() => renderReport({ title: "none", runs: [] }), {
    message: "writeReport: expected runs to have at least one entry. Received: [].",
  });
});

test("the page's script is valid and does nothing without charts", () => {
  runInNewContext(CLIENT, { document: { querySelectorAll: () => [] } });
});

test("logs are found beneath a folder and written as one file", () => {
  for (const path of [
    "a/run.jsonl",
    "b/version_0/run.jsonl",
    "b/node_modules/x/run.jsonl",
    ".hidden/run.jsonl",
    "b/metrics.csv",
  ]) {
    const full = join(root, "logs", path);
    mkdirSync(join(full, ".."), { recursive: true });
    writeFileSync(full, logText());
  }
  const found = findRunLogs(join(root, "logs"));
  assert.deepEqual([...found].sort(), [join(root, "logs/a/run.jsonl"), join(root, "logs/b/version_0/run.jsonl")]);
  const path = writeReport(join(root, "out/report.html"), { title: "found", runs: found });
  assert.ok(isAbsolute(path));
  assert.match(readFileSync(path, "utf8"), /<h1>found<\/h1>/);
  assert.deepEqual(readdirSync(join(root, "out")), ["report.html"]);
});
