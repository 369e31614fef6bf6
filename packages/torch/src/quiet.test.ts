import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

test("convolutions in float16 write nothing to stderr, whatever libtorch finds missing on this processor", () => {
  const script = `
    const { conv2d, randn } = await import(${JSON.stringify(new URL("index.js", import.meta.url).href)});
    const x = randn([2, 3, 8, 8]).half().requiresGrad_();
    conv2d(x, randn([4, 3, 3, 3]).half()).sum().backward();
    process.stdout.write(String(x.grad.shape));`;
  // stderr joins stdout, so that one comparison sees both.
  const output = execFileSync("sh", ["-c", `"$0" --input-type=module -e "$1" 2>&1`, process.execPath, script], {
    encoding: "utf8",
  });
  assert.equal(output, "2,3,8,8");
});
