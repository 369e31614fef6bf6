/** The blocks of the guides that need a GPU. tests/docs compiles them everywhere. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { blocksOf, compile } from "../docs/blocks.js";
import { gpu, options } from "./support.js";

const root = fileURLToPath(new URL("../../..", import.meta.url));
// All blocks of the page: those that run on the CPU elsewhere run on the GPU here.
const blocks = blocksOf(join(root, "docs", "gpu.md"));
const { programs, errors } = gpu ? compile(blocks, "gpu-blocks") : { programs: [], errors: [] };
const run = promisify(execFile);

blocks.forEach((block, i) => {
  test(`${block.document}:${block.line} runs on the GPU`, options, async () => {
    assert.deepEqual(errors, []);
    const { stdout } = await run(process.execPath, [programs[i] ?? ""], {
      env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: "0" },
    });
    if (block.output !== null) assert.equal(stdout, block.output);
  });
});
