import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { TPUAccelerator, XLAAccelerator } from "@nbit/lightning";
import { coveredOperators } from "@nbit/xla";
import { main } from "../main.js";
import { trialText, tryXla, type Trial } from "./trial.js";

const missing = new XLAAccelerator().missing();
const needsPlugin = { skip: missing ?? false };

async function printed(args: readonly string[], to: "log" | "error" = "log"): Promise<[status: number, text: string]> {
  const said = mock.method(console, to, () => undefined);
  try {
    const status = await main(args);
    return [status, said.mock.calls.map((call) => call.arguments.join(" ")).join("\n")];
  } finally {
    said.mock.restore();
  }
}

test("the device trains as the host does, and it is said what it is", needsPlugin, async () => {
  const [status, text] = await printed(["doctor", "--xla", "--json"]);
  const trial = JSON.parse(text) as Trial;
  assert.equal(status, 0);
  assert.equal(trial.agrees, true);
  assert.equal(trial.accelerator, new TPUAccelerator().missing() === null ? "tpu" : "xla");
  assert.deepEqual(
    trial.rows.map(({ precision, onDevice }) => [precision, onDevice]),
    [
      ["32", 19],
      ["bf16", 19],
    ],
  );
  for (const { hostLosses, deviceLosses, worst } of trial.rows) {
    assert.equal(deviceLosses.length, 20);
    assert.notDeepEqual(deviceLosses, hostLosses, "two programs round differently somewhere");
    assert.ok((hostLosses.at(-1) ?? 9) < 0.7 * (hostLosses[0] ?? 0), "it learns");
    assert.ok(worst > 0 && worst <= 5e-2);
  }
  const told = trialText(trial);
  assert.match(told, /The device trains as the host does/);
  assert.match(told, /PJRT API 0\.\d+/);
  const worse = trialText({ ...trial, agrees: false });
  assert.match(worse, /DOES NOT TRAIN AS THE HOST DOES/);
  assert.match(worse, /Please send what `nbit doctor --xla --json` prints/);
});

test("without a plugin there is a reason, and what makes one", { skip: missing === null }, async () => {
  assert.match(String(await tryXla()), /nbit setup --xla/);
});

test("nbit xla ops lists what can be lowered", async () => {
  const [status, text] = await printed(["xla", "ops"]);
  assert.equal(status, 0);
  assert.deepEqual(text.split("\n"), coveredOperators());
  assert.ok(text.split("\n").includes("aten::convolution"));
  const [wrong, reason] = await printed(["xla", "opps"], "error");
  assert.equal(wrong, 2);
  assert.match(reason, /^ERR_ARGUMENTS: nbit xla: expected ops\. Received: opps\.$/m);
});
