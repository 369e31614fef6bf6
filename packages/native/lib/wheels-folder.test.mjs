import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { sandbox } from "./testing/sandbox.mjs";

// No python3 and no network: the folder is all there is.
const OFFLINE = { PATH: "/nowhere", PIP_FIND_LINKS: "/nowhere" };
const take = (flags = {}) =>
  `await fetchLibtorch(progress, { choice: chooseTorch({ wheels: ${JSON.stringify(flags.wheels)}, ...${JSON.stringify(flags)} }) })`;

test("a folder of wheels takes the place of network and Python; what is not asked for stays packed", async (t) => {
  const box = sandbox(t);
  box.wheel("2.13.0+cpu");
  box.wheel("2.12.0+cpu");
  const wheels = box.at("wheels");
  const name = "torch-2.13.0+cpu-py3-none-any.whl";
  const sha256 = createHash("sha256")
    .update(readFileSync(join(wheels, name)))
    .digest("hex");
  writeFileSync(join(wheels, "SHA256SUMS"), `${sha256}  ${name}\n`);
  const found = await box.run(
    `await fetchLibtorch(progress, { choice: chooseTorch({ wheels: ${JSON.stringify(wheels)} }), headers: () => false })`,
    OFFLINE,
  );
  assert.deepEqual([found.version, found.variant, found.headers], ["2.13.0", "cpu", false], found.message);
  const folder = join(box.cache, "libtorch-2.13.0-cpu");
  assert.deepEqual(readdirSync(join(folder, "torch")).sort(), ["lib", "version.py"]);
  assert.equal(JSON.parse(readFileSync(join(folder, "nbit.json"), "utf8")).sha256, sha256);
  const again = await box.run(take({ wheels }), OFFLINE);
  assert.deepEqual([again.headers, again.origin], [true, "fetched"], "asked for later, headers come besides");
  assert.equal((await box.run(take({ wheels, torch: "2.12" }), OFFLINE)).version, "2.12.0");
  const none = await box.run(take({ wheels, torch: "2.14" }), OFFLINE);
  assert.equal(none.code, "NBIT_WHEELS_MISSING");
  assert.match(none.message, /torch-2\.13\.0\+cpu-py3-none-any\.whl +another version/);
  assert.match(none.fix, /pip download .*'torch==2\.14\.\*'/);
  writeFileSync(join(wheels, "SHA256SUMS"), `${"0".repeat(64)}  ${name}\n`);
  rmSync(folder, { recursive: true });
  assert.match((await box.run(take({ wheels, torch: "2.13.0" }), OFFLINE)).message, /is not what SHA256SUMS/);
});

test("of a build for CUDA every wheel that it requires must be there", async (t) => {
  const box = sandbox(t);
  box.wheel("2.13.0", "--cuda");
  const wheels = box.at("wheels");
  const runtime = readdirSync(wheels).find((name) => name.startsWith("nvidia_runtime"));
  renameSync(join(wheels, runtime), box.at("aside.whl"));
  const lacks = await box.run(take({ wheels, cuda: true }), OFFLINE);
  assert.equal(lacks.code, "NBIT_WHEELS_MISSING");
  assert.match(lacks.message, /lacks 1 of the wheels[\s\S]*nvidia-runtime==13\.0\.1/);
  renameSync(box.at("aside.whl"), join(wheels, runtime));
  const found = await box.run(take({ wheels, cuda: true }), OFFLINE);
  assert.deepEqual([found.variant, found.cuda], ["cu130", true], found.message);
  assert.ok(existsSync(join(found.path, "..", "nvidia", "cu13", "lib", "libcudart.so.13")));
});

test("goes on where an interrupted run stopped: keeps files that are right, replaces those that are not", async (t) => {
  const box = sandbox(t);
  box.wheel("2.13.0+cpu");
  const wheels = box.at("wheels");
  const [first] = await killedWhileUnpacking(box, wheels);
  const found = await box.run(take({ wheels }), OFFLINE);
  assert.equal(readFileSync(join(found.path, "lib", "libtorch.so"), "utf8"), "a".repeat(50_000));
  assert.equal(readFileSync(join(found.path, "lib", "libc10.so"), "utf8"), "c".repeat(50_000));
  assert.ok(!existsSync(first), "nothing is left of the interrupted run");
});

/** What a run leaves that was killed there: one file right, one half of one. */
async function killedWhileUnpacking(box, wheels) {
  const work = await workOf(box, wheels);
  for (const [name, text] of [
    ["libc10.so", "c".repeat(50_000)],
    ["libtorch.so", "a".repeat(100)],
  ]) {
    const file = join(work, "unpacked", "torch", "lib", name);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
  return [work];
}

/** The folder of a choice, made and named by a run that fails. */
async function workOf(box, wheels) {
  const hidden = box.at("hidden");
  renameSync(wheels, hidden);
  mkdirSync(wheels);
  assert.equal((await box.run(take({ wheels }), OFFLINE)).code, "NBIT_WHEELS_MISSING");
  rmSync(wheels, { recursive: true });
  renameSync(hidden, wheels);
  const [name] = readdirSync(join(box.cache, "downloads"));
  return join(box.cache, "downloads", name);
}

test("a disk that fills up while unpacking: said with what helps; with room again the next run goes on", async (t) => {
  const box = sandbox(t);
  box.wheel("2.13.0+cpu");
  const wheels = box.at("wheels");
  const full = join(await workOf(box, wheels), "unpacked", "torch", "lib", "libc10.so");
  mkdirSync(dirname(full), { recursive: true });
  symlinkSync("/dev/full", full); // every write to it fails as on a full disk
  const refused = await box.run(take({ wheels }), OFFLINE);
  assert.equal(refused.code, "NBIT_DISK_FULL", refused.message);
  assert.match(refused.message, /the disk that holds \S+unpacked is full; set-up needs about 1 GB there/);
  assert.match(refused.fix, /NBIT_HOME=.*goes on where it stopped/);
  assert.ok(!existsSync(join(box.cache, "libtorch-2.13.0-cpu")) && !existsSync(join(box.cache, "libtorch.lock")));
  rmSync(full);
  assert.equal((await box.run(take({ wheels }), OFFLINE)).version, "2.13.0");
});

test("a damaged or truncated wheel is refused, and stays where its owner put it", async (t) => {
  for (const damage of ["--damage", "--truncate"]) {
    const box = sandbox(t);
    box.wheel("2.13.0+cpu", damage);
    const wheels = box.at("wheels");
    const refused = await box.run(take({ wheels }), OFFLINE);
    assert.equal(refused.code, "NBIT_DOWNLOAD_CORRUPT", `${damage}: ${refused.message}`);
    assert.match(refused.fix, /^rm \S+whl /);
    assert.equal(readdirSync(wheels).length, 1);
    assert.ok(!existsSync(join(box.cache, "libtorch-2.13.0-cpu")));
  }
});

test("half a libtorch in the cache is found out, and replaced", async (t) => {
  const box = sandbox(t);
  box.wheel("2.13.0+cpu");
  const wheels = box.at("wheels");
  const { path } = await box.run(take({ wheels }), OFFLINE);
  writeFileSync(join(path, "lib", "libtorch_cpu.so"), "");
  const { libtorch, looked } = await box.run("findLibtorch()", OFFLINE);
  assert.equal(libtorch, null);
  assert.match(looked.at(-1).found, /libtorch_cpu\.so has 0 of 50000 bytes/);
  assert.equal((await box.run(take({ wheels }), OFFLINE)).origin, "fetched");
  assert.equal((await box.run("findLibtorch()", OFFLINE)).libtorch.path, path);
});

test("many projects and processes at once: one fetches, the others wait and take it", async (t) => {
  const box = sandbox(t);
  box.wheel("2.13.0+cpu");
  const all = await Promise.all(Array.from({ length: 5 }, () => box.run(take({ wheels: box.at("wheels") }), OFFLINE)));
  assert.deepEqual(
    new Set(all.map(({ path }) => path)),
    new Set([join(box.cache, "libtorch-2.13.0-cpu", "torch")]),
    JSON.stringify(all),
  );
  assert.deepEqual(all.map(({ origin }) => origin).sort(), ["cache", "cache", "cache", "cache", "fetched"]);
  assert.deepEqual(readdirSync(box.cache).sort(), ["downloads", "libtorch-2.13.0-cpu"], "no lock, no halves");
});

test(
  "under sudo set-up says who should run it; with NBIT_HOME it goes on",
  { skip: process.getuid() !== 0 },
  async (t) => {
    const box = sandbox(t);
    const under = { SUDO_USER: "alice", NBIT_HOME: "" };
    const refused = await box.run("await setupNative({ progress })", under);
    assert.equal(refused.code, "NBIT_SUDO");
    assert.match(refused.message, /of no use to alice[\s\S]*# as alice/);
    assert.notEqual(
      (await box.run("await setupNative({ progress })", { ...under, NBIT_HOME: box.cache })).code,
      "NBIT_SUDO",
    );
  },
);

test("where there is no pip, uv resolves with hashes and unpacks into a folder", async (t) => {
  const box = sandbox(t);
  box.wheel("2.13.0+cpu");
  // As uv's own documentation has its commands; the real one is in no registry of this project's.
  writeFileSync(
    box.at("bin", "uv"),
    `#!${process.execPath}
const { appendFileSync, readFileSync, writeFileSync } = require("node:fs");
const { execFileSync } = require("node:child_process");
const args = process.argv.slice(2);
const after = (flag) => args[args.indexOf(flag) + 1];
appendFileSync(${JSON.stringify(box.at("uv.log"))}, args.join(" ") + "\\n");
if (args[0] === "--version") console.log("uv 0.9.9");
else if (args[1] === "compile") {
  const wanted = readFileSync(args[2], "utf8").trim();
  if (!wanted.endsWith("+cpu")) { console.error("No solution found when resolving dependencies"); process.exit(1); }
  writeFileSync(after("--output-file"), wanted + " --hash=sha256:00\\n");
} else {
  execFileSync(${JSON.stringify(process.env["NBIT_TEST_PYTHON"] ?? "python3")}, ["-m", "zipfile", "-e", ${JSON.stringify(box.at("wheels", "torch-2.13.0+cpu-py3-none-any.whl"))}, after("--target")], { env: { PATH: ${JSON.stringify(process.env["PATH"])} } });
}
`,
  );
  chmodSync(box.at("bin", "uv"), 0o755);
  box.program("python3", "exit 1");
  const found = await box.run("await fetchLibtorch(progress)");
  assert.deepEqual([found.version, found.origin], ["2.13.0", "fetched"], found.message);
  assert.ok(!existsSync(join(found.path, "nn")), "what is no part of libtorch does not stay");
  const [, compile, install] = readFileSync(box.at("uv.log"), "utf8").trim().split("\n");
  assert.match(
    compile,
    /^pip compile \S+wanted\.txt --generate-hashes .*--no-deps .*--python-platform=\w+-manylinux_2_28/,
  );
  assert.match(install, /^pip install --requirement \S+locked\.txt --require-hashes --no-deps --target/);
  const other = await box.run(
    'await fetchLibtorch(progress, { choice: chooseTorch({ torch: "2.14.1", cuda: true }) })',
  );
  assert.equal(other.code, "NBIT_TORCH_NOT_OFFERED", other.message);
});
