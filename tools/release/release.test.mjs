import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { publishedManifest } from "../pack.mjs";
import { faultsOfChangelog, faultsOfVersions } from "../release.mjs";
import { faultsOfFolder } from "./contents.mjs";
import { faultsOfLicences, isFine } from "./licences.mjs";

const of = (name, manifest) => ({ name, manifest: { name, version: "1.0.0", license: "Apache-2.0", ...manifest } });
const lockOf = (...packages) => ({
  packages: Object.fromEntries(
    packages.map(({ name, manifest }) => [`packages/${name}`, { name, version: manifest.version }]),
  ),
});

test("one version, everywhere and in the lock file", () => {
  const good = [of("a"), of("b", { dependencies: { a: "1.0.0", other: "^2.0.0" } })];
  assert.deepEqual(faultsOfVersions(good, lockOf(...good)), []);
  const bad = [of("a"), of("b", { version: "1.0.1", optionalDependencies: { a: "^1.0.0" } })];
  assert.deepEqual(faultsOfVersions(bad, lockOf(of("a"), of("b"))), [
    "b is 1.0.1, and a 1.0.0",
    "b asks for a ^1.0.0, not 1.0.0",
    "package-lock.json does not have b 1.0.1: npm install --package-lock-only",
  ]);
});

test("a release has a section of the changelog to itself", () => {
  const text = (head, rest = "") => `# Changelog\n\n## Unreleased\n${rest}\n## ${head}\n\n- Something.\n`;
  assert.deepEqual(faultsOfChangelog(text("1.2.0 - 2026-01-02"), "1.2.0"), []);
  assert.match(faultsOfChangelog(text("1.1.0 - 2026-01-02"), "1.2.0")[0], /no section "## 1\.2\.0/);
  assert.match(faultsOfChangelog(text("1.2.0"), "1.2.0")[0], /no date/);
  assert.match(faultsOfChangelog(text("1.2.0 - 2026-01-02", "\n- More.\n"), "1.2.0")[0], /still under/);
});

test("what is installed beside the packages has a licence that allows it", () => {
  assert.ok(isFine("(MIT OR GPL-3.0)") && isFine("MIT AND ISC"));
  assert.ok(!isFine("MIT AND GPL-3.0") && !isFine("UNKNOWN"));
  const packages = [of("a", { dependencies: { one: "1", two: "1" } })];
  const lock = lockOf(...packages);
  lock.packages["packages/a/node_modules/two"] = { license: "GPL-3.0" };
  lock.packages["node_modules/two"] = { license: "MIT" };
  lock.packages["node_modules/one"] = { license: "MIT", dependencies: { three: "1" } };
  assert.deepEqual(faultsOfLicences(packages, lock), [
    "three, which node_modules/one needs, is not in package-lock.json",
    "two, which packages/a needs, is licensed as GPL-3.0",
  ]);
});

test("a tarball holds what users need and nothing of ours", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "nbit-contents-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const write = (file, text) => {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), typeof text === "string" ? text : JSON.stringify(text));
  };
  const manifest = {
    ...of("a").manifest,
    engines: { node: ">=20" },
    publishConfig: { access: "public", provenance: true },
    repository: { url: "git+https://example.org/a.git" },
  };
  const expected = { name: "a", version: "1.0.0", size: 1000, repository: "https://example.org/a" };
  for (const file of ["LICENSE", "README.md", "dist/a.js"]) write(file, "text");
  write("dist/a.js.map", { sources: ["../src/a.ts"], sourcesContent: ["text"] });
  write("package.json", manifest);
  assert.deepEqual(faultsOfFolder(folder, expected), []);

  write("dist/a.js.map", { sources: ["../src/a.ts"] });
  write("dist/a.test.js", "text");
  write("package.json", { ...manifest, repository: undefined, scripts: { postinstall: "node x" }, publishConfig: {} });
  rmSync(join(folder, "LICENSE"));
  assert.deepEqual(faultsOfFolder(folder, { ...expected, size: 5e6 }), [
    "5.00 MB, more than 1.5 MB (tools/release/contents.mjs)",
    "no LICENSE",
    "dist/a.test.js does not belong to what users get",
    "dist/a.js.map points to src/a.ts, which is not there",
    "package.json: something runs at installation",
    "package.json: publishConfig is not for provenance",
    "package.json: repository is missing",
  ]);
});

test("packages of binaries have everything that their index names", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "nbit-contents-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  mkdirSync(join(folder, "bin"));
  const binaries = [{ file: "one.node", libtorch: { version: "2.13.0" }, tried: false }];
  writeFileSync(join(folder, "bin", "index.json"), JSON.stringify({ platform: "linux-x64", binaries, libraries: [] }));
  writeFileSync(join(folder, "package.json"), JSON.stringify({ os: ["linux"], cpu: ["arm64"], libc: ["glibc"] }));
  const faults = faultsOfFolder(folder, { name: "a", version: "1.0.0", size: 1 }).filter((each) =>
    /bin|machines/.test(each),
  );
  assert.deepEqual(faults, [
    "no bin/one.node",
    "no bin/licenses/pytorch-2.13.0.txt",
    "no bin/licenses/node-api-headers.txt",
    "bin/one.node was never loaded",
    "it does not say which machines it is for",
  ]);
});

test("manifests as they are published", () => {
  const platforms = [
    { built: true, manifest: { name: "@nbit/native-linux-x64" } },
    { built: false, manifest: { name: "@nbit/native-linux-arm64" } },
  ];
  const optionalDependencies = { "@nbit/native-linux-arm64": "1.0.0", "@nbit/native-linux-x64": "1.0.0" };
  const native = publishedManifest({ name: "n", optionalDependencies }, "packages/native", undefined, platforms);
  assert.deepEqual(native, { name: "n", optionalDependencies: { "@nbit/native-linux-x64": "1.0.0" } });
  const publishConfig = { access: "public", os: ["linux"], cpu: ["x64"], libc: ["glibc"] };
  const binaries = publishedManifest({ name: "b", publishConfig }, "packages/b", "https://example.org/n", platforms);
  assert.deepEqual(binaries, {
    name: "b",
    publishConfig: { access: "public" },
    os: ["linux"],
    cpu: ["x64"],
    libc: ["glibc"],
    repository: { type: "git", url: "git+https://example.org/n.git", directory: "packages/b" },
  });
});
