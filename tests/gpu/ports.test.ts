/** The ports of PyTorch programs on the GPU: in each precision losses are finite and fall, and their commands run. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { options } from "./support.js";

const ports = fileURLToPath(new URL("../examples/ports", import.meta.url));
// A process each: the default device is one of the process.
for (const file of readdirSync(ports).filter((name) => name.endsWith(".test.js") && name !== "originals.test.js"))
  test(file.replace(".test.js", ""), options, () => {
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    const child = spawnSync(process.execPath, ["--test", "--test-reporter=spec", join(ports, file)], {
      encoding: "utf8",
      env: { ...env, NBIT_PORTS_ON: "gpu" },
    });
    assert.equal(child.status, 0, child.stdout.slice(-4000));
  });
