import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { findLibtorch } from "../../packages/native/lib/libtorch.mjs";
import { beyond, isNewer, newestAsked, readElf } from "./elf.mjs";

const folder = join(findLibtorch().libtorch.path, "lib");
const read = (name) => readElf(readFileSync(join(folder, name)));

test("a library's needs are read from its tables", () => {
  const elf = read("libc10.so");
  assert.equal(elf.cpu, process.arch);
  assert.ok(elf.needed.includes("libstdc++.so.6"));
  assert.match(elf.runpath, /\$ORIGIN/);
  const thrown = elf.asked.find(({ symbol }) => symbol === "__cxa_throw");
  assert.deepEqual(thrown, { symbol: "__cxa_throw", version: "CXXABI_1.3", library: "libstdc++.so.6" });
  assert.throws(() => readElf(Buffer.from("#!/bin/sh")), TypeError);
});

test("what asks for more than others do is named", () => {
  const all = readdirSync(folder)
    .filter((name) => /\.so/.test(name))
    .map(read);
  const limits = newestAsked(all);
  assert.deepEqual(Object.keys(limits).sort(), ["CXXABI", "GLIBC", "GLIBCXX"]);
  for (const elf of all) assert.deepEqual(beyond(elf, limits), []);
  const less = { ...limits, GLIBCXX: "3.4" };
  const found = beyond(read("libc10.so"), less);
  assert.ok(found.length > 0);
  assert.ok(found.every(({ version }) => /^GLIBCXX_3\.4\.\d+$/.test(version)));
  const odd = { asked: [{ symbol: "x", version: "GLIBC_PRIVATE", library: "libc.so.6" }] };
  assert.equal(beyond(odd, limits).length, 1);
});

test("versions are compared by numbers", () => {
  assert.ok(isNewer("2.28", "2.9"));
  assert.ok(isNewer("3.4.1", "3.4"));
  assert.ok(!isNewer("3.4", "3.4.0"));
  assert.ok(!isNewer("2.17", "2.28"));
});
