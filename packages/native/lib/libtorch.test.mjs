import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { findLibtorch } from "./libtorch.mjs";
import { whyNotSupported } from "./platforms.mjs";
import { sandbox } from "./testing/sandbox.mjs";

/** The least that is taken for a libtorch. */
function makeLibtorch(folder, version) {
  for (const file of ["lib/libtorch.so", "lib/libtorch_cpu.so", "lib/libc10.so", "include/ATen/core/TensorBody.h"]) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), "");
  }
  writeFileSync(join(folder, "version.py"), `__version__ = '${version}'\n`);
  return folder;
}

test("LIBTORCH comes first, then the torch of python3, then the cache; every place looked at is told", async (t) => {
  const box = sandbox(t);
  const cached = makeLibtorch(join(box.cache, "libtorch-2.13.0-cpu", "torch"), "2.13.0+cpu");
  const own = makeLibtorch(box.at("own"), "2.14.1+cpu");
  makeLibtorch(box.at("site", "torch"), "2.12.0+cpu");
  const site = { PYTHONPATH: box.at("site") };
  writeFileSync(box.at("site", "torch", "__init__.py"), "raise SystemExit('torch was imported')\n");

  assert.equal(await box.run("findLibtorch().libtorch.path"), cached);
  const ofPython = await box.run("findLibtorch()", site);
  assert.deepEqual([ofPython.libtorch.version, ofPython.libtorch.origin], ["2.12.0", "python3"]);
  const explicit = await box.run("findLibtorch().libtorch", { ...site, LIBTORCH: own });
  assert.deepEqual([explicit.version, explicit.origin], ["2.14.1", "LIBTORCH"]);
  assert.deepEqual(
    (await box.run("findLibtorch().looked")).map((l) => l.found),
    ["not set", "not installed", "libtorch 2.13.0 (cpu)"],
  );
});

test("a torch of python3 out of range is passed over; a LIBTORCH out of range is an error", async (t) => {
  const box = sandbox(t);
  const old = makeLibtorch(box.at("site", "torch"), "2.10.0");
  writeFileSync(box.at("site", "torch", "__init__.py"), "");
  const { libtorch, looked } = await box.run("findLibtorch()", { PYTHONPATH: box.at("site") });
  assert.equal(libtorch, null);
  assert.match(looked[1].found, /^2\.10\.0, outside 2\.11 to 2\.15$/);
  const refused = await box.run("findLibtorch()", { LIBTORCH: old });
  assert.equal(refused.code, "NBIT_TORCH_VERSION");
  assert.match(refused.fix, /^unset LIBTORCH/);
  assert.equal((await box.run("findLibtorch()", { LIBTORCH: box.at("nothing") })).code, "NBIT_LIBTORCH");
});

test("NBIT_TORCH_SPEC chooses among what the cache and python3 have", async (t) => {
  const box = sandbox(t);
  makeLibtorch(join(box.cache, "libtorch-2.13.0-cpu", "torch"), "2.13.0+cpu");
  makeLibtorch(join(box.cache, "libtorch-2.12.1-cu130", "torch"), "2.12.1+cu130");
  const version = (spec) => box.run("findLibtorch().libtorch?.version", spec === null ? {} : { NBIT_TORCH_SPEC: spec });
  assert.equal(await version(null), "2.13.0");
  assert.equal(await version("torch==2.12.1"), "2.12.1");
  assert.equal(await version("torch==2.12.1+cu130"), "2.12.1");
  assert.equal(await version("torch==2.12.1+cpu"), null);
  assert.equal(await version("torch>=2.11"), null, "a range is matched only by what was fetched for it");
});

test("set-up without a compiler says which were looked for, and goes on with an addon that is built", async (t) => {
  const box = sandbox(t);
  const bare = makeLibtorch(box.at("bare"), "2.13.0+cpu");
  const none = await box.run("await setupNative({ progress })", { LIBTORCH: bare });
  assert.equal(none.code, "NBIT_NO_COMPILER", none.message);
  assert.match(none.message, /g\+\+, c\+\+, clang\+\+ +none in PATH/);
  assert.match(none.fix, /install/);
  const named = await box.run("await setupNative({ progress })", { LIBTORCH: bare, CXX: "g++-99" });
  assert.equal(named.code, "NBIT_NO_COMPILER");
  assert.match(named.message, /CXX=g\+\+-99 +not a program in PATH/);
  box.program("python3", "echo fetched >&2; exit 1");
  const before = await box.run("await setupNative({ progress })", { NBIT_TORCH_SPEC: "torch==2.11.0" });
  assert.equal(before.code, "NBIT_NO_COMPILER", "without a libtorch, too: nothing is fetched that could not be used");
  const { libtorch } = findLibtorch(); // what this copy was set up with
  assert.ok(libtorch !== null);
  const flags = { CXXFLAGS: process.env.CXXFLAGS ?? "", LDFLAGS: process.env.LDFLAGS ?? "" };
  assert.equal((await box.run("await setupNative({ progress })", { LIBTORCH: libtorch.path, ...flags })).built, false);
  box.program("g++", 'echo "g++ (GCC) 9.4.0"');
  assert.equal((await box.run("await setupNative({ progress })", { LIBTORCH: bare })).code, "NBIT_OLD_COMPILER");
});

test("platform and Node.js version are checked before anything else", async (t) => {
  const box = sandbox(t);
  const pretend = (statement) => box.run(`(${statement}, await setupNative({ progress }))`);
  assert.equal(
    (await pretend('Object.defineProperty(process.versions, "node", { value: "18.20.1" })')).code,
    "NBIT_NODE_VERSION",
  );
  const windows = await pretend('Object.defineProperty(process, "platform", { value: "win32" })');
  assert.equal(windows.code, "NBIT_PLATFORM");
  assert.match(windows.message, /win32-\w+ is not supported yet: .+POSIX.+\n {2}Fix: wsl --install/);
  assert.equal(whyNotSupported("linux-arm64", true), null);
  assert.match(whyNotSupported("linux-x64", false).problem, /^linux-x64 without glibc is not supported yet: .+musl/);
  assert.match(whyNotSupported("darwin-arm64", false).problem, /never built or run on macOS/);
  assert.match(whyNotSupported("freebsd-x64", false).problem, /no builds for it/);
});
