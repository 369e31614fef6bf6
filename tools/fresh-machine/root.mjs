/** A root that commands run in, as another user, without what this machine has set. */
import { spawn } from "node:child_process";
import {
  cpSync,
  createWriteStream,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { arch } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { findNodeHeaders } from "../../packages/native/lib/compiler.mjs";
import { makeRoot, must } from "./base.mjs";
import { settings } from "./settings.mjs";

const ENTER = fileURLToPath(new URL("enter.sh", import.meta.url));
const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/** Of npm's registry, whose `node-linux-*` are Node.js's own binaries: Debian's Node.js is older than nbit asks for. */
const NODE = "22.23.3";
const NPM = "10";
const NODE_API = ["node_api.h", "node_api_types.h", "js_native_api.h", "js_native_api_types.h"];

export class Root {
  /**
   * @param {string} work A folder for everything of this root.
   * @param {readonly string[] | null} packages Of Debian; null for a root whose files come from elsewhere.
   */
  constructor(work, packages) {
    this.path = join(work, "root");
    this.settings = settings(join(work, "settings"));
    this.mountsFile = join(work, "mounts");
    if (packages !== null) makeRoot(this.path, packages);
  }

  /** Another one with the same files. */
  copyTo(work) {
    const copy = new Root(work, null);
    must("cp", ["-a", this.path, copy.path]);
    return copy;
  }

  /**
   * Node.js and npm below /usr/local, where Docker's `node` images have them.
   *
   * @param {string} work
   * @param {boolean} lend Whether Node-API's headers are this machine's, so that what it has compiled fits.
   */
  installNode(work, lend) {
    const fetched = join(work, "node");
    mkdirSync(fetched, { recursive: true });
    const cpu = arch() === "arm64" ? "arm64" : "x64";
    must("npm", ["pack", "--silent", `node-linux-${cpu}@${NODE}`, `npm@${NPM}`], { cwd: fetched });
    const local = join(this.path, "usr/local");
    const modules = join(local, "lib/node_modules/npm");
    mkdirSync(modules, { recursive: true });
    for (const name of readdirSync(fetched)) {
      const target = name.startsWith("node-") ? local : modules;
      must("tar", [
        "--extract",
        "--no-same-owner",
        "--strip-components=1",
        "--file",
        join(fetched, name),
        "--directory",
        target,
      ]);
    }
    for (const name of ["npm", "npx"])
      symlinkSync(`../lib/node_modules/npm/bin/${name}-cli.js`, join(local, "bin", name));
    rmSync(fetched, { recursive: true });
    if (lend)
      for (const name of NODE_API) cpSync(join(findNodeHeaders().path, name), join(local, "include/node", name));
  }

  /** A user with a home, who owns these other folders. */
  addUser(name, folders = []) {
    must("chroot", [this.path, "useradd", "--create-home", "--shell", "/bin/bash", name]);
    for (const folder of folders) {
      mkdirSync(join(this.path, folder), { recursive: true });
      must("chroot", [this.path, "chown", `${name}:${name}`, folder]);
    }
  }

  /**
   * Runs a command of the shell.
   *
   * @param {string} command
   * @param {object} options
   * @param {string} [options.user]
   * @param {string} [options.folder] In the root.
   * @param {Record<string, string>} [options.env] All that is set, beside PATH, HOME and what the network needs.
   * @param {import("./settings.mjs").Mount[]} [options.mounts]
   * @param {string} options.log Gets all that it says.
   * @returns {Promise<{ status: number | null, output: string }>}
   */
  run(command, { user = "root", folder = "/", env = {}, mounts = [], log }) {
    const all = [...this.settings.mounts, ...mounts];
    writeFileSync(this.mountsFile, all.map((m) => `${m.source}\t${m.target}\t${m.mode}\n`).join(""));
    const args = [
      "--mount",
      "--pid",
      "--fork",
      "--kill-child",
      "/bin/sh",
      ENTER,
      this.path,
      user,
      folder,
      this.mountsFile,
    ];
    const home = user === "root" ? "/root" : `/home/${user}`;
    const child = spawn("unshare", [...args, "/bin/sh", "-c", command], {
      env: { PATH, HOME: home, LANG: "C.UTF-8", ...this.settings.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    running.add(child);
    const file = createWriteStream(log, { flags: "a" });
    file.write(`$ ${command}\n`);
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (text) => {
        output += text;
        file.write(text);
      });
    return new Promise((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (status) => {
        running.delete(child);
        file.end(() => resolve({ status, output }));
      });
    });
  }

  /** Whether the root has a file. */
  has(path) {
    return existsSync(join(this.path, path));
  }
}

const running = new Set();

/** Ends what runs in roots: unshare(1) itself heeds no gentler signal, and takes its processes with it. */
export function endAll() {
  for (const child of running) child.kill("SIGKILL");
}

export const readOnly = (source, target) => ({ source, target, mode: /** @type {const} */ ("ro") });
export const writable = (source, target) => ({ source, target, mode: /** @type {const} */ ("rw") });
