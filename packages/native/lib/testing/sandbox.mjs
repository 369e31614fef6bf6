/**
 * A machine of its own for set-up to run on: an empty cache, a PATH with only what is named, indexes of pip that hold
 * what a test puts there.
 */
import { execFileSync, spawn } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { inPath } from "../run.mjs";

const lib = fileURLToPath(new URL("..", import.meta.url));
export const python = execFileSync("python3", ["-c", "import sys; print(sys.executable)"], { encoding: "utf8" }).trim();

/** @param {import("node:test").TestContext} t */
export function sandbox(t) {
  const folder = mkdtempSync(join(tmpdir(), "nbit-setup-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const at = (...parts) => join(folder, ...parts);
  for (const name of ["bin", "wheels", "home"]) mkdirSync(at(name));
  const program = (name, script) => {
    writeFileSync(at("bin", name), `#!/bin/sh\n${script}\n`);
    chmodSync(at("bin", name), 0o755);
  };
  /** Puts real programs of this machine into the PATH. */
  const programs = (...names) => {
    for (const name of names) symlinkSync(inPath(name) ?? name, at("bin", name));
  };
  program("python3", `exec ${python} "$@"`);
  programs("sh", "env", "nvidia-smi");
  const env = {
    PATH: at("bin"),
    HOME: at("home"),
    NBIT_HOME: at("cache", "nbit"),
    PIP_CONFIG_FILE: "/dev/null",
    PIP_NO_INDEX: "1",
    PIP_FIND_LINKS: at("wheels"),
    TMPDIR: at("home"),
  };
  return {
    at,
    env,
    program,
    programs,
    cache: at("cache", "nbit"),
    wheel: (...args) => execFileSync(python, [join(lib, "testing", "wheel.py"), at("wheels"), ...args]),
    /**
     * Runs a statement in a process of its own, with `fetchLibtorch`, `chooseTorch`, `findLibtorch`, `setupNative` and a quiet
     * `progress` in reach.
     */
    start: (statement, more = {}) => startNode(statement, { ...env, ...more }),
    run: (statement, more = {}) => startNode(statement, { ...env, ...more }).result,
  };
}

function startNode(statement, env) {
  const source = `
    import { fetchLibtorch } from ${JSON.stringify(join(lib, "fetch-libtorch.mjs"))};
    import { chooseTorch } from ${JSON.stringify(join(lib, "torch-choice.mjs"))};
    import { findLibtorch } from ${JSON.stringify(join(lib, "libtorch.mjs"))};
    import { setupNative, Progress } from ${JSON.stringify(join(lib, "setup.mjs"))};
    const progress = new Progress({ quiet: true });
    try { console.log(JSON.stringify((${statement}) ?? null)); }
    catch (error) { console.log(JSON.stringify({ code: error.code ?? error.name, message: error.message, fix: error.fix })); }`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", source], {
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text) => (output += text));
  const result = new Promise((resolve) =>
    child.on("close", (_, signal) => resolve(signal ? { signal } : JSON.parse(output.trim().split("\n").at(-1)))),
  );
  return { child, result };
}
