/** What is said of precisions elsewhere is what the catalogue says. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { availablePrecisions, Trainer } from "@nbit/lightning";
import { examine } from "@nbit/native/doctor";
import { PRECISIONS } from "@nbit/native/precisions";
import { QUIET } from "../helpers/training.js";

const root = join(import.meta.dirname, "..", "..", "..");
const spellingsOf = ({
  name,
  aliases = [],
}: {
  readonly name: string;
  readonly aliases?: readonly (string | number)[];
}): (string | number)[] => [...aliases, name];

test("the data that programs without libtorch read is current", () => {
  const data = availablePrecisions().map(
    ({ name, aliases = [], dtypes, needs, uniformWeights, scalesLoss, label, summary }) => ({
      name,
      aliases,
      dtypes,
      needs,
      uniformWeights,
      scalesLoss,
      label,
      summary,
    }),
  );
  assert.deepEqual(PRECISIONS, data, "npm run generate writes it anew");
});

test("the plugin of every spelling has the entry's class, name and dtypes", () => {
  for (const entry of availablePrecisions()) {
    for (const precision of spellingsOf(entry)) {
      const made = new Trainer({ ...QUIET, precision: precision as 32 }).precision;
      assert.equal(made.constructor, entry.plugin);
      assert.equal(made.name, entry.name);
      assert.deepEqual(made.dtypes, entry.dtypes);
    }
  }
});

test("validation borrows weights only for precisions that hold them in one dtype", () => {
  for (const { name, uniformWeights } of availablePrecisions()) {
    const make = (): Trainer => new Trainer({ ...QUIET, precision: 32, validationPrecision: name });
    if (uniformWeights) assert.equal(make().validationPrecision?.name, name);
    else
      assert.throws(make, {
        code: "ERR_VALIDATION_PRECISION",
        message:
          /^Trainer: expected validationPrecision to hold all weights in one dtype\. Received: "float8.*Use one of 32, 64, 16, "bf16", "16-true", "bf16-true"\.$/,
      });
  }
});

test("doctor lists what the Trainer accepts, once each", async () => {
  const rows = (await examine()).precisions.map(({ precision }) => precision);
  const apex = rows.pop();
  assert.equal(apex, "16, ampBackend apex");
  assert.deepEqual(
    rows.map((precision) => new Trainer({ ...QUIET, precision: precision as "32" }).precision.name),
    availablePrecisions().map(({ name }) => name),
  );
});

test("the guide's table has every spelling", () => {
  const guide = readFileSync(join(root, "docs", "precision-guide.md"), "utf8");
  const table = guide
    .split("\n")
    .filter((line) => line.startsWith("| "))
    .map((line) => line.split(" | ")[0] ?? "");
  for (const spelling of availablePrecisions().flatMap(spellingsOf)) {
    if (typeof spelling === "string" && /^\d+$/.test(spelling)) continue; // a number as text, for the command line
    const text = JSON.stringify(spelling);
    assert.ok(
      table.some((cell) =>
        cell
          .replace(/^\| /, "")
          .split(/, | \(default\)/)
          .includes(text),
      ),
      text,
    );
  }
});
