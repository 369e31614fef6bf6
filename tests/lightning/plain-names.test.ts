/** Names that a person or a file gave steer no terminal: not in bars, tables, logs, warnings, errors or pages. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { readRunLog, renderPrecisionReport, renderReport } from "@nbit/dashboard";
import {
  CSVLogger,
  EarlyStopping,
  LightningModule,
  ModelCheckpoint,
  ModelSummary,
  PrecisionLint,
  PrecisionReport,
  ProgressBar,
  RunLog,
  Trainer,
  type TrainerOptions,
} from "@nbit/lightning";
import {
  DataLoader,
  loadSafetensors,
  nn,
  ones,
  optim,
  saveSafetensors,
  TensorDataset,
  zeros,
  type Tensor,
} from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { QUIET, warningsOf } from "../helpers/training.js";

const folder = temporaryFolder("names");

/** Clears the screen, moves the cursor, rings, turns the direction, begins a line, and would run in a page. */
const EVIL = "x\u001b[2J\u009b1A\u0007\u202e\n\u2028<script>alert(1)</script>";
// eslint-disable-next-line no-control-regex -- control characters are what must not be there
const STEERS = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\u2028\u2029]/;
// eslint-disable-next-line no-control-regex -- the colours and movements that a bar makes itself
const OWN = /\u001b\[[0-9;]*m|\u001b\[\d*[KGA]|\r|\u001b\[\?25[hl]/g;

function check(what: string, text: string): void {
  assert.ok(text !== "", `${what}: there is something`);
  assert.doesNotMatch(text.replaceAll(OWN, ""), STEERS, what);
}
class Stream {
  text = "";
  constructor(
    readonly isTTY: boolean,
    readonly columns = 400,
  ) {}
  write(text: string): boolean {
    this.text += text;
    return true;
  }
}

class Inner extends nn.Linear {}
Object.defineProperty(Inner, "name", { value: EVIL });
class Net extends LightningModule {
  readonly inner = new nn.Sequential(new Inner(2, 2), new nn.Linear(2, 1));
  constructor() {
    super();
    Reflect.set(this, EVIL, new Inner(2, 2));
    this.saveHyperparameters({ [EVIL]: EVIL });
  }
  override trainingStep(x: unknown): Tensor {
    const loss = this.inner
      .forward((x as readonly Tensor[])[0] as Tensor)
      .square()
      .mean();
    this.log(EVIL, loss, { progBar: true });
    this.log("loss", loss);
    return loss;
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}
Object.defineProperty(Net, "name", { value: EVIL });

const data = (): DataLoader<unknown, unknown> =>
  new DataLoader(new TensorDataset(ones([4, 2])), { batchSize: 2 }) as DataLoader<unknown, unknown>;
async function fit(options: TrainerOptions): Promise<void> {
  await new Trainer({ ...QUIET, maxEpochs: 2, ...options }).fit(new Net(), { trainDataloaders: data() });
}

/** What is printed while `work` runs. */
async function printed(work: () => Promise<unknown>): Promise<string> {
  const { log, error } = console;
  let text = "";
  const take = (...values: unknown[]): void => {
    text += `${values.map(String).join(" ")}\n`;
  };
  Object.assign(console, { log: take, error: take });
  try {
    const warnings = await warningsOf(work);
    return text + warnings.map((w) => `${w.message}\n`).join("");
  } finally {
    Object.assign(console, { log, error });
  }
}

test("control characters in names are escaped in bars, summaries and reports", async () => {
  for (const tty of [true, false]) {
    for (const make of [
      (stream: Stream) => new ProgressBar({ stream }),
      (stream: Stream) => new ModelSummary({ stream, maxDepth: -1 }),
      (stream: Stream) => new PrecisionReport({ stream }),
    ]) {
      const stream = new Stream(tty);
      await fit({
        callbacks: [make(stream)],
        ...(make.toString().includes("ProgressBar") ? { enableProgressBar: true } : {}),
        ...(make.toString().includes("ModelSummary") ? { enableModelSummary: true } : {}),
      });
      check(make.toString(), stream.text);
    }
  }
  const stream = new Stream(false);
  await fit({ precision: "16-true", callbacks: [new PrecisionLint({ stream })] }).catch(() => undefined);
  assert.doesNotMatch(stream.text.replaceAll(OWN, ""), STEERS);
  check("a module", new Net().toString());
});

test("control characters in names are escaped in messages of callbacks and in warnings", async () => {
  const text = await printed(async () => {
    await fit({
      callbacks: [new EarlyStopping({ monitor: EVIL, stoppingThreshold: 1e9, checkOnTrainEpochEnd: true })],
    });
    await fit({
      enableCheckpointing: true,
      callbacks: [
        new ModelCheckpoint({ dirpath: join(folder, "a\u001b[2Jb"), monitor: EVIL, verbose: true, saveTopK: 1 }),
      ],
    });
    await fit({ callbacks: [new EarlyStopping({ monitor: `${EVIL}2`, strict: false, checkOnTrainEpochEnd: true })] });
  });
  check("callbacks", text);
  assert.match(text, /EarlyStopping: training ends/);
  assert.match(text, /ModelCheckpoint: step 2/);
  assert.match(text, /was not logged/);
});

test("control characters in names are escaped in tables and logs", async () => {
  const logger = new CSVLogger(folder, { version: "csv" });
  const path = join(folder, "run.jsonl");
  await fit({ logger, logEveryNSteps: 1, callbacks: [new RunLog({ path, everyNSteps: 1, name: EVIL })] });
  for (const file of [join(logger.logDir, "metrics.csv"), join(logger.logDir, "hparams.yaml"), path])
    check(file, readFileSync(file, "utf8"));
  // What is written out in JSON is the same value.
  const run = readRunLog(path);
  assert.equal(run.name, EVIL);
  assert.ok(run.steps.some((s) => EVIL in s.metrics));
  const html = renderReport({ title: EVIL, subtitle: EVIL, notes: [EVIL], runs: [run], unit: EVIL });
  assert.doesNotMatch(html, /<script>alert/);
});

test("names are text, not markup, in HTML pages", async () => {
  const path = join(folder, "step.json");
  await fit({ callbacks: [new PrecisionReport({ path, print: false })] });
  assert.doesNotMatch(renderPrecisionReport(path, { title: EVIL }), /<script>alert/);
});

test("control characters in names are escaped in errors", async () => {
  const failing: (() => unknown)[] = [
    () => new Net().loadStateDict({ [EVIL]: zeros([1]) }),
    () => loadSafetensors(join(folder, EVIL)),
    () => {
      saveSafetensors(join(folder, "none", EVIL), { a: zeros([1]) });
    },
    () => {
      saveSafetensors(join(folder, "a"), { [EVIL]: 3 as never });
    },
    () => new optim.SGD([zeros([1])], { [EVIL]: 1 } as object),
    () => new ModelCheckpoint({ filename: EVIL }),
    () => fit({ callbacks: [new EarlyStopping({ monitor: `${EVIL}2`, checkOnTrainEpochEnd: true })] }),
    () => fit({ [EVIL]: 1 } as object),
    () => zeros([1]).to(EVIL as never),
    () => {
      saveSafetensors(join(folder, "b"), { [EVIL]: zeros([1]) });
      return loadSafetensors(join(folder, "b"), { names: ["c"] });
    },
    () => {
      writeFileSync(join(folder, "c"), `${EVIL}\n${EVIL}\n`);
      return readRunLog(join(folder, "c"));
    },
  ];
  for (const fail of failing) {
    let message = "";
    try {
      await fail();
    } catch (error) {
      assert.ok(error instanceof Error && "code" in error, String(fail));
      message = error.message;
    }
    check(String(fail), message);
    assert.ok(!message.includes("\n"), `${String(fail)}: one line`);
  }
});
