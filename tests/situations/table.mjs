/** Each situation: where, what is run there, and what must be said. */
import { spawnSync } from "node:child_process";
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { libtorch } from "@nbit/native";
import { brokenServer } from "./broken-server.mjs";
import { NO_TORCH, call, has, install, isRoot, realPython, root } from "./place.mjs";

const node = process.execPath;
const setup = (project, ...flags) => [node, project.nbit, "setup", ...flags];
const asRoot = () => (isRoot ? null : "needs root");
const ownLibtorch = () => (libtorch?.variant === "cpu" ? null : "needs a libtorch for CPUs in the cache");
const unshare = () =>
  asRoot() ?? (spawnSync("unshare", ["-n", "true"]).status === 0 ? null : "unshare is not allowed here");

/** PyTorch's own wheel, once for all situations that really run: where pip has it. */
const realWheels = join(root, "build", "situations", "wheels");
let offered;
function real() {
  if (offered === undefined) {
    mkdirSync(realWheels, { recursive: true });
    const there = readdirSync(realWheels).some((name) => name.endsWith(".whl"));
    const args = ["-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", realWheels, "torch==2.13.0"];
    offered = there || spawnSync(realPython(), args, { stdio: "ignore" }).status === 0;
  }
  return offered ? null : "pip has no torch==2.13.0";
}

/** Objects that this machine has compiled before: the same sources, so that only linking is left. */
function withObjects(project) {
  const cache = process.env["NBIT_HOME"] || join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "nbit");
  if (existsSync(join(cache, "objects")))
    cpSync(join(cache, "objects"), join(project.env.NBIT_HOME, "objects"), { recursive: true });
}

/** This machine's libtorch, without a second copy of it. */
function withLibtorch(project) {
  withObjects(project);
  const from = dirname(libtorch.path);
  mkdirSync(project.env.NBIT_HOME, { recursive: true });
  spawnSync("cp", ["-al", from, join(project.env.NBIT_HOME, "libtorch-2.13.0-cpu")]);
}

function clone(project) {
  const to = project.at("clone");
  spawnSync("git", ["clone", "-q", "--depth=1", pathToFileURL(root).href, to], { stdio: "inherit" });
  // What is not committed yet counts, too.
  for (const part of ["packages/native/lib", "packages/cli/bin", "tools"])
    cpSync(join(root, part), join(to, part), { recursive: true });
  return to;
}

const broken = (script) => (project) => {
  project.installed().wheels("2.13.0+cpu");
  project.program("python3", script);
  return call(project, setup(project));
};

/** A GPU as the driver's own program shows it. */
function gpu(project, name, capability) {
  project.program("nvidia-smi", `echo "${name}, ${capability}, 16384 MiB"`);
}

/** An older pip than goes on, and a newer one that does: from pip itself. */
function pipOf(project, requirement) {
  const target = project.at("pip");
  const args = ["-m", "pip", "install", "-q", "--no-deps", "--target", target, requirement];
  if (spawnSync(realPython(), args, { stdio: "ignore" }).status !== 0) return null;
  project.program("python3", `${NO_TORCH}PYTHONPATH='${target}' exec ${realPython()} "$@"`);
  return target;
}

/** Fetches and unpacks alone: placing or compiling against a toy is not what is tried. */
function fetchOnly(project, { flags = {}, headers = true, prefix = [], env = {} } = {}) {
  const program = `
    const [lib, flags, headers] = process.argv.slice(1);
    const { fetchLibtorch } = await import(lib + "/fetch-libtorch.mjs");
    const { chooseTorch } = await import(lib + "/torch-choice.mjs");
    const { Progress } = await import(lib + "/progress.mjs");
    try {
      await fetchLibtorch(new Progress(), { choice: chooseTorch(JSON.parse(flags)), headers: () => headers === "true" });
    } catch (error) {
      console.error(error.message);
      process.exitCode = 1;
    }`;
  const lib = pathToFileURL(project.at("node_modules", "@nbit", "native", "lib")).href;
  const args = ["--input-type=module", "-e", program, lib, JSON.stringify(flags), String(headers)];
  return call(project, [...prefix, node, ...args], { env });
}

async function overBrokenConnections(project, breaks) {
  const wheels = project.wheels("2.13.0+cpu");
  for (const key of ["PIP_NO_INDEX", "PIP_FIND_LINKS"]) delete project.env[key];
  const server = await brokenServer(wheels, { breaks });
  try {
    const env = { PIP_CONFIG_FILE: "/dev/null", PIP_INDEX_URL: server.index };
    const result = await fetchOnly(project, { env });
    return { ...result, output: `${result.output}\nasked for: ${server.ranges.join(", ")}` };
  } finally {
    server.close();
  }
}

async function trainIn(project) {
  withObjects(project);
  const done = await call(project, setup(project, "--wheels", realWheels));
  if (done.status !== 0) return done;
  cpSync(join(root, "tests", "situations", "train.mjs"), project.at("train.mjs"));
  return call(project, [node, project.at("train.mjs")]);
}

export const situations = [
  {
    name: "a clone before the build",
    run: (project) =>
      call(project, [node, join(clone(project), "packages", "cli", "bin", "nbit.mjs"), "fit", "train.ts"]),
    expect: { code: "NBIT_NOT_BUILT", says: [/Fix: npm run build/] },
  },
  {
    name: "a clone without network",
    run: (project) =>
      call(project, [node, join(clone(project), "tools", "setup.mjs")], {
        env: {
          npm_config_registry: "http://127.0.0.1:9/",
          npm_config_cache: project.at("npm"),
          npm_config_fetch_retries: "0",
        },
      }),
    expect: { code: "NBIT_NO_NETWORK", says: [/npm could not reach its registry/, /Fix: npm ping/] },
  },
  {
    name: "imported before set-up",
    run: (project) => {
      project.installed();
      return call(
        project,
        [
          node,
          "--input-type=module",
          "-e",
          'try { await import("@nbit/native"); } catch (error) { console.error(error.message); process.exitCode = 1; }',
        ],
        { env: { PATH: project.at("bin") } },
      );
    },
    expect: { code: "NBIT_NOT_SET_UP", says: [/no libtorch: about 192 MB to fetch/, /Fix: npx nbit setup/] },
  },
  {
    name: "under sudo",
    needs: asRoot,
    run: (project) => call(project.installed(), setup(project), { env: { SUDO_USER: "alice", NBIT_HOME: "" } }),
    expect: { code: "NBIT_SUDO", says: [/Fix: npx nbit setup .* as alice/] },
  },
  {
    name: "a path with spaces and letters beyond ASCII",
    folder: "mein Prøjekt ✓",
    needs: real,
    run: (project) => trainIn(project.installed("torch")),
    expect: { says: [/^trained$/m] },
  },
  {
    name: "a disk that is full",
    needs: asRoot,
    run: (project) => {
      project.installed().wheels("2.13.0+cpu");
      return call(project, setup(project), { env: { NBIT_HOME: project.disk(60) } });
    },
    expect: {
      code: "NBIT_DISK_FULL",
      says: [/has \d+ MB left; set-up needs \d{3,4} MB there/, /Fix: export NBIT_HOME=/],
    },
  },
  {
    name: "no network",
    needs: unshare,
    run: (project) =>
      call(project.installed(), ["unshare", "-n", ...setup(project)], { env: { PIP_CONFIG_FILE: "/dev/null" } }),
    expect: { code: "NBIT_NO_NETWORK", says: [/--wheels FOLDER/] },
  },
  {
    name: "no network, but a folder of wheels",
    needs: unshare,
    run: (project) => {
      const wheels = project.installed().wheels("2.13.0+cpu");
      project.program("python3", "exit 1");
      return fetchOnly(project, { flags: { wheels }, prefix: ["unshare", "-n"] });
    },
    expect: { says: [/libtorch 2\.13\.0 \(cpu\) is in/] },
  },
  {
    name: "no python3",
    run: (project) => {
      project.installed();
      return call(project, setup(project), { env: { PATH: onlyCompilers(project) } });
    },
    expect: { code: "NBIT_NO_PYTHON", says: [/none in PATH/, /Fix: .*python3/] },
  },
  { name: "a python3 that fails", run: broken("exit 1"), expect: { code: "NBIT_NO_PYTHON", says: [/does not run/] } },
  {
    name: "a python3 that prints nonsense",
    run: broken("echo '<html>Please log in</html>'"),
    expect: { code: "NBIT_NO_PYTHON", says: [/does not run/] },
  },
  {
    name: "a python3 without pip",
    run: broken('[ "$1" = --version ] && echo Python 3.11.7'),
    expect: { code: "NBIT_NO_PIP", says: [/Fix: .*python3-pip/] },
  },
  {
    name: "a cache that cannot be written",
    needs: () => asRoot() ?? (has("setpriv") ? null : "needs setpriv"),
    run: (project) => {
      project.installed();
      mkdirSync(project.at("home", ".cache"));
      for (let at = project.at("home"); at !== "/"; at = dirname(at))
        if (at.includes("nbit-situation")) chmodSync(at, 0o755);
      const user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
      return call(project, [...user, node, project.nbit, "setup"], { env: { NBIT_HOME: "" } });
    },
    expect: { code: "NBIT_CACHE_UNWRITABLE", says: [/belongs to root; you are user 65534/, /Fix: export NBIT_HOME=/] },
  },
  {
    name: "a package that cannot be written",
    needs: () => asRoot() ?? (has("setpriv") ? ownLibtorch() : "needs setpriv"),
    run: async (project) => {
      project.installed("torch");
      mkdirSync(project.env.NBIT_HOME);
      for (const each of [project.env.NBIT_HOME, project.at("tmp"), project.at("home")]) chmodSync(each, 0o777);
      for (let at = project.folder; at !== "/tmp" && at !== "/"; at = dirname(at)) chmodSync(at, 0o755);
      const user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
      withLibtorch(project);
      spawnSync("chmod", ["-R", "a+rwX", project.env.NBIT_HOME]);
      const done = await call(project, [...user, node, project.nbit, "setup"]);
      if (done.status !== 0) return done;
      writeFileSync(project.at("train.mjs"), readFileSync(join(root, "tests", "situations", "train.mjs")));
      return call(project, [...user, node, project.at("train.mjs")]);
    },
    expect: { says: [/^trained$/m] },
  },
  {
    name: "a set-up that was killed",
    needs: real,
    run: async (project) => {
      project.installed();
      const all = { flags: { wheels: realWheels }, headers: false };
      const first = fetchOnly(project, all);
      const unpacked = join(project.env.NBIT_HOME, "downloads");
      await until(() => existsSync(unpacked) && findFile(unpacked, "libtorch_cpu.so"));
      first.child.kill("SIGKILL");
      const { status } = await first;
      const second = await fetchOnly(project, all);
      return { ...second, output: `ended by ${status}\n${second.output}` };
    },
    expect: { says: [/^ended by SIGKILL$/m, /libtorch 2\.13\.0 \(cpu\) is in/] },
  },
  {
    name: "a connection that breaks, with an older pip",
    run: (project) => {
      project.installed();
      if (pipOf(project, "pip==24.0") === null && !olderPip(project)) return { status: 1, output: "no older pip" };
      return overBrokenConnections(project, 1);
    },
    expect: {
      says: [
        /(the connection broke after|what came is not the whole wheel).* fetching torch==2\.13\.0\+cpu from its beginning/,
        /asked for: all, all$/m,
        /is in /,
      ],
    },
  },
  {
    name: "a connection that breaks, with pip 25.1 or newer",
    run: (project) => {
      project.installed();
      if (pipOf(project, "pip>=25.1") === null) return { status: 1, output: "no newer pip" };
      return overBrokenConnections(project, 1);
    },
    expect: { says: [/asked for: all, bytes=\d+-/m, /is in /] },
  },
  {
    name: "a connection that breaks again and again",
    run: (project) => {
      project.installed();
      if (pipOf(project, "pip>=25.1") === null) return { status: 1, output: "no newer pip" };
      return overBrokenConnections(project, 99);
    },
    expect: { code: "NBIT_DOWNLOAD_BROKEN", says: [/from its beginning/] },
  },
  {
    name: "a GPU that the build has no kernels for",
    run: (project) => {
      project.installed().wheels("2.13.0+cpu");
      gpu(project, "Tesla V100-SXM2-16GB", "7.0");
      return call(project, setup(project, "--cuda"));
    },
    expect: {
      code: "NBIT_GPU_UNSUPPORTED",
      says: [/compute capability 7\.0/, /Nothing was fetched/, /--torch 2\.13\.0\+cu126/],
    },
  },
  {
    name: "musl instead of glibc",
    run: (project) => {
      project.installed();
      // Node reports no glibc on musl; there is no Node for musl in the registries that this project uses.
      writeFileSync(project.at("musl.mjs"), "process.report.getReport = () => ({ header: {} });\n");
      return call(project, [node, "--import", project.at("musl.mjs"), project.nbit, "setup"]);
    },
    expect: { code: "NBIT_PLATFORM", says: [/musl/, /Fix: /] },
  },
  {
    name: "a Node.js that is too old",
    run: (project) => {
      project.installed();
      writeFileSync(project.at("old.mjs"), 'Object.defineProperty(process.versions, "node", { value: "18.20.1" });\n');
      return call(project, [node, "--import", project.at("old.mjs"), project.nbit, "setup"]);
    },
    expect: { code: "NBIT_NODE_VERSION", says: [/20\.19/] },
  },
  {
    name: "a processor without AVX2",
    needs: () =>
      process.arch !== "x64" ? "x64 alone" : install("qemu-x86_64", "qemu-user") ? real() : "needs qemu-user",
    run: (project) => trainIn(project.installed("torch"), ["qemu-x86_64", "-cpu", "Nehalem"]),
    expect: { says: [/^trained$/m] },
  },
  {
    name: "npm with --ignore-scripts",
    run: () => {
      const scripts = readdirSync(join(root, "packages")).flatMap((name) =>
        Object.keys(JSON.parse(readFileSync(join(root, "packages", name, "package.json"), "utf8")).scripts ?? {}),
      );
      const run = scripts.filter((name) => /^(pre|post)?install$|^prepare$/.test(name));
      return { status: run.length, output: `scripts that npm would run: ${run.join(", ") || "none"}` };
    },
    expect: { says: [/would run: none/] },
  },
];

/** A PATH with what compiling takes, and no Python. */
function onlyCompilers(project) {
  for (const name of ["g++", "uname"]) project.program(name, `exec $(PATH=/usr/bin:/bin command -v ${name}) "$@"`);
  spawnSync("rm", [project.at("bin", "python3")]);
  spawnSync("ln", ["-s", "/bin/sh", project.at("bin", "sh")]);
  return project.at("bin");
}

function olderPip(project) {
  const said = spawnSync(realPython(), ["-m", "pip", "--version"], { encoding: "utf8" }).stdout;
  const [, major, minor] = /^pip (\d+)\.(\d+)/.exec(said) ?? [];
  if (Number(major) > 25 || (Number(major) === 25 && Number(minor) > 0)) return false;
  project.program("python3", `${NO_TORCH}exec ${realPython()} "$@"`);
  return true;
}

const findFile = (folder, name) => readdirSync(folder, { recursive: true }).some((each) => each.endsWith(name));

async function until(holds) {
  for (let i = 0; i < 2000 && !holds(); i++) await new Promise((resolve) => setTimeout(resolve, 10));
}
