import assert from "node:assert/strict";
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { claimVersion } from "./version.js";
import { CSVLogger } from "./csv.js";
import { JsonLines } from "./json-lines.js";

const root = mkdtempSync(join(tmpdir(), "nbit-logs-"));
after(() => {
  rmSync(root, { recursive: true });
});
let next = 0;
function fresh(): string {
  const folder = join(root, String(next++));
  mkdirSync(folder);
  return folder;
}
const RUN = '{"type":"run"';

test("a user's file of a log's name is left as it is", () => {
  for (const content of [
    "My thesis",
    "My thesis\nits second line\n",
    '{"a": 1}',
    '{\n  "name": "x"\n}\n',
    '{"type":"package"}\n',
    "[1]\n",
    "\n",
    "\0\0",
  ]) {
    const path = join(fresh(), "run.jsonl");
    writeFileSync(path, content);
    assert.throws(() => new JsonLines(path, RUN), {
      code: "ERR_LOG_FILE",
      message: /^RunLog: expected a log of its own, or nothing, at /,
    });
    assert.equal(readFileSync(path, "utf8"), content);
  }
  for (const content of [
    "name,age\nAnna,3\n",
    "step,loss\n1,two\n",
    "step,step\n1,2\n",
    "a,b,c",
    "step,loss\n1,2,3\n",
    "thesis\n",
  ]) {
    const folder = fresh();
    mkdirSync(join(folder, "nbit_logs", "mine"), { recursive: true });
    const path = join(folder, "nbit_logs", "mine", "metrics.csv");
    writeFileSync(path, content);
    const logger = new CSVLogger(folder, { version: "mine" });
    assert.throws(
      () => {
        logger.logMetrics({ loss: 1 }, 1);
        logger.flush();
      },
      { code: "ERR_LOG_FILE", message: /^CSVLogger: expected a log of its own/ },
      content,
    );
    assert.equal(readFileSync(path, "utf8"), content);
    rmSync(path);
    logger.finalize();
    assert.equal(readFileSync(path, "utf8"), "loss,step\n1,1\n", "what waited is written once there is room for it");
  }
});

test("a log is continued, also one whose first line was torn", () => {
  for (const [content, kept] of [
    ['{"type":"run","format":1}\n{"type":"st', '{"type":"run","format":1}\n'],
    ['{"type":"run","for', ""],
    ['{"ty', ""],
    ["", ""],
  ] as const) {
    const path = join(fresh(), "run.jsonl");
    writeFileSync(path, content);
    const log = new JsonLines(path, RUN);
    log.add({ type: "end" });
    log.close();
    assert.equal(readFileSync(path, "utf8"), `${kept}{"type":"end"}\n`);
  }
});

test("nothing is written through a symbolic link", () => {
  const folder = fresh();
  const [target, link] = [join(folder, "target"), join(folder, "run.jsonl")];
  writeFileSync(target, '{"type":"run"}\n');
  symlinkSync(target, link);
  assert.throws(() => new JsonLines(link, RUN), { code: "ERR_LOG_FILE", message: /Received: a symbolic link/ });
  symlinkSync(join(folder, "nowhere"), join(folder, "b.jsonl"));
  assert.throws(() => new JsonLines(join(folder, "b.jsonl"), RUN), { code: "ERR_LOG_FILE" });
  mkdirSync(join(folder, "c.jsonl"));
  assert.throws(() => new JsonLines(join(folder, "c.jsonl"), RUN), { code: "ERR_LOG_FILE" });
  assert.deepEqual(readdirSync(folder).sort(), ["b.jsonl", "c.jsonl", "run.jsonl", "target"]);
});

test("hyper-parameters of another run stay", () => {
  const folder = fresh();
  const log = (lr: number): CSVLogger => {
    const logger = new CSVLogger(folder, { version: 0 });
    logger.logHyperparams({ lr });
    return logger;
  };
  const { logDir } = log(1);
  log(1);
  assert.deepEqual(readdirSync(logDir), ["hparams.yaml"]);
  log(2).logHyperparams({ lr: 3 });
  assert.deepEqual(
    readdirSync(logDir).map((name) => [name, readFileSync(join(logDir, name), "utf8")]),
    [
      ["hparams-1.yaml", "lr: 3\n"],
      ["hparams.yaml", "lr: 1\n"],
    ],
  );
  rmSync(join(logDir, "hparams.yaml"));
  writeFileSync(join(folder, "mine"), "mine");
  symlinkSync(join(folder, "mine"), join(logDir, "hparams.yaml"));
  log(4);
  assert.ok(lstatSync(join(logDir, "hparams.yaml")).isSymbolicLink());
  assert.equal(readFileSync(join(folder, "mine"), "utf8"), "mine");
});

test("folders with absurd version numbers do not stop the next version from being found", () => {
  const folder = fresh();
  for (const name of ["version_9007199254740992", "version_99999999999999999999999", "version_-1", "version_1e3"])
    mkdirSync(join(folder, name));
  assert.equal(claimVersion("CSVLogger", folder), 0);
  assert.equal(claimVersion("CSVLogger", folder), 1);
  writeFileSync(join(folder, "file"), "");
  assert.throws(() => claimVersion("CSVLogger", join(folder, "file")), { name: "FileError", code: "EEXIST" });
});
