/** Every row of cases/*.json in each of its modes against PyTorch's record. README.md says how to add rows. */
import { incomparable } from "../../helpers/reproducible.js";
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { cpuCapability, scope, setCpuKernels, setNumThreads, versions } from "@nbit/torch";
import { areas } from "./fixtures.js";
import { run } from "./run.js";
import { differences, toleranceOf } from "./table.js";

setNumThreads(1);
setCpuKernels("libtorch");
const only = process.env["NBIT_PARITY_ONLY"]; // a part of a name, for who works on one row

for (const { area, rows, origin, records } of areas()) {
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
