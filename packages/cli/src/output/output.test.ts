import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { parquetReadObjects } from "hyparquet";
import { LightningModule, type TrainerView } from "@nbit/lightning";
import { loadSafetensors, tensor } from "@nbit/torch";
import { checkOutput } from "./formats.js";
import { streamTo } from "./stream.js";
import { writePredictions } from "./write.js";

const folder = mkdtempSync(join(tmpdir(), "nbit-output-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);
const text = (name: string): string => readFileSync(at(name), "utf8");

const batches = [
  {
    label: tensor([1, 0], { dtype: "int64" }),
    scores: tensor(
      [
        [0.5, NaN],
        [0.25, Infinity],
      ],
      { dtype: "float64" },
    ),
    'a "b"': tensor([true, false]),
  },
  {
    label: tensor([2], { dtype: "int64" }),
    scores: tensor([[0.125, 1e-300]], { dtype: "float64" }),
    'a "b"': tensor([true]),
  },
];

test("CSV has a row for each sample, numbers as they are, names in quotes where they must be", async () => {
  assert.deepEqual(await writePredictions(at("p.csv"), batches, 1), [at("p.csv")]);
  assert.equal(
    text("p.csv"),
    'label,scores_0,scores_1,"a ""b"""\n1,0.5,NaN,true\n0,0.25,Infinity,false\n2,0.125,1e-300,true\n',
  );
});

test("JSON lines have the names and shapes that predictStep gave", async () => {
  await writePredictions(at("p.jsonl"), batches, 1);
  const rows = text("p.jsonl")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as unknown);
  assert.deepEqual(rows.slice(1), [
    { label: 0, scores: [0.25, "Infinity"], 'a "b"': false },
    { label: 2, scores: [0.125, 1e-300], 'a "b"': true },
  ]);
});

test("safetensors hold the tensors of all batches, one after the other", async () => {
  await writePredictions(at("p.safetensors"), batches, 1);
  const { label, scores } = loadSafetensors(at("p.safetensors"));
  assert.deepEqual([label?.dtype, label?.tolist(), scores?.shape], ["int64", [1, 0, 2], [3, 2]]);
});

test("Parquet is read back by a reader of Parquet", async () => {
  await writePredictions(at("p.parquet"), batches, 1);
  const bytes = readFileSync(at("p.parquet"));
  const rows = await parquetReadObjects({
    file: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length),
  });
  assert.deepEqual(rows[2], { label: 2n, scores_0: 0.125, scores_1: 1e-300, 'a "b"': true });
});

test("tensors alone, lists, numbers, deep ones, and several loaders", async () => {
  await writePredictions(at("alone.csv"), [tensor([1, 2]), tensor([3])], 1);
  assert.equal(text("alone.csv"), "prediction\n1\n2\n3\n");
  await writePredictions(at("list.csv"), [[tensor([1]), tensor([[[2, 3]]])]], 1);
  assert.equal(text("list.csv"), 'prediction_0,prediction_1_0\n1,"[2,3]"\n');
  await writePredictions(at("number.csv"), [0.5, 0.25], 1);
  assert.equal(text("number.csv"), "prediction\n0.5\n0.25\n");
  assert.deepEqual(await writePredictions(at("two.csv"), [[tensor([1])], [tensor([2])]], 2), [
    at("two-0.csv"),
    at("two-1.csv"),
  ]);
});

test("lines are written batch by batch, into a file that is there when all of them are", () => {
  const trainer = { worldSize: 1, numPredictBatches: [2, 1] } as unknown as TrainerView;
  const module = new LightningModule();
  for (const end of [".csv", ".jsonl"]) {
    const stream = streamTo(at(`stream${end}`)) ?? assert.fail(end);
    batches.forEach((batch, i) => {
      stream.onPredictBatchEnd(trainer, module, batch, null, i, 0);
    });
    stream.onPredictBatchEnd(trainer, module, tensor([7]), null, 0, 1);
    assert.ok(!existsSync(at(`stream-0${end}`)));
    stream.onPredictEnd(trainer);
    assert.deepEqual(stream.written, [at(`stream-0${end}`), at(`stream-1${end}`)]);
    assert.equal(text(`stream-0${end}`), text(`p${end}`));
  }
  const broken = streamTo(at("broken.csv")) ?? assert.fail();
  broken.onPredictBatchEnd(trainer, module, tensor([1]), null, 0, 0);
  assert.throws(
    () => {
      broken.onPredictBatchEnd(trainer, module, tensor([[1, 2]]), null, 1, 0);
    },
    { code: "ERR_PREDICTIONS" },
  );
  broken.onException();
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.startsWith("broken")),
    [],
  );
  assert.equal(streamTo(at("p.parquet")), null);
});

test("what has no rows is an error that says so", async () => {
  for (const [predictions, says] of [
    [[null], /nothing to write/],
    [["text"], /Received: string/],
    [[{ a: tensor([1]), b: tensor([1, 2]) }], /as many rows in a, b\. Received: 1 and 2 in batch 0/],
    [[{ a: tensor([1]) }, { b: tensor([1]) }], /every batch to predict a\. Received: b in batch 1/],
  ] as const)
    await assert.rejects(writePredictions(at("no.csv"), predictions, 1), (error: Error) => says.test(error.message));
  assert.throws(() => checkOutput("p.txt"), { code: "ERR_OUTPUT" });
});
