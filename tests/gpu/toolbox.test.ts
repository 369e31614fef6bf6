/** Layers, losses, functions and optimizers of the parity tables on the GPU, a test for each row. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { onGpu, type Finding } from "../parity/toolbox/on-gpu.js";
import { gpu, options } from "./support.js";

// One run of the tables; a test tells what became of an area.
const areas = new Map<string, Finding[]>();
if (gpu) for (const finding of onGpu()) areas.set(finding.area, [...(areas.get(finding.area) ?? []), finding]);

describe("the parity tables on the GPU", options, () => {
  for (const [area, findings] of areas)
    it(`${area}: ${findings.length} rows and modes`, () => {
      const wrong = findings
        .filter((f) => f.differences.length > 0 && f.exception === null)
        .map((f) => `${f.name}, ${f.mode}: ${f.differences.slice(0, 3).join("; ")}`);
      assert.deepEqual(wrong, []);
    });
});
