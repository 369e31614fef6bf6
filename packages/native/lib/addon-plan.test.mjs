import assert from "node:assert/strict";
import { appendFileSync, cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { findLibtorch } from "./libtorch.mjs";
import { packageFolder } from "./places.mjs";

const { libtorch } = findLibtorch();
const compiler = { program: "g++", version: "g++ 12" };

/** A copy of the package, whose sources a test may change. */
async function copy(t) {
  const folder = mkdtempSync(join(tmpdir(), "nbit-plan-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  for (const part of ["lib", "src", "generated", "package.json"])
    cpSync(join(packageFolder, part), join(folder, part), { recursive: true });
  const { planAddon, filesOf } = await import(pathToFileURL(join(folder, "lib", "addon-plan.mjs")).href);
  const hashes = (plan) => new Map(plan.units.map((unit) => [unit.source, unit.hash]));
  const changed = (before, after) =>
    [...hashes(after)].filter(([source, hash]) => hashes(before).get(source) !== hash).map(([source]) => source);
  return { folder, plan: (c = compiler, l = libtorch) => planAddon(l, c), changed, filesOf };
}

test("two clones have the same plan, so that the second builds nothing", async (t) => {
  const [a, b] = [await copy(t), await copy(t)];
  assert.equal(a.plan().key, b.plan().key);
  assert.equal(a.plan().folder, b.plan().folder);
  assert.ok(a.plan().units.length >= 10);
});

test("an edit to one source concerns one object; an edit to a header those that include it", async (t) => {
  const { folder, plan, changed } = await copy(t);
  const before = plan();
  appendFileSync(join(folder, "src", "binding", "trace.cc"), "\n");
  const afterSource = plan();
  assert.deepEqual(changed(before, afterSource), ["src/binding/trace.cc"]);
  assert.notEqual(before.key, afterSource.key);
  const users = before.units
    .map((unit) => unit.source)
    .filter((source) => /#include "binding\/hot\.h"/.test(readFileSync(join(folder, source), "utf8")));
  appendFileSync(join(folder, "src", "binding", "hot.h"), "\n");
  assert.ok(users.length > 0);
  assert.deepEqual(changed(afterSource, plan()), users);
});

test("the unit that embeds the kernels is made of them", async (t) => {
  const { folder, filesOf } = await copy(t);
  const files = filesOf("src/cuda/kernels.cuda.cc");
  const kernels = readdirSync(join(folder, "src"), { recursive: true })
    .filter((name) => /\.cuh?$/.test(name))
    .map((name) => `src/${name}`);
  assert.ok(kernels.length >= 7);
  for (const kernel of kernels) assert.ok(files.includes(kernel), kernel);
  assert.ok(files.includes("generated/lowbit_families.h"));
});

test("another compiler or libtorch means another addon", async (t) => {
  const { plan, changed } = await copy(t);
  const all = plan().units.map((unit) => unit.source);
  assert.deepEqual(changed(plan(), plan({ program: "g++", version: "g++ 13" })), all);
  assert.deepEqual(changed(plan(), plan(compiler, { ...libtorch, git: "another" })), all);
  const { CXXFLAGS } = process.env;
  const before = plan();
  process.env["CXXFLAGS"] = "-march=native";
  t.after(() => (CXXFLAGS === undefined ? delete process.env["CXXFLAGS"] : (process.env["CXXFLAGS"] = CXXFLAGS)));
  assert.deepEqual(changed(before, plan()), all);
});

test("CUDA sources are left out for a libtorch without CUDA", async (t) => {
  const { folder, plan } = await copy(t);
  writeFileSync(join(folder, "src", "extra.cuda.cc"), "// nothing\n");
  if (!libtorch.cuda) assert.ok(plan().units.every((unit) => !unit.source.endsWith(".cuda.cc")));
  else assert.ok(plan().withoutCuda !== null || plan().units.some((unit) => unit.source === "src/extra.cuda.cc"));
});
