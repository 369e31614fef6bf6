import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { libtorch } from "../packages/native/lib/index.mjs";
import { kernelsOf } from "../packages/torch/dist/backend.js";
import { installedPages, rulesOfHeader } from "./autocast.mjs";
import { root } from "./workspace.mjs";

const pages = await installedPages();
const skip = pages === null && "another libtorch than the page is of";

test("the page of autocast's policies is current", { skip }, () => {
  for (const [file, text] of pages) assert.equal(readFileSync(file, "utf8"), text, "node tools/autocast.mjs");
});

const rules = rulesOfHeader(readFileSync(join(libtorch.path, "include", "ATen", "autocast_mode.h"), "utf8"));

test("the header's lists are the kernels that libtorch has registered for CUDA", () => {
  const kernels = new Set(kernelsOf("AutocastCUDA").map(({ name }) => name.replace(/^aten::/, "")));
  assert.deepEqual([...rules.keys()].sort(), [...kernels].sort());
});

test("a GPU's recorded results have the dtypes that the rules give", () => {
  const { calls } = JSON.parse(readFileSync(join(root, "tests", "gpu", "autocast", "fixture.json"), "utf8"));
  const seen = new Set();
  for (const { op, results } of calls) {
    const rule = rules.get(op);
    const dtypes = (kind) => (Array.isArray(results[`float16 ${kind}`]) ? results[`float16 ${kind}`][0] : "error");
    const expected = {
      lower: ["full", "float16"],
      float32: ["low", "float32"],
      setOptDtype: ["low", "float32"],
      appendDtype: ["low", "float32"],
      promote: ["mixed", "float32"],
      banned: ["low", "error"],
    }[rule];
    if (expected === undefined || ["error", undefined].includes(dtypes(expected[0])) !== (rule === "banned")) continue;
    assert.equal(dtypes(expected[0]), expected[1], `${op}: ${rule}`);
    seen.add(op);
  }
  assert.ok(seen.size > 90, `${seen.size} compared`);
});
