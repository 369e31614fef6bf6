import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { configTemplate, configText, writable } from "./dump.js";
import { readEnvironment } from "./environment.js";
import { fill, fillFreely } from "./fill.js";
import type { Given } from "./given.js";
import { settle, type Settings } from "./settle.js";
import { asYaml, readConfig } from "./yaml.js";

const folder = mkdtempSync(join(tmpdir(), "nbit-settings-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const file = (text: string): string => {
  const path = join(folder, "run.yaml");
  writeFileSync(path, text);
  return path;
};
const config = (text: string): Given[] => readConfig("fit", file(text));
const flag = (name: string, value: string): Given => ({
  path: name.split("."),
  value,
  isText: true,
  from: `--${name}`,
});
const settled = (...given: Given[]): Settings => settle("fit", given, ["seed", "file"]);

test("a file of settings has the line and column of each", () => {
  const given = config("seed: 3\ntrainer:\n  maxEpochs: 2\nmodel:\n  inner: { depth: 4 }\n");
  assert.deepEqual(
    given.map(({ path, value, from }) => [path.join("."), value, from.replace(folder, "")]),
    [
      ["seed", 3, "seed of /run.yaml:1:1"],
      ["trainer.maxEpochs", 2, "trainer.maxEpochs of /run.yaml:3:3"],
      ["model.inner.depth", 4, "model.inner.depth of /run.yaml:5:12"],
    ],
  );
  assert.deepEqual([config(""), config("# nothing\n"), config("trainer:\nmodel: {}\n")], [[], [], []]);
});

for (const [text, says] of [
  ["- 1\n", /run\.yaml:1:1: no map of names/],
  ["a: 1\na: 2\n", /run\.yaml:2:1: Map keys must be unique/],
  ["model: {classPath: A, lr: 1}\n", /run\.yaml:1:23: "lr" beside classPath/],
  ["trainer: [\n", /run\.yaml:/],
  ["3: 4\n", /a name that is no text/],
] as const)
  test(`a file of settings that is none: ${JSON.stringify(text)}`, () => {
    assert.throws(
      () => config(text),
      (error: Error & { code?: string }) => error.code === "ERR_CONFIG_FILE" && says.test(error.message),
    );
  });

test("what comes later wins; another class forgets the arguments of the one before", () => {
  const { parts, trainer, own } = settled(
    flag("model", "A"),
    flag("model.lr", "1"),
    ...config("seed: 4\ntrainer: { maxEpochs: 2, gradientClipVal: null }\nmodel: { lr: 2 }\n"),
    flag("model", "B"),
    flag("model.width", "3"),
    flag("maxEpochs", "5"),
  );
  assert.deepEqual([parts.model.choice?.value, parts.model.args.map(({ path }) => path)], ["B", [["width"]]]);
  assert.deepEqual([trainer.get("maxEpochs"), trainer.get("gradientClipVal"), own.get("seed")?.value], [5, null, 4]);
});

test("callbacks: a file says them all, a flag adds one with what follows", () => {
  const { callbacks } = settled(
    flag("trainer.callbacks", "Gone"),
    ...config("trainer:\n  callbacks:\n    - Timer\n    - { classPath: EarlyStopping, initArgs: { monitor: loss } }\n"),
    flag("callbacks", "Own"),
    flag("callbacks.word", "yes"),
  );
  assert.deepEqual(
    callbacks.map(({ choice, args }) => [choice?.value, fillFreely(args)]),
    [
      ["Timer", {}],
      ["EarlyStopping", { monitor: "loss" }],
      ["Own", { word: "yes" }],
    ],
  );
  assert.throws(() => settled(flag("callbacks.monitor", "x")), /behind a class/);
});

test("a logger is a class, several, or none", () => {
  const one = settled(...config("trainer:\n  logger:\n    classPath: CSVLogger\n    initArgs: { name: a }\n"));
  assert.deepEqual(
    one.loggers.map(({ choice, args }) => [choice?.value, fillFreely(args)]),
    [["CSVLogger", { name: "a" }]],
  );
  const none = settled(flag("logger", "CSVLogger"), flag("logger", "false"));
  assert.deepEqual([none.loggers, none.trainer.get("logger")], [[], false]);
});

test("names that nobody knows are errors with what was meant", () => {
  assert.throws(() => settled(flag("trainer.maxEpoch", "1")), {
    message: "nbit fit: expected trainer.maxEpochs. Received: --trainer.maxEpoch.",
  });
  assert.throws(() => settled(...config("sede: 1\n")), /expected seed\. Received: sede of/);
  assert.throws(() => settled(flag("trainer.plugins", "x")), /left to the program/);
  assert.throws(() => settled(...config("model: 3\n")), /the name of a class/);
});

test("variables: words in camelCase, without regard to case", () => {
  const env = {
    NBIT_FIT__TRAINER__MAX_EPOCHS: "5",
    NBIT_FIT__MODEL__LR: "0.5",
    NBIT_FIT__SEED: "",
    OTHER: "1",
    NBIT_TEST__SEED: "2",
  };
  const given = readEnvironment("fit", "NBIT", env);
  assert.deepEqual(
    given.map(({ path, value }) => [path, value]),
    [
      [["model", "lr"], "0.5"],
      [["trainer", "maxEpochs"], "5"],
    ],
  );
  assert.equal(settled(...given).trainer.get("maxEpochs"), 5);
  const odd: Given = { path: ["learningrate"], value: "1", isText: true, from: "NBIT_FIT__MODEL__LEARNINGRATE" };
  assert.deepEqual(fill("fit", "model", { learningRate: 0 }, [odd]), { learningRate: 1 });
});

test("values take the kind of their default", () => {
  const declared = { lr: 0.1, name: "a", on: true, sizes: [1], inner: { depth: 1 }, any: null };
  const given = (name: string, value: string): unknown =>
    fill("fit", "model", declared, [{ ...flag(name, value), path: name.split(".") }]);
  assert.deepEqual(given("lr", "1e-3"), { lr: 0.001 });
  assert.deepEqual(given("lr", ".inf"), { lr: Infinity });
  assert.deepEqual(given("name", "007"), { name: "007" });
  assert.deepEqual(given("on", "false"), { on: false });
  assert.deepEqual(given("sizes", "[64, 32]"), { sizes: [64, 32] });
  assert.deepEqual(given("inner.depth", "3"), { inner: { depth: 3 } });
  assert.deepEqual(given("inner", "{ depth: 4 }"), { inner: { depth: 4 } });
  assert.deepEqual(given("any", "[1, a, null]"), { any: [1, "a", null] });
  for (const [name, value, says] of [
    ["lr", "fast", /to be a number/],
    ["on", "yes", /to be true or false/],
    ["sizes", "3", /to be a list/],
    ["inner", "3", /to be a map of depth/],
    ["inner.dept", "3", /expected --model\.inner\.depth/],
    ["lr.x", "3", /nothing below/],
    ["__proto__", "3", /ERR|expected/],
    ["constructor", "3", /expected/],
  ] as const)
    assert.throws(() => given(name, value), says, `${name} ${value}`);
});

test("settings are written so that they read back", () => {
  const settings = {
    seed: 1,
    trainer: { maxEpochs: 2, note: "a: b\nc", list: [1, { a: "1" }] },
    model: { lr: Infinity, width: 3 },
    data: {},
  };
  const text = configText(settings, ["nbit fit x\ny"]);
  assert.ok(text.startsWith("# nbit fit x y\n"));
  const read = Object.fromEntries(config(text).map(({ path, value }) => [path.join("."), value]));
  assert.deepEqual(read, {
    seed: 1,
    "trainer.maxEpochs": 2,
    "trainer.note": "a: b\nc",
    "trainer.list": [1, { a: "1" }],
    "model.lr": Infinity,
    "model.width": 3,
  });
  assert.deepEqual(config(configTemplate({ trainer: {} })), []);
  assert.equal(writable(new Map()), undefined);
  assert.deepEqual(writable({ a: 1, b: () => 1, c: [() => 1] }), { a: 1 });
  assert.deepEqual(asYaml("{ a: ["), "{ a: [");
});
