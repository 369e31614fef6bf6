import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mock, test } from "node:test";
import { main } from "../main.js";
import { allCodes, FAMILIES, findCode } from "./index.js";

/** What a command prints, and its exit status. */
async function said(...args: readonly string[]): Promise<{ status: number; out: string; err: string }> {
  const lines: [string[], string[]] = [[], []];
  const log = mock.method(console, "log", (text: string) => void lines[0].push(text));
  const error = mock.method(console, "error", (text: string) => void lines[1].push(text));
  try {
    return { status: await main(args), out: lines[0].join("\n"), err: lines[1].join("\n") };
  } finally {
    log.mock.restore();
    error.mock.restore();
  }
}

const MODULE = JSON.stringify(import.meta.resolve("@nbit/torch"));
const stderrOf = (code: string): Promise<string> =>
  new Promise((resolve) => {
    execFile(process.execPath, ["--input-type=module", "-e", code], (_error, _out, stderr) => resolve(stderr));
  });

test("a code is explained, however it is written", async () => {
  for (const given of ["ERR_LOSS_GRAPH", "err-loss-graph", "[ERR_LOSS_GRAPH]"]) {
    const { status, out } = await said("explain-error", given);
    assert.equal(status, 0);
    assert.match(out, /^ERR_LOSS_GRAPH: MisconfigurationError of @nbit\/lightning\n/);
    assert.match(out, /\nTypical cause\n {2}All parameters are frozen;/);
    assert.match(out, /\nWhat to do\n {2}Compute the loss/);
    assert.match(out, /\nThis raises it\n {2}import \{ LightningModule, Trainer \}/);
  }
});

test("a misspelt code is suggested, a word finds codes, none lists all", async () => {
  const near = await said("explain-error", "ERR_LOS_GRAPH");
  assert.deepEqual([near.status, near.out], [2, ""]);
  assert.match(near.err, /^ERR_ARGUMENTS: nbit explain-error: expected ERR_LOSS_GRAPH\. Received: "ERR_LOS_GRAPH"\./);
  assert.match(near.err, /\nMore: npx nbit explain-error ERR_ARGUMENTS$/);
  assert.match((await said("explain-error", "scaler")).out, /SCALER_CLOSURE, SCALER_DEVICE,/);
  const all = (await said("explain-error")).out;
  for (const code of allCodes()) assert.match(all, new RegExp(`\\b${code}\\b`));
  for (const shell of ["bash", "zsh", "fish"])
    assert.match((await said("completion", shell)).out, /\bSCALER_NOT_SCALED\b/);
});

test("rows are sentences, and codes are in order", () => {
  for (const { name, codes } of FAMILIES) {
    const names = Object.keys(codes);
    assert.deepEqual(names, [...names].sort(), name);
    for (const [code, { means, cause, fix }] of Object.entries(codes))
      for (const text of [means, cause, fix]) assert.match(text, /^\S.*[.!?)`]$/s, `${code}: ${text}`);
  }
  assert.equal(findCode("toString"), null);
});

test("an error that nobody caught shows the command below its stack", async () => {
  const stderr = await stderrOf(`import { scope } from ${MODULE}; scope(async () => {});`);
  assert.match(stderr, /scope: expected a synchronous function/);
  assert.match(stderr, /help: 'npx nbit explain-error SCOPE_ASYNC'\n\}\n\nNode\.js v/);
});
