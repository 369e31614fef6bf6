/** The heap of CPU tensors by itself, without libtorch: threads that take, hand on and give back blocks. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { findCompiler } from "./compiler.mjs";
import { packageFolder } from "./places.mjs";

test("blocks keep their bytes while threads take, hand on and give back", () => {
  const compiler = findCompiler();
  assert.ok(compiler !== null);
  const folder = mkdtempSync(join(tmpdir(), "nbit-heap-"));
  try {
    const program = join(folder, "heap-threads");
    const sources = [join("src", "memory", "heap.cc"), join("lib", "testing", "heap-threads.cc")].map((file) =>
      join(packageFolder, file),
    );
    // Watched by the sanitizers where the addon is.
    const watched = process.env["NBIT_SANITIZED"] === undefined ? [] : (process.env["CXXFLAGS"] ?? "").split(" ");
    execFileSync(compiler.program, [
      "-std=c++20",
      "-O1",
      "-Wall",
      "-Wextra",
      "-Werror",
      "-pthread",
      `-I${join(packageFolder, "src")}`,
      ...watched,
      ...sources,
      "-o",
      program,
    ]);
    const { status, signal, stdout } = spawnSync(program, { encoding: "utf8" });
    assert.deepEqual({ status, signal, stdout }, { status: 0, signal: null, stdout: "0 faults, 0 bytes idle\n" });
  } finally {
    rmSync(folder, { recursive: true });
  }
});
