/** Places where set-up is tried: a project that has nbit installed but not set up, and a clone before the build. */
import { spawn, spawnSync } from "node:child_process";
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../..", import.meta.url));
export const isRoot = process.getuid() === 0;
export const has = (program) => spawnSync("sh", ["-c", `command -v ${program}`]).status === 0;

/** Debian's packages, where there is none of `program`; whether it is there then. */
export function install(program, ...packages) {
  if (has(program)) return true;
  if (!isRoot || !has("apt-get")) return false;
  spawnSync("apt-get", ["install", "-y", "-qq", ...packages], { stdio: "ignore" });
  return has(program);
}

/** For a shell: nothing is found where a Python is asked for its torch. */
export const NO_TORCH = 'case "$*" in *find_spec*) echo; exit;; esac; ';

/** @param {string} [name] Of the folder. */
export function place(name = "project") {
  const above = mkdtempSync(join(tmpdir(), "nbit-situation-"));
  const folder = join(above, name);
  const at = (...parts) => join(folder, ...parts);
  for (const each of ["bin", "home", "tmp"]) mkdirSync(at(each), { recursive: true });
  const unmount = [];
  const project = {
    at,
    folder,
    env: {
      PATH: `${at("bin")}${delimiter}${process.env["PATH"]}`,
      HOME: at("home"),
      TMPDIR: at("tmp"),
      NBIT_HOME: at("nbit home"),
      NBIT_TORCH_SPEC: "",
      LIBTORCH: "",
    },
    nbit: at("node_modules", "nbit", "bin", "nbit.mjs"),
    /** What `npm install` would have put there, as much as set-up and a first program take. */
    installed(...more) {
      const packages = { cli: "nbit", native: "@nbit/native", xla: "@nbit/xla" };
      for (const each of more) packages[each] = `@nbit/${each}`;
      for (const [from, to] of Object.entries(packages))
        for (const part of [
          "package.json",
          "bin",
          "lib",
          ...(from === "cli" ? [] : ["src", "generated", "native", "dist"]),
        ]) {
          const source = join(root, "packages", from, part);
          if (existsSync(source)) cpSync(source, at("node_modules", to, part), { recursive: true });
        }
      const headers = join(root, "node_modules", "node-api-headers");
      cpSync(headers, at("node_modules", "node-api-headers"), { recursive: true });
      // No PyTorch of this machine's: what is tried is the way without one.
      project.program("python3", `${NO_TORCH}exec ${realPython()} "$@"`);
      return project;
    },
    program(name, script) {
      writeFileSync(at("bin", name), `#!/bin/sh\n${script}\n`);
      chmodSync(at("bin", name), 0o755);
    },
    /** An index of pip's with a small wheel that is taken for PyTorch. */
    wheels(...args) {
      mkdirSync(at("wheels"), { recursive: true });
      const maker = join(root, "packages", "native", "lib", "testing", "wheel.py");
      spawnSync(realPython(), [maker, at("wheels"), ...args], { stdio: "inherit" });
      Object.assign(project.env, { PIP_CONFIG_FILE: "/dev/null", PIP_NO_INDEX: "1", PIP_FIND_LINKS: at("wheels") });
      return at("wheels");
    },
    disk(megabytes) {
      const path = at("disk");
      mkdirSync(path);
      spawnSync("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m`, "tmpfs", path], { stdio: "inherit" });
      unmount.push(path);
      return path;
    },
    end() {
      for (const path of unmount) spawnSync("umount", [path]);
      rmSync(above, { recursive: true, force: true });
    },
  };
  return project;
}

let python;
export function realPython() {
  python ??= spawnSync("python3", ["-c", "import sys; print(sys.executable)"], { encoding: "utf8" }).stdout.trim();
  return python;
}

/**
 * What a command says, and how it ends.
 *
 * @param {ReturnType<typeof place>} project
 * @param {readonly string[]} command
 */
export function call(project, command, { env = {}, cwd = project.folder } = {}) {
  const [program, ...args] = command;
  const child = spawn(program, args, { cwd, env: { ...project.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (output += text));
  const ended = new Promise((resolve) => {
    child.on("error", (error) => resolve({ status: null, output: String(error) }));
    child.on("close", (status, signal) => resolve({ status: status ?? signal, output }));
  });
  return Object.assign(ended, { child });
}
