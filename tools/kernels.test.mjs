import assert from "node:assert/strict";
import { test } from "node:test";
import { compileKernels, findNvrtc, kernelSources } from "./kernels.mjs";

test("every kernel source names its kernels and the variants to compile", () => {
  const sources = kernelSources();
  assert.ok(sources.length >= 2);
  for (const s of sources) {
    assert.ok(s.kernels.length > 0 && s.variants.length > 0, s.file);
    for (const k of s.kernels) assert.match(s.source, new RegExp(`__global__[^;{]*\\b${k}\\(`), `${s.file}: ${k}`);
    const used = [...s.source.matchAll(/__global__/g)].length;
    assert.equal(used, s.kernels.length, `${s.file}: each kernel is named in "kernels:"`);
  }
});

const { path, looked } = findNvrtc();
test("every kernel compiles for every architecture and variant", { skip: path === null && `no libnvrtc at ${looked.join(", ")}` }, () => {
  for (const r of compileKernels(path, ["80", "90"])) assert.ok(r.ok, `${r.name} ${r.options.join(" ")}\n${r.log}${r.missing.join(", ")}`);
});
