import assert from "node:assert/strict";
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { withHeaders } from "./fetch-libtorch.mjs";
import { sandbox } from "./testing/sandbox.mjs";

const FETCH = "await fetchLibtorch(progress)";

test("fetches the wheel that is asked for, unpacks what is native, and finds it again", async (t) => {
  const box = sandbox(t);
  box.wheel("2.13.0+cpu");
  const fetched = await box.run(FETCH);
  assert.equal(fetched.version, "2.13.0");
  assert.equal(fetched.variant, "cpu");
  assert.equal(fetched.origin, "fetched");
  const folder = join(box.cache, "libtorch-2.13.0-cpu");
  assert.equal(fetched.path, join(folder, "torch"));
  assert.deepEqual(readdirSync(join(folder, "torch")).sort(), ["include", "lib", "version.py"]);
  assert.deepEqual(
    [fetched.headers, JSON.parse(readFileSync(join(folder, "nbit.json"), "utf8")).spec],
    [true, "torch==2.13.0"],
  );
  assert.deepEqual(
    readdirSync(join(folder, "torch", "lib")).sort(),
    ["libc10.so", "libtorch.so", "libtorch_cpu.so"],
    "no Python bindings",
  );
  assert.ok(existsSync(join(folder, "torch-2.13.0+cpu.dist-info", "licenses", "LICENSE")));
  assert.deepEqual(readdirSync(join(box.cache, "downloads")), [], "the wheel is not kept");
  const { libtorch } = await box.run("findLibtorch()");
  assert.equal(libtorch.origin, "cache");
});

test("a lock that a killed set-up left behind holds nobody up", async (t) => {
  const box = sandbox(t);
  box.wheel("2.13.0+cpu");
  const held = box.start(
    'await import("node:fs").then((fs) => { fs.mkdirSync(process.env.NBIT_HOME, { recursive: true }); fs.writeFileSync(process.env.NBIT_HOME + "/libtorch.lock", JSON.stringify({ pid: process.pid, host: process.env.HOST })); })',
    { HOST: (await import("node:os")).hostname() },
  );
  await held.result; // its process has gone, its lock is there
  assert.ok(existsSync(join(box.cache, "libtorch.lock")));
  assert.equal((await box.run(FETCH)).origin, "fetched");
});

test("a wheel that came damaged is forgotten; the next run fetches it afresh", async (t) => {
  const box = sandbox(t);
  box.wheel("2.13.0+cpu", "--damage");
  const refused = await box.run(FETCH);
  assert.equal(refused.code, "NBIT_DOWNLOAD_CORRUPT", refused.message);
  box.wheel("2.13.0+cpu");
  assert.equal((await box.run(FETCH)).version, "2.13.0");
});

test("what is missing is said with the command that repairs it", async (t) => {
  const box = sandbox(t);
  const none = await box.run(FETCH, {
    PIP_FIND_LINKS: "",
    PIP_NO_INDEX: "0",
    PIP_INDEX_URL: "http://127.0.0.1:9/simple",
  });
  assert.equal(none.code, "NBIT_NO_NETWORK", none.message);
  box.wheel("2.12.0+cpu");
  const other = await box.run(FETCH);
  assert.equal(other.code, "NBIT_TORCH_NOT_OFFERED");
  assert.match(other.fix, /NBIT_TORCH_SPEC=torch==2\.12\.0/);
  assert.equal((await box.run(FETCH, { NBIT_TORCH_SPEC: "torch==2.12.0" })).version, "2.12.0");
  box.wheel("2.9.1+cpu");
  const old = await box.run(FETCH, { NBIT_TORCH_SPEC: "torch==2.9.1" });
  assert.equal(old.code, "NBIT_TORCH_VERSION");
  assert.match(old.message, /2\.11 to 2\.15.*is 2\.9\.1/);
  const byRange = await box.run(FETCH, { NBIT_TORCH_SPEC: "torch<2.10" }); // known only when it is here
  assert.equal(byRange.code, "NBIT_TORCH_VERSION", byRange.message);
});

test("a pinned version out of range is refused before anything is fetched; constraints of pip's that contradict are not taken for a missing network", async (t) => {
  const box = sandbox(t);
  const early = await box.run(FETCH, {
    NBIT_TORCH_SPEC: "torch == 2.5.0",
    PIP_FIND_LINKS: "",
    PIP_NO_INDEX: "0",
    PIP_INDEX_URL: "http://127.0.0.1:9/simple",
  });
  assert.equal(early.code, "NBIT_TORCH_VERSION", early.message);
  assert.ok(!existsSync(join(box.cache, "downloads")));
  box.wheel("2.13.0+cpu");
  writeFileSync(box.at("constraints.txt"), "torch==2.12.0\n");
  const conflict = await box.run(FETCH, { PIP_CONSTRAINT: box.at("constraints.txt") });
  assert.equal(conflict.code, "NBIT_PIP_FAILED", conflict.message);
});

test("no python3, no pip, a cache that cannot be written", async (t) => {
  const box = sandbox(t);
  box.program("python3", '[ "$1" = --version ] && echo Python 3.11.7');
  assert.equal((await box.run(FETCH)).code, "NBIT_NO_PIP");
  for (const broken of ["exit 1", "echo garbage", "kill -9 $$"]) {
    box.program("python3", broken);
    const refused = await box.run(FETCH);
    assert.equal(refused.code, "NBIT_NO_PYTHON", broken);
    assert.match(refused.message, /python3 does not run/);
  }
  assert.equal((await box.run(FETCH, { PATH: "/nowhere" })).code, "NBIT_NO_PYTHON");
  writeFileSync(box.at("a-file"), "");
  const refused = await box.run(FETCH, { NBIT_HOME: box.at("a-file") });
  assert.equal(refused.code, "NBIT_CACHE_UNWRITABLE");
  assert.match(refused.fix, /NBIT_HOME/);
});

test("a wheel for CUDA brings the libraries that it requires on this system, and no others", async (t) => {
  const box = sandbox(t);
  box.wheel("2.13.0", "--cuda");
  const fetched = await box.run(FETCH);
  assert.equal(fetched.message, undefined);
  assert.deepEqual([fetched.variant, fetched.cuda], ["cu130", true]);
  const folder = join(box.cache, "libtorch-2.13.0-cu130");
  assert.equal(
    readFileSync(join(folder, "nvidia", "cu13", "lib", "libcudart.so.13"), "utf8"),
    "runtime",
    "beside torch, where libtorch's own search path points",
  );
  assert.deepEqual(readdirSync(join(folder, "nvidia")), ["cu13"]);
});

test("the toolkit is asked for the headers that compiling takes, too", () => {
  assert.equal(withHeaders("cuda-toolkit[cublas,cudart]==13.0.3"), "cuda-toolkit[cublas,cudart,cccl,crt]==13.0.3");
  assert.equal(withHeaders("nvidia-cudnn-cu13==9.24.0.43"), "nvidia-cudnn-cu13==9.24.0.43");
});
