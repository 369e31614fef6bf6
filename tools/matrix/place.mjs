/** Folders outside of the clone, programs in them, and the tools that rows ask npm for. */
import { spawn, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { pack, publishedManifest } from "../pack.mjs";
import { fromRoot, root, workspaces } from "../workspace.mjs";
import { serve } from "./registry.mjs";

const LIMIT_MS = 5 * 60_000;
const fixtures = fileURLToPath(new URL("fixtures", import.meta.url));
/** Tools stay here between runs. */
const tools = join(root, "build", "matrix");

export class Failed extends Error {}

/** Where rows work: a folder of its own for each, and a registry with our packages. */
export async function openPlace() {
  const folder = mkdtempSync(join(tmpdir(), "nbit-matrix-"));
  const packed = pack([`--pack-destination=${folder}`]);
  const manifests = new Map(workspaces().map((w) => [w.name, publishedManifest(w.manifest, fromRoot(w.folder))]));
  const upstream = spawnSync("npm", ["config", "get", "registry"], { encoding: "utf8", cwd: folder }).stdout.trim();
  const registry = await serve(packed, folder, manifests, upstream.endsWith("/") ? upstream : `${upstream}/`);
  let count = 0;
  return {
    registry: registry.url,
    upstream,
    packed,
    tarballs: folder,
    /** A new folder with files of `fixtures` in it. */
    project(name, files = [], extra = {}) {
      const path = join(folder, `${++count}-${name.replace(/[^\w.-]+/g, "-")}`);
      mkdirSync(path);
      write(path, {
        "package.json": JSON.stringify({ name: "project", version: "0.0.0", private: true, type: "module" }),
        ".npmrc": `registry=${registry.url}\n`,
        ...extra,
      });
      for (const file of files) cpSync(join(fixtures, file), join(path, file), { recursive: true });
      return path;
    },
    close() {
      registry.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export function write(folder, files) {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
}

/**
 * Runs a program to its end.
 *
 * @param {readonly string[]} command
 * @param {{ cwd: string, env?: NodeJS.ProcessEnv, node?: string, expect?: number | null }} options `node` comes first in
 * the PATH. `expect`: the status, or null for any.
 * @returns {Promise<{ status: number, said: string }>}
 * @throws {Failed} with all that it said, for another status.
 */
export function run([program, ...args], { cwd, env = {}, node = process.execPath, expect = 0 }) {
  return new Promise((resolve, reject) => {
    const inherited = Object.entries(process.env).filter(
      ([name]) => !/^(npm_|NODE_OPTIONS$|INIT_CWD$|CI$)/i.test(name),
    );
    const path = [dirname(node), process.env["PATH"]].join(delimiter);
    const child = spawn(program, args, {
      cwd,
      env: { ...Object.fromEntries(inherited), OMP_NUM_THREADS: "1", NO_COLOR: "1", ...env, PATH: path },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let said = "";
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (said += text));
    const late = setTimeout(() => child.kill("SIGKILL"), LIMIT_MS);
    child.on("error", reject).on("close", (status, signal) => {
      clearTimeout(late);
      if (expect === null || status === expect) resolve({ status, said });
      else reject(new Failed(`$ ${[program, ...args].join(" ")}   # ${signal ?? status}\n${said.slice(-6000)}`));
    });
  });
}

/** A package of npm's with its programs, installed once. @returns its `node_modules`. */
export async function tool(name, version, { scripts = false } = {}) {
  const folder = join(tools, `${name.replace("/", "+")}@${version}`);
  const done = join(folder, ".done");
  if (!existsSync(done)) {
    rmSync(folder, { recursive: true, force: true });
    write(folder, { "package.json": "{}" });
    const flags = ["--no-audit", "--no-fund", "--no-save", ...(scripts ? [] : ["--ignore-scripts"])];
    await run(["npm", "install", ...flags, `${name}@${version}`], { cwd: folder });
    writeFileSync(done, "");
  }
  return join(folder, "node_modules");
}

/** The binary of a version of Node.js. */
export async function nodeOf(version) {
  const platform = `node-${process.platform}-${process.arch}`;
  return join(await tool(platform, version), platform, "bin", "node");
}

const NPM = { npm_config_fund: "false", npm_config_audit: "false", npm_config_update_notifier: "false" };

/** A project that has nbit from npm and is set up. */
export async function installed(place, name, files, { packages = [], node, extra } = {}) {
  const cwd = place.project(name, files, extra);
  const options = { cwd, env: NPM };
  const ours = ["@nbit/lightning", "@nbit/torch", "@nbit/lowbit", "nbit"];
  await run(["npm", "install", "--prefer-offline", ...ours, ...packages], { ...options, node });
  await run(["npx", "nbit", "setup"], options); // by this Node.js, whose addon is built: Node-API is one for all
  return cwd;
}

/** Last line that a program of ours says. */
export function expectTrained({ said }) {
  if (!/^trained: accuracy (1\.0|0\.9)/m.test(said)) throw new Failed(`expected a trained model. It said:\n${said}`);
}
