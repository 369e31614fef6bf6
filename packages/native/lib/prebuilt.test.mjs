import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { findLibtorch } from "./libtorch.mjs";
import { installedAddon, packageFolder } from "./places.mjs";
import { PLACE_OF_LIBTORCH, pairOf, platform, sourcesHash, writePlace } from "./prebuilt.mjs";

const { libtorch } = findLibtorch();
const { version } = JSON.parse(readFileSync(join(packageFolder, "package.json"), "utf8"));
const sha = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** A project with this package installed and, where a test asks, the package of binaries beside it. */
function project(t) {
  const folder = mkdtempSync(join(tmpdir(), "nbit-prebuilt-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const scope = join(folder, "node_modules", "@nbit");
  const native = join(scope, "native");
  for (const part of ["lib", "src", "generated", "package.json"])
    cpSync(join(packageFolder, part), join(native, part), { recursive: true });
  const bin = join(scope, `native-${platform}`, "bin");
  return {
    native,
    bin,
    /** The package of binaries: `bytes` for the libtorch that is here, and what a test changes of its index. */
    offer(bytes, change = {}) {
      mkdirSync(bin, { recursive: true });
      writeFileSync(join(bin, "..", "package.json"), JSON.stringify({ name: `@nbit/native-${platform}`, version }));
      writeFileSync(join(bin, "one.node"), bytes);
      const binaries = [{ file: "one.node", ...pairOf(libtorch), sha256: sha(bytes) }];
      const index = { version, sources: sourcesHash(), binaries, ...change };
      writeFileSync(join(bin, "index.json"), JSON.stringify(index));
    },
    /** What `statement` says in a process without a compiler, with everything of the copy's lib in reach. */
    run(statement, env = {}) {
      const from = (name) => JSON.stringify(pathToFileURL(join(native, "lib", name)).href);
      const source = `
        import * as prebuilt from ${from("prebuilt.mjs")};
        import { findLibtorch } from ${from("libtorch.mjs")};
        import { setupNative, Progress } from ${from("setup.mjs")};
        const { libtorch } = findLibtorch();
        const notes = [];
        class Told extends Progress { note(text) { notes.push(text); } }
        const progress = new Told({ quiet: true });
        try { console.log(JSON.stringify((${statement}) ?? null)); }
        catch (error) { console.log(JSON.stringify({ code: error.code ?? error.name, message: error.message })); }`;
      const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", source], {
        encoding: "utf8",
        env: {
          PATH: join(folder, "bin"),
          HOME: folder,
          XDG_CACHE_HOME: join(folder, "cache"),
          LIBTORCH: libtorch.path,
          ...env,
        },
      });
      assert.notEqual(stdout, "", stderr);
      return JSON.parse(stdout.trim().split("\n").at(-1));
    },
  };
}

/** The addon of this copy, which knows libtorch's place already, with room for one at its end. */
const real = () => Buffer.concat([readFileSync(installedAddon), Buffer.from(PLACE_OF_LIBTORCH), Buffer.from([0])]);

test("without a fitting binary something is compiled, and why is said", (t) => {
  const { run, offer, bin } = project(t);
  const why = (env) => run("prebuilt.choosePrebuilt(libtorch).reason", env);
  assert.match(why(), /^the package @nbit\/native-[\w-]+ is not installed; it is an optional dependency/);
  offer("a binary");
  assert.equal(why(), null);
  assert.equal(run("prebuilt.whyNoneFor('torch==" + libtorch.version + "')"), null);
  assert.match(run("prebuilt.whyNoneFor('torch==2.11.0')"), /has no binary for torch==2\.11\.0, only for 2\.\d+ \(/);
  assert.equal(why({ CXXFLAGS: "-O0" }), "CXXFLAGS asks for a build of its own");
  offer("a binary", { version: "0.0.1" });
  assert.match(why(), /is of nbit 0\.0\.1, and this is/);
  offer("a binary", { sources: "others" });
  assert.match(why(), /sources are not those that/);
  offer("a binary", { binaries: [{ file: "one.node", torch: "2.12", cuda: "13", sha256: "" }] });
  assert.match(why(), /has no binary for libtorch [\d.]+ \(.+\), only for 2\.12 \(CUDA 13\)/);
  writeFileSync(join(bin, "index.json"), "{");
  assert.match(why(), /index\.json is damaged$/);
  rmSync(join(bin, "index.json"));
  assert.match(why(), /has no binaries$/);
});

test("set-up without a compiler takes the binary that fits; a second one finds nothing to do", (t) => {
  const { run, offer, native } = project(t);
  const none = run("await setupNative({ progress })");
  assert.equal(none.code, "NBIT_NO_COMPILER");
  assert.match(none.message, /needed to build the addon: the package @nbit\/native-[\w-]+ is not installed/);
  offer(real());
  assert.equal(run("(await setupNative({ progress })).built"), true);
  const record = JSON.parse(readFileSync(join(native, "build", "addon.json"), "utf8"));
  assert.equal(record.libtorch.path, libtorch.path);
  assert.equal(record.prebuilt, `one.node of @nbit/native-${platform}`);
  assert.ok(readFileSync(join(native, "build", "nbit.node")).includes(`${join(libtorch.path, "lib")}\0`));
  assert.equal(run("(await setupNative({ progress })).built"), false);
  assert.ok(
    run(
      `(await import(${JSON.stringify(pathToFileURL(join(native, "lib", "index.mjs")).href)})).native.info().version`,
    ),
  );
  // The package of binaries may go: what is installed goes on working.
  rmSync(join(native, "..", `native-${platform}`), { recursive: true });
  assert.equal(run("(await setupNative({ progress })).built"), false);
});

test("the first import needs no set-up where libtorch and a binary for it are there", (t) => {
  const { run, offer, native } = project(t);
  offer(real());
  const load = `(await import(${JSON.stringify(pathToFileURL(join(native, "lib", "index.mjs")).href)})).native.info().version`;
  assert.equal(run(load), libtorch.version);
  assert.ok(existsSync(join(native, "build", "addon.json")));
  assert.equal(run("(await setupNative({ progress })).built"), false);
});

test("a binary that is damaged or does not load is not taken, and why is said", (t) => {
  const { run, offer, native, bin } = project(t);
  const placed = () => run("prebuilt.placePrebuilt(prebuilt.choosePrebuilt(libtorch), libtorch)");
  offer(`no library, ${PLACE_OF_LIBTORCH}`);
  assert.match(placed().reason, /one\.node does not load here: .*(invalid ELF header|file too short|not a valid)/);
  assert.equal(placed().tried, true);
  offer("no place for a path");
  assert.match(placed().reason, /is longer than a binary has room for/);
  offer(real());
  writeFileSync(join(bin, "one.node"), "half of it");
  assert.match(placed().reason, /one\.node is damaged$/);
  assert.ok(!existsSync(join(native, "build", "nbit.node")));
  assert.match(run("await setupNative({ progress })").message, /NBIT_NO_COMPILER: .*one\.node is damaged/);
});

test("a library of another package is taken for its own sources alone", (t) => {
  const { run, offer, bin } = project(t);
  const choose = (sources) => run(`prebuilt.choosePrebuiltLibrary("xla", "${sources}")`);
  assert.match(choose("a").reason, /is not installed/);
  offer("a binary");
  assert.match(choose("a").reason, /has no xla\.node$/);
  offer("a binary", { libraries: [{ name: "xla", file: "xla.node", sha256: sha("host"), sources: "a" }] });
  assert.match(choose("a").reason, /xla\.node is damaged$/);
  writeFileSync(join(bin, "xla.node"), "host");
  assert.deepEqual([choose("a").path, choose("a").reason], [join(bin, "xla.node"), null]);
  assert.match(choose("b").reason, /sources of xla\.node are not those/);
});

test("a path is written over the whole place, and never past it", () => {
  const bytes = Buffer.from(`before${PLACE_OF_LIBTORCH}\0after`);
  assert.equal(writePlace(bytes, "/a/ü"), true);
  assert.equal(bytes.toString().replaceAll("\0", ""), "before/a/üafter");
  assert.equal(bytes.length, "before".length + PLACE_OF_LIBTORCH.length + 1 + "after".length);
  assert.equal(writePlace(bytes, "/b"), false);
  assert.equal(writePlace(Buffer.from(`${PLACE_OF_LIBTORCH}\0`), "/".padEnd(PLACE_OF_LIBTORCH.length + 1, "x")), false);
});

test("a libtorch is told apart by its minor version and CUDA's major one", () => {
  const pair = (version, variant) => pairOf({ version, variant, cuda: variant !== "cpu" });
  assert.deepEqual(pair("2.13.1", "cpu"), { torch: "2.13", cuda: null });
  assert.deepEqual(pair("2.14.0", "cu130"), { torch: "2.14", cuda: "13" });
  assert.deepEqual(pair("2.14.0", "cu126"), { torch: "2.14", cuda: "12" });
});
