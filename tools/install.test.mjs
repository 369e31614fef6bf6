import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { test } from "node:test";
import { fromRoot, root } from "./workspace.mjs";

/** A clone with these tools, one workspace, and an npm that says how it was called and does as it is told. */
function clone(t) {
  const folder = mkdtempSync(join(tmpdir(), "nbit-install-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const at = (...parts) => join(folder, ...parts);
  for (const path of [join(root, "tools"), join(root, "packages", "native", "lib")])
    cpSync(path, at(fromRoot(path)), { recursive: true });
  for (const [path, manifest] of [
    ["package.json", { type: "module", workspaces: ["packages/*"], devDependencies: { needed: "1" } }],
    ["packages/native/package.json", { name: "native", type: "module" }],
  ])
    writeFileSync(at(path), JSON.stringify(manifest));
  mkdirSync(at("build"));
  mkdirSync(at("bin"));
  /** `script`: what npm does after it has written down its command. */
  const npm = (script) => {
    writeFileSync(
      at("bin", "npm"),
      `#!/bin/sh\necho "$1" >> ${at("calls")}\necho "$@" > ${at("last-call")}\nmkdir -p node_modules/needed node_modules/native\n${script}\n`,
    );
    chmodSync(at("bin", "npm"), 0o755);
  };
  const install = (env = {}) =>
    execFileSync(
      process.execPath,
      [
        "--input-type=module",
        "-e",
        `
      import { installDependencies } from ${JSON.stringify(at("tools", "install.mjs"))};
      import { Progress } from ${JSON.stringify(at("packages", "native", "lib", "progress.mjs"))};
      try { await installDependencies(new Progress({ quiet: true })); console.log("installed"); }
      catch (error) { console.log(error.message); }`,
      ],
      {
        encoding: "utf8",
        env: {
          ...process.env,
          ...env,
          PATH: [at("bin"), dirname(process.execPath), process.env["PATH"]].join(delimiter),
        },
      },
    ).trim();
  return { at, npm, install, calls: () => readFileSync(at("calls"), "utf8").trim().split("\n") };
}

test("npm that leaves files out on a full disk, and reports success, is not believed; with room again everything is installed afresh", (t) => {
  const box = clone(t);
  box.npm("echo 'npm warn tar TAR_ENTRY_ERROR ENOSPC: no space left on device, write' >&2");
  const refused = box.install();
  assert.match(
    refused,
    /^NBIT_DISK_FULL: the disk that holds \S+ is full; dependencies, the addon and compiled TypeScript need about 0\.2 GB there\.\n {2}Fix: df -h \S+/,
  );
  box.npm("echo added 2 packages");
  assert.equal(box.install(), "installed");
  assert.deepEqual(box.calls(), ["ci", "ci"], "what the first run left is not built upon");
  assert.ok(!existsSync(box.at("build", "npm.unfinished")));
});

test("nothing to do calls nothing; another lock file changes what is there", (t) => {
  const box = clone(t);
  box.npm("true");
  assert.equal(box.install(), "installed");
  assert.equal(box.install(), "installed");
  assert.deepEqual(box.calls(), ["ci"]);
  writeFileSync(box.at("package-lock.json"), "{}");
  assert.equal(box.install(), "installed");
  assert.deepEqual(box.calls(), ["ci", "install"]);
});

test("a failing npm is quoted, and the next run starts afresh", (t) => {
  const box = clone(t);
  box.npm("echo 'npm error code ENOTFOUND' >&2; exit 1");
  assert.match(
    box.install(),
    /^NBIT_NO_NETWORK: npm could not reach its registry\.\n {2}Details:\n {4}npm error code ENOTFOUND/,
  );
  box.npm("echo 'npm error code EBADENGINE' >&2; exit 1");
  assert.match(box.install(), /^NBIT_NPM_FAILED:/);
  assert.deepEqual(box.calls(), ["ci", "ci"]);
});

test("npm gets a cache in the clone where it cannot write to its own", (t) => {
  const box = clone(t);
  box.npm("true");
  const called = (cache) => {
    rmSync(box.at("node_modules"), { recursive: true, force: true });
    assert.equal(box.install({ npm_config_cache: cache }), "installed");
    return readFileSync(box.at("last-call"), "utf8");
  };
  assert.doesNotMatch(called(box.at("cache")), /--cache/);
  assert.ok(called(box.at("bin", "npm", "cache")).includes(`--cache=${box.at("build", "npm-cache")}`)); // in a file
});
