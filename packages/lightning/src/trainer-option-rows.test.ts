import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { Trainer } from "@nbit/lightning";
import { TRAINER_OPTIONS } from "./trainer-option-rows.js";

const file = fileURLToPath(new URL("../src/trainer-options.ts", import.meta.url));
const source = ts.createSourceFile(file, readFileSync(file, "utf8"), ts.ScriptTarget.ES2022, true);
const declaration = source.statements.find(
  (statement) => ts.isInterfaceDeclaration(statement) && statement.name.text === "TrainerOptions",
);
assert.ok(declaration !== undefined && ts.isInterfaceDeclaration(declaration));
const docs = new Map(
  declaration.members.map((member) => [
    member.name?.getText() ?? "",
    ts
      .getJSDocCommentsAndTags(member)
      .map((doc) => doc.getText())
      .join("\n"),
  ]),
);

test("every option of the Trainer has a row, and a docstring that tells the same default", () => {
  assert.deepEqual([...docs.keys()].sort(), Object.keys(TRAINER_OPTIONS).sort());
  let told = 0;
  for (const [name, doc] of docs) {
    const row: { readonly default?: unknown } = TRAINER_OPTIONS[name as keyof typeof TRAINER_OPTIONS];
    assert.notEqual(doc, "", name);
    const said = /Default (-?\d+|true|false|null|"[^"]*")|(\S+) \(default\b/i.exec(
      doc.replaceAll(/\s*\n\s*\*\s*/g, " "),
    );
    const value = (said?.[1] ?? said?.[2])?.toLowerCase();
    if (value === undefined || row.default === undefined || typeof row.default === "function") continue;
    assert.equal(value, JSON.stringify(row.default), name);
    told++;
  }
  assert.ok(told >= 15, String(told));
});

test("a row has a line of its own, and a default that can be shown", () => {
  for (const [name, { summary, defaultWords, default: value }] of Object.entries(TRAINER_OPTIONS)) {
    assert.match(summary, /^\S.*[^.]$/, name);
    assert.ok(defaultWords !== undefined || ["string", "number", "boolean"].includes(typeof value), name);
  }
  assert.equal(
    new Set(Object.values(TRAINER_OPTIONS).map(({ summary }) => summary)).size,
    Object.keys(TRAINER_OPTIONS).length,
  );
});

/** A Trainer that shows its options. */
class Shown extends Trainer {
  get options(): typeof this.resolved {
    return this.resolved;
  }
}
const QUIET = { accelerator: "cpu", logger: false, enableCheckpointing: false } as const;

test("defaults that follow from other options", () => {
  const { options } = new Shown(QUIET);
  assert.deepEqual(
    [
      options.maxEpochs,
      options.minEpochs,
      options.maxSteps,
      options.benchmark,
      options.defaultRootDir,
      options.detectNonFinite,
      options.fastDevRun,
    ],
    [1000, 0, -1, undefined, process.cwd(), "loss", false],
  );
  assert.equal(new Shown({ ...QUIET, maxSteps: 3 }).options.maxEpochs, -1);
  assert.equal(new Shown({ ...QUIET, maxTime: { hours: 1 } }).options.maxEpochs, -1);
  assert.equal(new Shown({ ...QUIET, maxSteps: 3, maxEpochs: 5 }).options.maxEpochs, 5);
  assert.equal(new Shown({ ...QUIET, minSteps: 3 }).options.minEpochs, 1);
  assert.equal(new Shown({ ...QUIET, deterministic: true }).options.benchmark, false);
  assert.equal(new Shown({ ...QUIET, deterministic: "warn" }).options.benchmark, undefined);
  assert.equal(new Shown({ ...QUIET, numSanityValSteps: -1 }).options.numSanityValSteps, Infinity);
});

test("options that come through a prototype, and undefined ones", () => {
  const { options } = new Shown(
    Object.assign(Object.create({ ...QUIET, maxEpochs: 3 }), { maxSteps: 7, minSteps: undefined }) as typeof QUIET,
  );
  assert.deepEqual([options.maxEpochs, options.maxSteps, options.minSteps, options.accelerator], [3, 7, 0, "cpu"]);
});

test("fastDevRun takes the place of other options, which are checked all the same", () => {
  const { options } = new Shown({
    ...QUIET,
    logger: true,
    fastDevRun: 2,
    maxEpochs: 9,
    maxSteps: 50,
    limitValBatches: 0.5,
    valCheckInterval: 3,
    checkValEveryNEpoch: 4,
    numSanityValSteps: 5,
    accumulateGradBatches: 6,
  });
  const {
    maxEpochs,
    maxSteps,
    limitTrainBatches,
    limitValBatches,
    limitTestBatches,
    limitPredictBatches,
    valCheckInterval,
    checkValEveryNEpoch,
    numSanityValSteps,
    accumulateGradBatches,
    logger,
  } = options;
  assert.deepEqual(
    {
      maxEpochs,
      maxSteps,
      limitTrainBatches,
      limitValBatches,
      limitTestBatches,
      limitPredictBatches,
      valCheckInterval,
      checkValEveryNEpoch,
      numSanityValSteps,
      accumulateGradBatches,
      logger,
    },
    {
      maxEpochs: 1,
      maxSteps: 2,
      limitTrainBatches: 2,
      limitValBatches: 2,
      limitTestBatches: 2,
      limitPredictBatches: 2,
      valCheckInterval: undefined,
      checkValEveryNEpoch: 1,
      numSanityValSteps: 0,
      accumulateGradBatches: 6,
      logger: false,
    },
  );
  assert.equal(new Shown({ ...QUIET, fastDevRun: true, checkValEveryNEpoch: null }).options.checkValEveryNEpoch, null);
  assert.throws(() => new Trainer({ ...QUIET, fastDevRun: true, maxEpochs: -5 }), {
    code: "ERR_TRAINER_OPTION",
    message: "Trainer: expected maxEpochs to be a whole number ≥ -1 (-1: no limit). Received: -5.",
  });
});

const REFUSED: readonly (readonly [object, string])[] = [
  [{ accelerator: 5 }, "expected accelerator to be the name of an accelerator, or an Accelerator. Received: 5."],
  [
    { valCheckInterval: 0 },
    "expected valCheckInterval to be a whole number of batches ≥ 1, or a share in (0, 1). Received: 0. Use limitValBatches: 0 for no validation.",
  ],
  [
    { limitTestBatches: "all" },
    'expected limitTestBatches to be a whole number of batches, or a share in (0, 1). Received: "all". Leave it out for all batches.',
  ],
  [{ numSanityValSteps: -2 }, "expected numSanityValSteps to be a whole number ≥ 0. Received: -2."],
  [{ checkValEveryNEpoch: 0 }, "expected checkValEveryNEpoch to be a whole number ≥ 1. Received: 0."],
  [{ fastDevRun: 0 }, "expected fastDevRun to be a whole number ≥ 1. Received: 0."],
  [
    { detectNonFinite: "loss" },
    'expected detectNonFinite to be one of true, false, "step", "gradients". Received: "loss".',
  ],
  [{ cudaGraph: 1 }, "expected cudaGraph to be one of true, false. Received: 1."],
  [{ defaultRootDir: 3 }, "expected defaultRootDir to be a folder. Received: 3."],
  [{ gradientClipAlgorithm: "amp" }, 'expected gradientClipAlgorithm to be one of "norm", "value". Received: "amp".'],
  [{ amp: true }, 'expected an option that it has. Received: "amp". Use precision: 16.'],
  [{ num_nodes: 2 }, 'expected the option numNodes. Received: "num_nodes".'],
];
for (const [options, message] of REFUSED)
  test(`refused: ${JSON.stringify(options)}`, () =>
    assert.throws(() => new Trainer({ logger: false, enableCheckpointing: false, ...options }), {
      code: "ERR_TRAINER_OPTION",
      message: `Trainer: ${message}`,
    }));
