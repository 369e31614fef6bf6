import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { test } from "node:test";
import { findPlugins } from "@nbit/xla";
import { blocksOf, compile, type Block } from "./blocks.js";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const packages = readdirSync(join(root, "packages"));
const guides = [
  "README.md",
  "docs/getting-started.md",
  "docs/recipes.md",
  "docs/callbacks.md",
  "docs/checkpoints.md",
  "docs/cli.md",
  "docs/compatibility.md",
  "docs/memory-model.md",
  "docs/recorded-steps.md",
  "docs/profiling.md",
  "docs/precision-guide.md",
  "docs/low-bit.md",
  "docs/low-bit-optimizers.md",
  "docs/low-bit-gpu.md",
  "docs/gpu.md",
  "docs/data.md",
  "docs/files.md",
  "docs/logging.md",
  "docs/run-log.md",
  "docs/xla.md",
  "docs/launching.md",
  "docs/distributed-data-and-metrics.md",
  "docs/fsdp.md",
  "docs/tpu.md",
  ...packages.map((name) => `packages/${name}/README.md`),
];
const run = promisify(execFile);

const blocks = guides.flatMap((path) => blocksOf(join(root, path)));
const { programs, errors } = compile(blocks);

test("the guides have code, and all of it compiles", () => {
  for (const path of guides) assert.ok(blocksOf(join(root, path)).length > 0, `${path} has no block`);
  assert.deepEqual(errors, []);
});

const plugins = new Set(findPlugins().flatMap(({ platform, path }) => (path === null ? [] : [platform])));
/** Why a block cannot run here; false when it can. */
function lacking(needs: Block["needs"]): string | false {
  switch (needs) {
    case null:
      return false;
    case "gpu":
      return "needs a GPU: tests/gpu runs it";
    case "xla":
      return !plugins.has("cpu") && "needs the CPU plugin: nbit setup --xla";
    case "tpu":
      return !plugins.has("tpu") && "needs libtpu: nbit setup --tpu";
  }
}

blocks.forEach((block, i) => {
  test(
    `${block.document}:${block.line} prints what it says`,
    { skip: errors.length > 0 || lacking(block.needs) },
    async () => {
      // A project's folder: what a block writes by relative paths goes with it.
      const cwd = mkdtempSync(join(tmpdir(), "nbit-docs-"));
      symlinkSync(join(root, "node_modules"), join(cwd, "node_modules"));
      try {
        const { stdout } = await run(process.execPath, [programs[i] ?? ""], {
          cwd,
          env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: "0" },
        });
        if (block.output !== null) assert.equal(stdout, block.output);
      } finally {
        rmSync(cwd, { recursive: true });
      }
    },
  );
});
