import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { isAbsolute, join } from "node:path";
import { after, test } from "node:test";
import { runInNewContext } from "node:vm";
import { renderLineChart } from "./chart/line-chart.js";
import { chartsOf } from "./charts.js";
import { CLIENT } from "./client.js";
import { figuresOf } from "./figures.js";
import { distinct } from "./names.js";
import { DARK, dashOf, LIGHT, lineClass, LOOKS } from "./palette.js";
import { renderReport, writeReport } from "./report.js";
import { findRunLogs, parseRunLog, parseRunLogs, readRunLogs } from "./run.js";
import type { Run } from "./records.js";
import { comparisonText } from "./comparison.js";

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
    message((l) => (l[0] = l[0]?.replace('"format":1', '"format":3') ?? "")),
    "runs/run.jsonl: expected format 2 or older. Received: 3. Update @nbit/dashboard.",
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
    '<td class="many" data-label="Metrics"><span>train_loss 0.0200</span></td>',
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
  const evil = '<b a="</script><script>alert(1)';
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

test("several fits of one file are runs of their own; a resumed one takes the place of what it does again", () => {
  const two = parseRunLogs(logText() + logText({ name: "again" }));
  assert.deepEqual(
    two.map(({ name, steps }) => [name, steps.length]),
    [
      ["FP32", 200],
      ["again", 200],
    ],
  );
  assert.equal(parseRunLog(logText() + logText({ name: "again" })).name, "again", "the last");
  const step = (n: number, loss: number): string =>
    `${JSON.stringify({ type: "step", step: n, epoch: 0, metrics: { loss } })}\n`;
  const evaluation = (n: number, metrics: object): string =>
    `${JSON.stringify({ type: "eval", stage: "validate", step: n, epoch: 0, metrics })}\n`;
  const run = parseRunLog(
    `${logText().split("\n")[0] ?? ""}\n${step(1, 9)}${step(2, 8)}${step(3, 7)}${evaluation(3, { a: 1 })}${step(2, 6)}${evaluation(2, { a: 3 })}${evaluation(2, { b: 4 })}`,
  );
  assert.deepEqual(
    run.steps.map(({ step: n, metrics }) => [n, metrics["loss"]]),
    [
      [1, 9],
      [2, 6],
    ],
  );
  assert.deepEqual(
    run.evaluations.map(({ step: n, metrics }) => [n, metrics]),
    [[2, { a: 3, b: 4 }]],
  );
});

test("runs without a name have their folder's; those of one name are told apart", () => {
  const unnamed = logText({ name: "32-true" });
  for (const path of ["first/version_0", "second/version_0", "second/version_1"]) {
    mkdirSync(join(root, "named", path), { recursive: true });
    writeFileSync(join(root, "named", path, "run.jsonl"), path === "second/version_1" ? unnamed + unnamed : unnamed);
  }
  const runs = findRunLogs(join(root, "named"))
    .sort()
    .flatMap((path) => readRunLogs(path));
  assert.deepEqual(
    runs.map(({ name }) => name),
    ["version_0", "version_0", "version_1", "version_1"],
  );
  assert.deepEqual(
    distinct(runs).map(({ name }) => name),
    ["first/version_0", "second/version_0", "version_1 #1", "version_1 #2"],
  );
});

test("every curve stays within its card, whatever the order of its points", () => {
  const series = { name: "s", colour: 0, x: [50, 10, 90, 30], y: [1, 2, 3, 4] };
  const svg = renderLineChart(
    { title: "t", xLabel: "step", series: [series], yKind: "linear", points: true, format: String },
    "c",
  );
  const xs = [...svg.matchAll(/<circle cx="([\d.]+)"/g)].map((match) => Number(match[1]));
  assert.equal(xs.length, 4);
  assert.ok(
    xs.every((x) => x >= 56 && x <= 512),
    xs.join(),
  );
});

test("axes are logarithmic where a loss falls far, and for nothing else", () => {
  const falling = (name: string): Run =>
    parseRunLog(
      `${logText().split("\n")[0] ?? ""}\n${[0.001, 0.1, 0.9].map((value, i) => JSON.stringify({ type: "step", step: i + 1, metrics: { [name]: value } })).join("\n")}\n`,
    );
  const kind = (name: string): string | undefined => chartsOf([falling(name)]).curves[0]?.yKind;
  for (const name of ["train_loss", "perplexity", "mse"]) assert.equal(kind(name), "log10", name);
  for (const name of [
    "train_acc",
    "val/accuracy",
    "auroc",
    "f1",
    "val_precision",
    "mIoU",
    "top5",
    "mAP",
    "grad_norm",
    "lr",
    "samples",
  ])
    assert.equal(kind(name), "linear", name);
});

test("forty-eight runs look different, and their colours stand out from both backgrounds", () => {
  const looks = Array.from({ length: LOOKS }, (_, i) => `${lineClass(i)} ${dashOf(i)}`);
  assert.equal(new Set(looks).size, 48);
  const contrast = (a: string, b: string): number => {
    const light = (hex: string): number => {
      const [r = 0, g = 0, blue = 0] = [1, 3, 5].map((at) => {
        const c = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
        return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * r + 0.7152 * g + 0.0722 * blue;
    };
    const [high = 0, low = 0] = [light(a), light(b)].sort((x, y) => y - x);
    return (high + 0.05) / (low + 0.05);
  };
  for (const colour of LIGHT) assert.ok(contrast(colour, "#ffffff") >= 3, `${colour} on white`);
  for (const colour of DARK) assert.ok(contrast(colour, "#1c2024") >= 3, `${colour} on dark`);
  const page = renderReport({
    title: "many",
    runs: Array.from({ length: 14 }, (_, i) => parseRunLog(logText({ name: `run ${i}` }))),
  });
  assert.match(page, /stroke-dasharray="7 4"/);
});

test("hyper-parameters: of one run all, of several those that differ", () => {
  const run = (lr: number): Run =>
    parseRunLog(logText({ name: `lr ${lr}` }).replace('"model"', `"hyperparameters":{"lr":${lr},"width":64},"model"`));
  assert.match(
    renderReport({ title: "one", runs: [run(0.1)] }),
    /<h2>Hyper-parameters<\/h2>[^]*<th scope="row">width<\/th><td class="settings">64</,
  );
  const two = renderReport({ title: "two", runs: [run(0.1), run(0.2)] });
  assert.match(two, /Hyper-parameters that differ[^]*data-label="lr">0\.2</);
  assert.doesNotMatch(two, /data-label="width"/);
});
