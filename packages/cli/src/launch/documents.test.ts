import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { readArguments } from "../arguments/read.js";
import { run } from "../commands/launch.js";
import { launchOptions } from "./flags.js";

test("every nbit run of the guide is one that this command understands", () => {
  const text = readFileSync(new URL("../../../../docs/launching.md", import.meta.url), "utf8");
  const blocks = [...text.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block]) => block ?? "").join("");
  const calls = [...blocks.matchAll(/^npx nbit run ([^#\n]+)/gm)].map(([, args]) => (args ?? "").trim().split(/\s+/));
  assert.ok(calls.length >= 4);
  for (const args of calls) {
    const call = readArguments(run, args);
    assert.deepEqual(call.words, ["train.ts"], args.join(" "));
    assert.ok(typeof launchOptions(call, {})["n"] === "number", args.join(" "));
  }
});
