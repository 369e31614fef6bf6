import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { compileKernels, findNvrtc, kernelSources } from "./kernels.mjs";
import { packageFolder } from "../packages/native/lib/places.mjs";

const sources = kernelSources();

test("the manifest says of every source which kernels it has and with which macros it is compiled", () => {
  assert.ok(sources.length >= 2);
  const listed = new Set(sources.map(({ file }) => file));
  for (const file of readdirSync(join(packageFolder, "src"), { recursive: true }))
    if (file.endsWith(".cu")) assert.ok(listed.has(`src/${file}`), `${file} is not in manifest/kernels.json`);
  for (const s of sources) {
    assert.deepEqual(namesOfKernels(s.source), s.kernels, s.file);
    for (const v of s.variants)
      assert.deepEqual(
        v.filter((o) => o.startsWith("-D")).map((o) => o.slice(2).split("=")[0]),
        Object.keys(s.macros),
        `${s.file}: ${v.join(" ")}`,
      );
    for (const macro of Object.keys(s.macros))
      assert.match(s.source, new RegExp(`\\b${macro}\\b`), `${s.file} does not use ${macro}`);
  }
});
const namesOfKernels = (text) => [...text.matchAll(/__global__[^;{]*?(\w+)\((?!THREADS|\d)/g)].map(([, name]) => name);

test("C++ compiles each source with the macros of the manifest", () => {
  const files = readdirSync(join(packageFolder, "src"), { recursive: true }).filter((file) =>
    file.endsWith(".cuda.cc"),
  );
  const texts = files.map((file) => readFileSync(join(packageFolder, "src", file), "utf8"));
  for (const s of sources) {
    const users = texts.filter((text) => text.includes(`kernels::${s.name},`));
    assert.equal(users.length, 1, `${s.file} is compiled in one place`);
    const defined = [...users[0].matchAll(/define\(\(?"(\w+)"( \+ at)?/g)].flatMap(([, name, numbered]) =>
      numbered ? ["0", "1", "2"].map((i) => name + i) : [name],
    );
    assert.deepEqual([...new Set(defined)].sort(), Object.keys(s.macros).sort(), s.file);
  }
});

const { path, looked } = findNvrtc();
test(
  "every kernel compiles for every architecture and variant",
  { skip: path === null && `no libnvrtc at ${looked.join(", ")}` },
  () => {
    for (const r of compileKernels(path, ["80", "90"]))
      assert.ok(r.ok, `${r.name} ${r.options.join(" ")}\n${r.log}${r.missing.join(", ")}`);
  },
);
