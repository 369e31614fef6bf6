/** Runs of W&B, read back by the format of its files. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { test } from "node:test";
import { WandbLogger } from "@nbit/lightning";
import { arange, type Tensor } from "@nbit/torch";
import { temporaryFolders } from "../helpers/temporary-folder.js";
import { wandbFolders, wandbLog } from "./cases.js";
import { all, decodePng, message, number, text, wandbItems } from "./event-reader.js";

const fresh = temporaryFolders("wandb");
const of = (records: readonly Buffer[], field: number): Buffer[] =>
  records.flatMap((record) => all(record, field) as Buffer[]);

test("a run has its id, project and settings, metrics over the Trainer's step, and its end", () => {
  const saveDir = fresh();
  const logger = new WandbLogger("shown", saveDir, "abc", {
    project: "p",
    entity: "team",
    group: "g",
    jobType: "j",
    notes: "n",
    tags: ["a", "b"],
  });
  logger.logMetrics({ loss: 0.5 }, 7);
  logger.finalize("failed");
  const records = wandbLog(saveDir);
  assert.deepEqual(
    records.map((record) => number(record, 1)),
    records.map((_, i) => i + 1),
  );
  const [run] = of(records, 17) as [Buffer];
  assert.deepEqual(
    [1, 2, 3, 6, 7, 8, 9].map((field) => text(run, field)),
    ["abc", "team", "p", "g", "j", "shown", "n"],
  );
  assert.deepEqual(all(run, 10).map(String), ["a", "b"]);
  const metrics = of(records, 12);
  assert.equal(text(metrics[0] as Buffer, 1), "trainer/global_step");
  assert.deepEqual([text(metrics[1] as Buffer, 2), text(metrics[1] as Buffer, 4)], ["*", "trainer/global_step"]);
  const [history] = of(records, 2) as [Buffer];
  const { _timestamp, _runtime, ...row } = wandbItems(history);
  assert.deepEqual(row, { loss: 0.5, "trainer/global_step": 7, _step: 0 });
  assert.ok(Number(_timestamp) > 1.6e9 && Number(_runtime) >= 0);
  assert.equal(number(message(history, 2), 1), 0);
  assert.equal(wandbItems(of(records, 3)[0] as Buffer)["loss"], 0.5);
  assert.equal(number(of(records, 18)[0] as Buffer, 1), 1);
  assert.match(wandbFolders(saveDir)[0] as string, /offline-run-\d{8}_\d{6}-abc$/);
});

test("records of every length are whole, wherever blocks end", () => {
  const saveDir = fresh();
  const logger = new WandbLogger({ saveDir });
  const lengths = [0, 1, 200, 32_000, 32_600, 32_700, 32_761, 32_768, 40_000, 70_000, 3, 131_072];
  lengths.forEach((length, step) => {
    logger.experiment.config.update({ [`k${step}`]: "x".repeat(length) });
    for (let i = 0; i < 40; i++) logger.logMetrics({ fill: i }, step);
  });
  logger.finalize();
  const configs = of(wandbLog(saveDir), 5).map((config) => Object.values(wandbItems(config))[0] as string);
  assert.deepEqual(
    configs.map((value) => value.length),
    lengths,
  );
});

test("pictures, tables, sounds and films are files that rows name", () => {
  const saveDir = fresh();
  const logger = new WandbLogger({ saveDir, prefix: "p" });
  const image: Tensor = arange(12, { dtype: "int64" }).reshape([3, 2, 2]).to("uint8");
  logger.logImage("a/b", [image, image], 3, { caption: ["one", "two"] });
  logger.logTable(
    "t",
    ["x", "y"],
    [
      [1, "one"],
      [NaN, null],
    ],
  );
  logger.logText("words", ["w"], [["hello"]]);
  const clip = join(saveDir, "clip.wav");
  writeFileSync(clip, "sound");
  logger.logAudio("s", [clip], 4);
  logger.logVideo("v", [clip]);
  logger.finalize();
  const records = wandbLog(saveDir);
  const rows = of(records, 2).map(wandbItems);
  const files = join(wandbFolders(saveDir)[0] as string, "files");
  const pictures = rows[0]?.["p-a/b"] as { filenames: string[]; [key: string]: unknown };
  assert.deepEqual(
    { ...pictures, filenames: pictures.filenames.length },
    { _type: "images/separated", width: 2, height: 2, format: "png", count: 2, filenames: 2, captions: ["one", "two"] },
  );
  assert.equal(rows[0]?.["trainer/global_step"], 3);
  const png = decodePng(readFileSync(join(files, pictures.filenames[0] as string)));
  assert.deepEqual(png.frames[0], [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]);
  const table = rows[1]?.["p-t"] as { path: string; sha256: string; size: number; ncols: number; nrows: number };
  const content = readFileSync(join(files, table.path));
  assert.deepEqual(JSON.parse(content.toString()), {
    columns: ["x", "y"],
    data: [
      [1, "one"],
      ["NaN", null],
    ],
  });
  assert.deepEqual([table.ncols, table.nrows, table.size], [2, 2, content.length]);
  assert.equal(table.sha256, createHash("sha256").update(content).digest("hex"));
  assert.equal((rows[2]?.["p-words"] as { nrows: number }).nrows, 1);
  const [sound] = (rows[3]?.["p-s"] as { audio: { path: string }[] }).audio;
  assert.equal(readFileSync(join(files, sound?.path ?? ""), "utf8"), "sound");
  assert.equal((rows[4]?.["p-v"] as { _type: string })._type, "videos");
  const listed = of(records, 6).map((record) => text(record, 1, 1));
  assert.equal(listed.length, 6);
  for (const path of listed) assert.ok(existsSync(join(files, path)), path);
});

test("names of media stay in the run's folder", () => {
  const saveDir = fresh();
  const logger = new WandbLogger({ saveDir });
  logger.logTable("../../x", ["a"], []);
  logger.finalize();
  assert.match(
    text(of(wandbLog(saveDir), 6)[0] as Buffer, 1, 1),
    /^media\/table\/_\/_\/x_0_[0-9a-f]{20}\.table\.json$/,
  );
});

test("what it does not do is refused with the reason", () => {
  assert.throws(
    () => new WandbLogger({ offline: false as never }),
    /expected offline to be true\. Received: false\. Only W&B's own client speaks/,
  );
  assert.throws(() => new WandbLogger({ version: "a/b" }), /an id of letters, digits, _ and -/);
  const logger = new WandbLogger({ saveDir: fresh() });
  assert.throws(() => logger.logImage("a", ["x.png"], null, { caption: [] }), /expected 1 captions/);
  assert.throws(() => logger.logTable("a", ["x"], [[1, 2]]), /every element a row of 1 values/);
  assert.throws(() => logger.logImage("a", [Uint8Array.of(1)]), /the bytes of a PNG file/);
  assert.throws(() => logger.logAudio("a", [1 as never]), /every element the path of a file/);
  logger.finalize();
});
