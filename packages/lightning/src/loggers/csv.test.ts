import assert from "node:assert/strict";
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { CSVLogger } from "./csv.js";
import { hparamsYaml } from "./hparams.js";
import { JsonLines } from "./json-lines.js";

const root = mkdtempSync(join(tmpdir(), "nbit-csv-"));
after(() => rmSync(root, { recursive: true }));
let next = 0;
const fresh = (): string => join(root, String(next++));
const rows = (logger: CSVLogger): string[] => readFileSync(join(logger.logDir, "metrics.csv"), "utf8").split("\n");

test("columns are sorted, grow later, and rows keep their places", () => {
  const logger = new CSVLogger(fresh());
  logger.logMetrics({ train_loss: 0.5, epoch: 0 }, 9);
  logger.flush();
  logger.logMetrics({ train_loss: 0.25, epoch: 0 }, 19);
  logger.logMetrics({ "acc,top": 0.75, epoch: 0 }, 19);
  logger.flush();
  logger.logMetrics({ train_loss: 0.125, epoch: 1 }, 29);
  logger.finalize();
  assert.deepEqual(rows(logger), [
    '"acc,top",epoch,step,train_loss',
    ",0,9,0.5",
    ",0,19,0.25",
    "0.75,0,19,",
    ",1,29,0.125",
    "",
  ]);
  assert.deepEqual(readdirSync(logger.logDir), ["metrics.csv"], "no temporary file is left");
});

test("numbers read back as the same doubles", () => {
  const logger = new CSVLogger(fresh());
  const values = [0.1, 1 / 3, Number.MIN_VALUE, Number.MAX_VALUE, 2 ** 53 - 1, Math.fround(0.1), 1e-5, -0];
  values.forEach((x, step) => logger.logMetrics({ x }, step));
  logger.logMetrics({ x: Number.NaN }, 8);
  logger.logMetrics({ x: -Infinity }, 9);
  logger.finalize();
  const read = rows(logger)
    .slice(1, -1)
    .map((row) => row.split(",")[1] ?? "");
  values.forEach((x, i) => assert.ok(Object.is(Number(read[i]), x), `${read[i]} is ${x}`));
  assert.deepEqual(read.slice(-2), ["nan", "-inf"]);
});

test("versions count up, also past gaps, and two runs at once get two folders", () => {
  const dir = fresh();
  mkdirSync(join(dir, "nbit_logs", "version_7"), { recursive: true });
  mkdirSync(join(dir, "nbit_logs", "version_x"));
  const [a, b] = [new CSVLogger(dir), new CSVLogger(dir)];
  assert.equal(a.version, 8);
  assert.equal(b.version, 9);
  assert.equal(a.logDir, join(dir, "nbit_logs", "version_8"));
  assert.equal(new CSVLogger(dir, { name: "mine", version: "fp16" }).logDir, join(dir, "mine", "fp16"));
});

test("a logger that is never used makes nothing", () => {
  const dir = fresh();
  mkdirSync(dir);
  new CSVLogger(dir).finalize();
  assert.deepEqual(readdirSync(dir), []);
});

test("rows wait in memory until there are enough, or for the interval", () => {
  const logger = new CSVLogger(fresh(), { flushLogsEveryNSteps: 3, flushIntervalSeconds: 3600 });
  const file = (): string[] => readdirSync(logger.logDir);
  logger.logMetrics({ x: 1 }, 0);
  logger.logMetrics({ x: 2 }, 1);
  assert.deepEqual(file(), []);
  logger.logMetrics({ x: 3 }, 2);
  assert.equal(rows(logger).length, 5);
  logger.logMetrics({ x: 4 }, 3);
  assert.equal(rows(logger).length, 5);
  logger.finalize();
  assert.equal(rows(logger).length, 6);

  const eager = new CSVLogger(fresh(), { flushIntervalSeconds: 0 });
  eager.logMetrics({ x: 1 }, 0);
  assert.deepEqual(rows(eager), ["step,x", "0,1", ""]);
  eager.finalize();
});

test("a version that is there is continued, a torn last line cut off, columns merged", () => {
  const dir = fresh();
  const first = new CSVLogger(dir, { version: 0 });
  first.logMetrics({ loss: 1 }, 0);
  first.finalize();
  appendFileSync(join(first.logDir, "metrics.csv"), "0.123,1");
  const second = new CSVLogger(dir, { version: 0, prefix: "b" });
  second.logMetrics({ loss: 2 }, 1);
  second.finalize();
  assert.deepEqual(rows(second), ["b-loss,loss,step", ",1,0", "2,,1", ""]);
});

test("a process that ends without finalize has written its rows", () => {
  const dir = fresh();
  const script = `import { CSVLogger } from ${JSON.stringify(new URL("./csv.js", import.meta.url).href)};
    const logger = new CSVLogger(${JSON.stringify(dir)}, { version: 0, flushIntervalSeconds: 3600 });
    logger.logMetrics({ loss: 0.5 }, 7);
    throw new Error("on purpose");`;
  const result = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
  assert.match(result.stderr, /on purpose/);
  assert.deepEqual(rows(new CSVLogger(dir, { version: 0 })), ["loss,step", "0.5,7", ""]);
});

test("bad options are refused", () => {
  assert.throws(() => new CSVLogger(root, { flushLogsEveryNSteps: 0 }), {
    message: "CSVLogger: expected flushLogsEveryNSteps to be a whole number ≥ 1. Received: 0.",
  });
  assert.throws(() => new CSVLogger(root, { flushIntervalSeconds: Number.NaN }), { code: "ERR_ARGUMENT" });
  assert.throws(() => new CSVLogger(root, { version: -1 }), { code: "ERR_ARGUMENT" });
});

test("hyper-parameters are written as YAML", () => {
  const inner = { lr: 1e-7, nested: { layers: [8, 16], on: true } };
  const text = hparamsYaml({
    ...inner,
    name: 'a "b": c',
    nothing: null,
    missing: undefined,
    limit: Infinity,
    empty: [],
    none: {},
    act: Math.max,
    when: 10n,
  });
  assert.equal(
    text,
    [
      "lr: 1.0e-7",
      "nested:",
      "  layers:",
      "    - 8",
      "    - 16",
      '  "on": true',
      'name: "a \\"b\\": c"',
      "nothing: null",
      "missing: null",
      "limit: .inf",
      "empty: []",
      "none: {}",
      'act: "function max"',
      "when: 10",
      "",
    ].join("\n"),
  );
  const loop: Record<string, unknown> = { x: 1 };
  loop["self"] = loop;
  assert.equal(hparamsYaml({ loop }), 'loop:\n  x: 1\n  self: "<circular>"\n');
  assert.equal(hparamsYaml({}), "{}\n");
  const logger = new CSVLogger(fresh());
  logger.logHyperparams({ lr: 0.1 });
  assert.equal(readFileSync(join(logger.logDir, "hparams.yaml"), "utf8"), "lr: 0.1\n");
});

test("JSON lines keep what JSON has no word for, and cut a torn line", () => {
  const path = join(fresh(), "deep", "run.jsonl");
  const log = new JsonLines(path);
  log.add({ a: Number.NaN, b: [1, -Infinity] });
  log.close();
  log.close();
  assert.equal(readFileSync(path, "utf8"), '{"a":"NaN","b":[1,"-Infinity"]}\n');
  writeFileSync(path, '{"a":1}\n{"a":');
  const again = new JsonLines(path);
  again.add({ a: 2 });
  again.close();
  assert.equal(readFileSync(path, "utf8"), '{"a":1}\n{"a":2}\n');
});

/** What a checkpoint holds of a log, as it is read back. */
const saved = (logger: CSVLogger): Record<string, unknown> =>
  JSON.parse(JSON.stringify(logger.stateDict())) as Record<string, unknown>;
const versioned = (dir: string): CSVLogger => new CSVLogger(dir, { name: "", version: "v" });

test("going on from a checkpoint drops the rows that came after it, with their columns, and nothing else", () => {
  const dir = fresh();
  const first = versioned(dir);
  assert.equal(first.logDir, join(dir, "v"));
  const none = saved(first);
  first.logMetrics({ a: 0.1, "b,c": Number.NaN }, 0);
  first.logMetrics({ a: -0 }, 1);
  const two = saved(first);
  assert.equal(rows(first).length, 4, "a checkpoint makes rows durable");
  first.logMetrics({ z: 3 }, 2);
  first.finalize();
  appendFileSync(join(dir, "v", "metrics.csv"), "torn");
  const all = readFileSync(join(dir, "v", "metrics.csv"), "utf8");

  const second = versioned(dir);
  second.loadStateDict(two);
  assert.deepEqual(rows(second), ['a,"b,c",step', "0.1,nan,0", "-0.0,,1", ""]);
  assert.deepEqual(saved(second), two);
  second.logMetrics({ z: 3 }, 2);
  second.finalize();
  assert.deepEqual(rows(second).join("\n"), all.slice(0, -"torn".length));

  const third = versioned(dir); // from before the first row of a file that the run itself began
  third.loadStateDict(none);
  assert.deepEqual(rows(third), [""]);
  third.logMetrics({ a: 1 }, 0);
  third.finalize();
  assert.deepEqual(rows(third), ["a,step", "1,0", ""]);
});

test("a table of another run is not cut, whatever a checkpoint says", async () => {
  const write = (dir: string, value: number): CSVLogger => {
    const logger = versioned(dir);
    logger.logMetrics({ a: value }, 0);
    logger.logMetrics({ a: value }, 1);
    return logger;
  };
  const mine = write(fresh(), 1);
  const state = saved(mine);
  mine.finalize();
  const dir = fresh();
  write(dir, 2).finalize();
  const before = readFileSync(join(dir, "v", "metrics.csv"), "utf8");
  const other = versioned(dir);
  const warnings: string[] = [];
  const listen = (warning: Error & { code?: string }): void => void warnings.push(warning.code ?? "");
  process.on("warning", listen);
  other.loadStateDict(state);
  other.finalize();
  const empty = versioned(dir); // of a run that had logged nothing, elsewhere
  empty.loadStateDict({ ...saved(versioned(fresh())), lines: 0 });
  empty.finalize();
  assert.equal(readFileSync(join(dir, "v", "metrics.csv"), "utf8"), before);
  await new Promise((resolve) => setImmediate(resolve));
  process.off("warning", listen);
  assert.deepEqual(warnings, ["WARN_LOG_POSITION", "WARN_LOG_POSITION"]);
  for (const bad of [{ ...state, lines: -1 }, { ...state, digest: 3 }, { ...state, fresh: "yes" }, { lines: 1 }])
    assert.throws(() => versioned(dir).loadStateDict(bad), { code: "CHECKPOINT_STATE" });
});

test("a table that cannot be continued leaves no listener of the process behind", () => {
  const first = versioned(fresh());
  first.logMetrics({ a: 1 }, 0);
  const state = saved(first);
  first.finalize();
  const dir = fresh();
  mkdirSync(join(dir, "v"), { recursive: true });
  writeFileSync(join(dir, "v", "metrics.csv"), "My thesis\n");
  const before = process.listenerCount("exit");
  assert.throws(() => versioned(dir).loadStateDict(state), { code: "ERR_LOG_FILE" });
  assert.equal(process.listenerCount("exit"), before);
});

test("a log of JSON lines goes on from where a checkpoint left it, if it is that log", () => {
  const path = join(fresh(), "run.jsonl");
  const first = new JsonLines(path);
  first.add({ type: "run", name: "ä" });
  first.add({ n: 1 });
  const position = first.position();
  assert.equal(readFileSync(path, "utf8").split("\n").length, 3);
  first.add({ n: 2 });
  first.close();
  const whole = readFileSync(path, "utf8");

  const second = new JsonLines(path, "{", position);
  assert.ok(second.continued);
  assert.deepEqual(second.position(), position);
  second.add({ n: 2 });
  second.close();
  assert.equal(readFileSync(path, "utf8"), whole);

  const other = new JsonLines(path, "{", { ...position, digest: position.digest.replace(/./, "x") });
  assert.ok(!other.continued);
  other.close();
  assert.equal(readFileSync(path, "utf8"), whole);
});
