import assert from "node:assert/strict";
import { test } from "node:test";
import { nearest } from "@nbit/torch/names";
import { commands } from "../commands/index.js";
import { CommandError } from "../errors.js";
import { readArguments } from "./read.js";

const of = (name: string, ...args: string[]): ReturnType<typeof readArguments> =>
  readArguments(commands.get(name) ?? assert.fail(name), args);
const flags = (...args: string[]): Record<string, unknown> =>
  Object.fromEntries(of("fit", ...args).flags.map(({ name, value }) => [name, value]));

test("flags stand in any order, in both spellings; the last of a name counts", () => {
  const call = of(
    "fit",
    "--fastDevRun",
    "a.ts",
    "--maxEpochs=3",
    "--precision",
    "16",
    "--seed",
    "7",
    "--maxEpochs",
    "-1",
    "--gradientClipVal=null",
  );
  assert.deepEqual([call.words, call.help, call.rest], [["a.ts"], false, []]);
  assert.deepEqual(Object.fromEntries(call.flags.map(({ name, value }) => [name, value])), {
    fastDevRun: true,
    maxEpochs: -1,
    precision: "16",
    seed: 7,
    gradientClipVal: null,
  });
  assert.deepEqual(
    flags("--logger=false", "--deterministic", "warn", "--limitTrainBatches", ".5", "--ckptPath", "last"),
    { logger: false, deterministic: "warn", limitTrainBatches: 0.5, ckptPath: "last" },
  );
});

test("a switch takes what it can be, and no file", () => {
  assert.deepEqual(flags("--fastDevRun", "4", "a.ts"), { fastDevRun: 4 });
  assert.deepEqual(of("fit", "--deterministic", "./a.ts").words, ["./a.ts"]);
  assert.deepEqual(flags("--print-config", "a.ts"), { "print-config": true });
  assert.equal(of("fit", "-h").help, true);
});

test("what a program declares keeps its text, negative numbers too; alone it is true", () => {
  assert.deepEqual(
    flags("--model.lr", "1e-3", "--model.shift", "-1e-3", "--model.bias", "--data", "Digits", "--trainer.callbacks+=X"),
    { "model.lr": "1e-3", "model.shift": "-1e-3", "model.bias": true, data: "Digits", "trainer.callbacks": "X" },
  );
});

test("arguments behind -- are the program's, where the command has one", () => {
  assert.deepEqual(of("explain", "a.ts", "--json", "--", "--json", "b").rest, ["--json", "b"]);
  assert.throws(() => of("fit", "a.ts", "--", "b"), { code: "ERR_ARGUMENTS" });
});

for (const [args, code, message] of [
  [
    ["a.ts", "--maxEpoch", "3"],
    "ERR_FLAG",
    "nbit fit: expected --maxEpochs. Received: --maxEpoch. `nbit fit --help` lists them.",
  ],
  [
    ["a.ts", "--max-epochs=3"],
    "ERR_FLAG",
    "nbit fit: expected --maxEpochs. Received: --max-epochs. `nbit fit --help` lists them.",
  ],
  [
    ["--colour"],
    "ERR_FLAG",
    "nbit fit: expected a flag that it knows. Received: --colour. `nbit fit --help` lists them.",
  ],
  [
    ["--modle.lr", "1"],
    "ERR_FLAG",
    "nbit fit: expected --model.lr. Received: --modle.lr. `nbit fit --help` lists them.",
  ],
  [
    ["--seed_everything", "1"],
    "ERR_FLAG",
    "nbit fit: expected --seed. Received: --seed_everything. `nbit fit --help` lists them.",
  ],
  [["--maxEpochs", "three"], "ERR_FLAG_VALUE", 'nbit fit: expected --maxEpochs to be a number. Received: "three".'],
  [["--cudaGraph=1"], "ERR_FLAG_VALUE", 'nbit fit: expected --cudaGraph to be true or false. Received: "1".'],
  [
    ["--maxEpochs", "--seed"],
    "ERR_FLAG_VALUE",
    "nbit fit: expected a value after --maxEpochs (-1: no limit). Received: --seed.",
  ],
  [
    ["--precision"],
    "ERR_FLAG_VALUE",
    "nbit fit: expected a value after --precision (32, 64, 16, bf16, 16-true, bf16-true, auto, …). Received: the end of the line.",
  ],
  [["a.ts", "b.ts"], "ERR_ARGUMENTS", "nbit fit: expected one file. Received: a.ts and b.ts."],
  [["-x"], "ERR_FLAG", "nbit fit: expected a flag that it knows. Received: -x. `nbit fit --help` lists them."],
] as const)
  test(`${args.join(" ")} is refused`, () => {
    assert.throws(
      () => of("fit", ...args),
      (error: unknown) => error instanceof CommandError && error.code === code && error.message === message,
    );
  });

test("a misspelt name finds its neighbour, a strange one finds none", () => {
  assert.equal(nearest("trainDataloader", ["trainer", "trainDataloaders"]), "trainDataloaders");
  assert.equal(nearest("precison", ["precision", "seed"]), "precision");
  assert.equal(nearest("helper", ["model", "default"]), null);
});

test("no arguments of any kind end in anything but a call or an error with a code", () => {
  const odd = [
    "",
    "-",
    "--",
    "---",
    "--=",
    "-1",
    "--model.",
    "--model..x",
    "--.x",
    "--constructor",
    "--__proto__=1",
    "--toString",
    "\0",
    "--trainer",
  ];
  for (const command of commands.keys())
    for (const a of odd)
      for (const b of odd)
        try {
          of(command, a, b);
        } catch (error) {
          assert.ok(error instanceof CommandError, `${command} ${a} ${b}: ${String(error)}`);
        }
});
