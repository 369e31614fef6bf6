import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { docOf } from "../packages/native/manifest/docs.mjs";
import { root } from "./workspace.mjs";

test("a docstring has what an operator does, shapes, dtypes, defaults, its policy and PyTorch's page", () => {
  const schemas = [{ args: [{ name: "self" }, { name: "keepdim", default: false }], returns: [{}] }];
  assert.equal(
    docOf("logsumexp", schemas, "function"),
    "/** Reduces dimensions, or all of them. For example `[2, 3], dim = [0]` → `[3]`. Makes float32 (of float32, int64, bool). Defaults: keepdim = false. Autocast: float32 on CUDA. [torch.logsumexp](https://docs.pytorch.org/docs/2.13/generated/torch.logsumexp.html) */\n",
  );
  assert.match(
    docOf("add_", [], "method"),
    /^ {2}\/\*\* `add` in place: writes this tensor, and returns it\. \[torch\.Tensor\.add_\]/,
  );
  assert.match(
    docOf("mm", [], "function"),
    /`\[2, 3\], \[3, 2\]` → `\[2, 2\]`\. .* Autocast: lower precision on CPU and CUDA\. /,
  );
  assert.match(docOf("isnan", [], "function"), / Makes bool \(of float32, int64, bool\)\. /);
  assert.equal(docOf("nobody_knows", [], "function"), "/** The operator `aten::nobody_knows`. */\n");
});

test("every generated function and method has one", () => {
  const read = (name) => readFileSync(join(root, "packages", "torch", "src", "generated", `${name}.ts`), "utf8");
  for (const name of ["functions", "linalg", "fft", "special"])
    for (const [before] of read(name).matchAll(/^.*\n(?=(?:export )?const \w+: \{$)/gm))
      assert.match(before, /^\/\*\* .* \*\/\n$/, name);
  const methods = read("methods");
  const documented = [...methods.matchAll(/^ {2}\/\*\* .* \*\/\n {2}(\w+)/gm)].map(([, name]) => name);
  const all = new Set([...methods.matchAll(/^ {2}(\w+)[<(]/gm)].map(([, name]) => name));
  assert.deepEqual(new Set(documented), all);
});
