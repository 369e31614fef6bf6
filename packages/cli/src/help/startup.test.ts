/**
 * What a shell asks for while someone types must be there at once: help, the version and completion load the rows of the
 * table and what writes text, and nothing that does the work of a command.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { commands } from "../commands/index.js";
import { helpText, overview } from "./text.js";
import { widthOf } from "./width.js";

const bin = fileURLToPath(new URL("../../bin/nbit.mjs", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "nbit-startup-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const hooks = `import { appendFileSync } from "node:fs";
export async function load(url, context, next) { appendFileSync(process.env.LOADED, url + "\\n"); return next(url, context); }`;
const preload = join(folder, "preload.mjs");
writeFileSync(
  preload,
  `import { register } from "node:module"; register("data:text/javascript,${encodeURIComponent(hooks)}");
process.on("exit", () => { const { sharedObjects } = process.report.getReport(); if (sharedObjects.some((name) => /torch|nbit[^/]*\\.node/.test(name))) console.log("NATIVE CODE"); });`,
);

/** Files of ours and of others, as they were loaded. */
function loadedBy(args: readonly string[]): Promise<{ readonly files: string[]; readonly stdout: string }> {
  const list = join(folder, "loaded");
  writeFileSync(list, "");
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      ["--no-warnings", `--import=${pathToFileURL(preload).href}`, bin, ...args],
      { env: { ...process.env, LOADED: list } },
      (error, stdout, stderr) => {
        if (error !== null) return void reject(new Error(stderr, { cause: error }));
        const files = readFileSync(list, "utf8")
          .split("\n")
          .filter((url) => url.startsWith("file:"));
        resolve({ files, stdout });
      },
    );
  });
}

/** What takes long to load, or has no part in text. */
const WORK =
  /\/(yaml|string-width|hyparquet|@swc)\/|\/packages\/(xla|dashboard|lowbit|apex|native\/lib\/(?!help\.))|\/torch\/dist\/(io|tensor|ops|nn)\//;

for (const args of [[], ["--help"], ["fit", "--help"], ["tune", "--help"], ["help", "report"], ["completion", "zsh"]])
  test(`nbit ${args.join(" ")} loads no more than it says`, async () => {
    const { files, stdout } = await loadedBy(args);
    assert.deepEqual(
      files.filter((file) => WORK.test(file)),
      [],
    );
    assert.ok(files.length > 10 && files.length < 60, `${files.length} files:\n${files.join("\n")}`);
    assert.doesNotMatch(stdout, /NATIVE CODE/);
    assert.match(stdout, /nbit/);
  });

test("the version is a file's", async () => {
  const { files } = await loadedBy(["--version"]);
  assert.deepEqual(files, [pathToFileURL(bin).href]);
});

test("our own words are measured without what measures other people's", () => {
  const rows = [...commands.values()];
  const words = [overview(rows, 80), ...rows.map((command) => helpText(command, [], 80))].join("\n");
  for (const line of words.split("\n")) assert.equal(widthOf(line), line.length, line);
});
