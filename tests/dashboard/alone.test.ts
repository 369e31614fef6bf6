/** The dashboard reads and draws logs where no libtorch is. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";

test("the dashboard loads no native code", () => {
  const script = `const { renderReport, parseRunLog } = await import("@nbit/dashboard");
    const run = parseRunLog('{"type":"run","format":1,"name":"a","precision":"32-true"}\\n');
    if (!renderReport({ title: "t", runs: [run] }).includes("<h1>t</h1>")) throw new Error("no report");
    const native = process.report.getReport().sharedObjects.filter((file) => /libtorch|nbit.*\\.node/.test(file));
    console.log(JSON.stringify(native));`;
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
    encoding: "utf8",
    cwd: import.meta.dirname,
  });
  assert.equal(stdout.trim(), "[]", stderr);
});
