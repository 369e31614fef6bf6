import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

/** A machine with an empty cache, whose pip finds what a test puts into `wheels`. */
function machine(t) {
  const folder = mkdtempSync(join(tmpdir(), "nbit-xla-setup-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const wheels = join(folder, "wheels");
  mkdirSync(wheels);
  const env = {
    ...process.env,
    XDG_CACHE_HOME: folder,
    PIP_CONFIG_FILE: "/dev/null",
    PIP_NO_INDEX: "1",
    PIP_FIND_LINKS: wheels,
  };
  const run = (options) =>
    new Promise((resolve, reject) => {
      const source = `
        import { setupXla } from ${JSON.stringify(new URL("./setup.mjs", import.meta.url).href)};
        import { Progress } from "@nbit/native/build";
        await setupXla({ progress: new Progress({ quiet: true }), ${options} }).then(
          () => console.log(JSON.stringify({ code: null })),
          (error) => console.log(JSON.stringify({ code: error.code, message: error.message })),
        );`;
      const child = spawn(process.execPath, ["--input-type=module", "-e", source], {
        cwd: import.meta.dirname,
        env,
        stdio: ["ignore", "pipe", "inherit"],
      });
      let said = "";
      child.stdout.setEncoding("utf8").on("data", (text) => (said += text));
      child.on("error", reject);
      child.on("close", () => resolve(JSON.parse(said)));
    });
  return { run, wheels, cache: join(folder, "nbit") };
}
const only = { skip: process.arch !== "x64" && "the wheels are for x64" };

test("set-up without plugins finds the host built, and writes nothing to the cache", async (t) => {
  const { run, cache } = machine(t);
  assert.deepEqual(await run(""), { code: null });
  assert.ok(!existsSync(cache));
});

test("indexes without the wheel: a code, and the command that shows what they have", only, async (t) => {
  const { run } = machine(t);
  const { code, message } = await run("tpu: true");
  assert.equal(code, "NBIT_XLA_NOT_OFFERED");
  assert.match(message, /no wheel for libtpu==[\d.]+.*\n[^]*Fix: python3 -m pip index versions libtpu/);
});

test("a wheel with another hash is not taken", only, async (t) => {
  const { run, wheels, cache } = machine(t);
  writeFileSync(join(wheels, "libtpu-0.0.42.1-cp311-cp311-manylinux_2_31_x86_64.whl"), "something else");
  const { code, message } = await run("tpu: true");
  assert.equal(code, "NBIT_DOWNLOAD_CORRUPT");
  assert.match(message, /HASH/i);
  assert.ok(!readdirSync(cache).some((name) => name.startsWith("libtpu-")));
});
