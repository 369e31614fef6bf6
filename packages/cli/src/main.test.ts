import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const bin = fileURLToPath(new URL("../bin/nbit.mjs", import.meta.url));

interface Result {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

function nbit(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Result> {
  return new Promise((resolve) => {
    execFile(process.execPath, [bin, ...args], { env: { ...process.env, ...env } }, (error, stdout, stderr) => {
      resolve({ status: typeof error?.code === "number" ? error.code : error === null ? 0 : -1, stdout, stderr });
    });
  });
}

test("version prints the package's version and nothing else", async () => {
  const manifest = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string };
  assert.deepEqual(await nbit(["version"]), { status: 0, stdout: `${manifest.version}\n`, stderr: "" });
  assert.equal((await nbit(["--version"])).stdout, `${manifest.version}\n`);
});

test("help lists every command; no command is help", async () => {
  const { status, stdout } = await nbit(["help"]);
  assert.equal(status, 0);
  for (const name of [
    "init",
    "clean",
    "completion",
    "doctor",
    "setup",
    "fit",
    "validate",
    "test",
    "predict",
    "explain",
    "run",
    "consolidate",
    "version",
    "help",
  ])
    assert.match(stdout, new RegExp(`^  ${name} `, "m"));
  assert.equal((await nbit([])).stdout, stdout);
});

test("an unknown command or argument is refused with what is accepted", async () => {
  const command = await nbit(["docter"]);
  assert.equal(command.status, 2);
  assert.equal(
    command.stderr,
    'ERR_COMMAND: nbit: expected doctor. Received: "docter". `nbit help` lists them.\n' +
      "More: npx nbit explain-error ERR_COMMAND\n",
  );
  const far = await nbit(["frobnicate"]);
  assert.match(far.stderr, /^ERR_COMMAND: nbit: expected a command of init, fit, .*, help\. Received: "frobnicate"/);
  const flag = await nbit(["doctor", "--jsn"]);
  assert.equal(flag.status, 2);
  assert.match(flag.stderr, /^ERR_FLAG: nbit doctor: expected --json\. Received: --jsn/);
});

test("doctor finds this set-up whole and tells what every precision runs on", async () => {
  const { status, stdout } = await nbit(["doctor", "--json"]);
  const report = JSON.parse(stdout) as {
    addon: { state: string };
    libtorch: { version: string };
    precisions: { precision: string; cpu: string }[];
    problems: unknown[];
    xla: { platform: string | null; path: string | null; api: object | null; problem: string | null }[];
  };
  assert.deepEqual(report.problems, []);
  assert.equal(status, 0);
  assert.equal(report.addon.state, "loads");
  assert.match(report.libtorch.version, /^2\.1[1-5]\./);
  assert.deepEqual(
    report.precisions.map((row) => row.precision),
    ["32", "64", "16", "bf16", "16-true", "bf16-true", "float8", "float8-float16", "16, ampBackend apex"],
  );
  assert.ok(report.precisions.every((row) => row.cpu.length > 0));
  assert.deepEqual(
    report.xla.map(({ platform }) => platform),
    [null, "cpu", "tpu", "tpu"],
  );
  // What is there loads, and tells its version.
  for (const { path, api, problem } of report.xla)
    assert.deepEqual([path === null, problem], [api === null, null], String(path));
});

test("doctor explains a LIBTORCH that is not one, and fails", async () => {
  const { status, stdout } = await nbit(["doctor"], { LIBTORCH: "/nowhere" });
  assert.equal(status, 1);
  assert.match(stdout, /NBIT_LIBTORCH: LIBTORCH=\/nowhere is not a usable libtorch: no such folder\./);
  assert.match(stdout, /Fix: unset LIBTORCH/);
  assert.match(stdout, /^One thing is missing or broken\.\n/);
});
