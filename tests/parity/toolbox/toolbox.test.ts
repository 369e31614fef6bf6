/** Every row of cases/*.json in each of its modes against PyTorch's record. README.md says how to add rows. */
import { incomparable, type FixtureOrigin } from "../../helpers/reproducible.js";
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { cpuCapability, scope, setCpuKernels, setNumThreads, versions } from "@nbit/torch";
import { run } from "./run.js";
import { differences, toleranceOf, type RecordOfCase, type Row } from "./table.js";

// The compiled test lies in tests/dist/parity/toolbox, the tables beside its source.
const here = new URL("../../../parity/toolbox/", import.meta.url);
setNumThreads(1);
setCpuKernels("libtorch");
const only = process.env["NBIT_PARITY_ONLY"]; // a part of a name, for who works on one row

for (const file of readdirSync(new URL("cases", here)).sort()) {
  const area = file.replace(/\.json$/, "");
  const rows = JSON.parse(readFileSync(new URL(`cases/${file}`, here), "utf8")) as readonly Row[];
  const lines = readFileSync(new URL(`fixtures/${area}.jsonl`, here), "utf8")
    .trimEnd()
    .split("\n");
  const origin = JSON.parse(lines[0] ?? "") as FixtureOrigin;
  const records = lines.slice(1).map((line) => JSON.parse(line) as RecordOfCase);
  const reason = incomparable(origin, { libtorch: versions().libtorch, capability: cpuCapability() });
  describe(`${area} as PyTorch ${origin.torch}'s`, { skip: reason ?? false }, () => {
    it("has a record of every row, and no other", () => {
      assert.deepEqual(
        [...new Set(records.map((r) => r.name))],
        rows.map((r) => r.name),
      );
    });
    for (const row of rows) {
      if (only !== undefined && !row.name.includes(only)) continue;
      it(row.name, () => {
        for (const { name: _, mode, ...expected } of records.filter((r) => r.name === row.name))
          scope(() => {
            assert.deepEqual(differences(expected, run(row, mode), toleranceOf(row, mode), mode), []);
          });
      });
    }
  });
}
