/** The check of our declarations against XLA's own header finds what is wrong with them. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { findCompiler } from "@nbit/native/build";
import { folderOf, packageFolder, TENSORFLOW } from "../lib/places.mjs";

const headers = join(folderOf(TENSORFLOW), "tensorflow", "include");
const compiler = findCompiler();
const skip = (compiler === null || !existsSync(headers)) && "needs a compiler and XLA's headers: nbit setup --xla";

const MUTATIONS: readonly (readonly [what: string, from: RegExp | null, to: string])[] = [
  ["nothing", null, ""],
  ["an entry at another place", /ENTRY\(Client_Compile, 20,/, "ENTRY(Client_Compile, 21,"],
  ["a field that is missing", /FIELD\(const char\*, compile_options\)\s/, ""],
  ["fields in another order", /FIELD\(bool, is_deleted\)/, "FIELD(bool, is_deleted_too) FIELD(bool, is_deleted)"],
  ["a size that ends too early", /ENTRY\(Event_OnReady, 9, user_arg,/, "ENTRY(Event_OnReady, 9, callback,"],
  ["a field of another size", /FIELD\(int, local_hardware_id\)/, "FIELD(int64_t, local_hardware_id)"],
];

test("declarations that are not XLA's do not compile", { skip }, (t) => {
  const folder = mkdtempSync(join(tmpdir(), "nbit-abi-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  cpSync(join(packageFolder, "native", "abi"), folder, { recursive: true });
  const list = join(folder, "abi-entries.inc");
  const text = readFileSync(list, "utf8");
  writeFileSync(join(folder, "check.cc"), '#include "abi-check.h"\n');
  for (const [what, from, to] of MUTATIONS) {
    const changed = from === null ? text : text.replace(from, to);
    assert.equal(changed === text, from === null, what);
    writeFileSync(list, changed);
    const args = ["-std=c++17", "-fsyntax-only", `-I${headers}`, join(folder, "check.cc")];
    const { status, stderr } = spawnSync(compiler?.program ?? "", args, { encoding: "utf8" });
    assert.equal(status === 0, from === null, `${what}: ${stderr.slice(0, 500)}`);
    if (from !== null) assert.match(stderr, /static assertion failed|has no member/, what);
  }
});
