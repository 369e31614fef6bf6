/** Where things are kept, and what is supported. */
import { accessSync, constants, existsSync, mkdirSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { SetupError, explainFileError } from "./errors.mjs";
import { whyNotSupported } from "./platforms.mjs";

/** Folder of @nbit/native. A module that a bundler has made CommonJS of has no address. */
export const packageFolder = join(dirname(fileURLToPath(import.meta.url ?? "file:///nowhere/lib/places.mjs")), "..");
/** The installed addon of this copy of the package, and the record of what it was built for. */
export const installedAddon = join(packageFolder, "build", "nbit.node");
export const installedRecord = join(packageFolder, "build", "addon.json");

const clone = join(packageFolder, "..", "..");
/** Whether this copy of the package lies in the repository. */
export const IN_A_CLONE = existsSync(join(clone, "tools", "setup.mjs"));
/** Set-up as a user calls it; in a clone this works before the command `nbit` is linked. */
export const SETUP_COMMAND = IN_A_CLONE ? "npm run build" : "npx nbit setup";

export const SUPPORTED = { oldest: [2, 11], newest: [2, 15] };
export const SUPPORTED_TEXT = "2.11 to 2.15";
export const PINNED_SPEC = "torch==2.13.0";
const OLDEST_NODE = [20, 19];

/** The requirement that pip is asked for when no libtorch is found. */
export function torchSpec() {
  return process.env["NBIT_TORCH_SPEC"]?.trim() || PINNED_SPEC;
}

/**
 * Where libtorch and what is built are kept: `NBIT_HOME`, else `nbit` in `XDG_CACHE_HOME` or `~/.cache`; in a clone whose
 * user has no home to write to, `build/cache` of the clone.
 */
export function cacheFolder() {
  const own = process.env["NBIT_HOME"];
  if (own) return resolve(own);
  const shared = process.env["XDG_CACHE_HOME"];
  if (shared) return join(shared, "nbit");
  const usual = join(homedir(), ".cache", "nbit");
  return !IN_A_CLONE || existsSync(usual) || canMake(usual) ? usual : join(clone, "build", "cache");
}

/** Whether a folder is there to write to, or can be made, as far as permissions tell. */
export function canMake(path) {
  if (!existsSync(path)) return dirname(path) !== path && canMake(dirname(path));
  try {
    accessSync(path, constants.W_OK);
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

/** Makes a folder of the cache, or explains why it cannot. */
export function makeFolder(path) {
  try {
    mkdirSync(path, { recursive: true });
  } catch (error) {
    throw explainFileError(error, path);
  }
  return path;
}

/** `2.13.0+cpu` → { release: "2.13.0", local: "cpu" } */
export function splitVersion(version) {
  const [release, local = ""] = version.split("+");
  return { release, local };
}

export function isSupported(version) {
  const [major, minor] = version.split(".").map((part) => Number.parseInt(part, 10));
  return major === SUPPORTED.oldest[0] && minor >= SUPPORTED.oldest[1] && minor <= SUPPORTED.newest[1];
}

/**
 * Throws under sudo: libtorch would lie where the user cannot read it, or as root's in the user's own cache, where the
 * next set-up could not write. With NBIT_HOME somebody has said where.
 */
export function checkUser() {
  const user = process.env["SUDO_USER"];
  if (process.getuid?.() !== 0 || !user || user === "root" || process.env["NBIT_HOME"]) return;
  throw new SetupError("NBIT_SUDO", {
    problem: `set-up needs no root. Under sudo, libtorch would be root's in ${cacheFolder()}, and of no use to ${user}.`,
    fix: `${SETUP_COMMAND}   # as ${user}; for all users of a machine: sudo NBIT_HOME=/opt/nbit ${SETUP_COMMAND}, and NBIT_HOME=/opt/nbit for each of them`,
  });
}

/** Throws where this program cannot run at all. */
export function checkPlatform() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major < OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor < OLDEST_NODE[1])) {
    throw new SetupError("NBIT_NODE_VERSION", {
      problem: `Node.js ${OLDEST_NODE.join(".")} or newer is needed. This is ${process.versions.node} (${process.execPath}).`,
      fix: "nvm install 22   # or any other way to a newer Node.js",
    });
  }
  if (process.versions.electron !== undefined) {
    throw new SetupError("NBIT_ELECTRON", {
      problem: `Electron ${process.versions.electron} lets no native code share memory with JavaScript (V8's memory cage), which nbit does.`,
      fix: "node worker.mjs   # from the main process: child_process.fork with execPath of a Node.js, and messages",
    });
  }
  const platform = `${process.platform}-${process.arch}`;
  const glibc = process.report?.getReport().header.glibcVersionRuntime !== undefined;
  const refusal = whyNotSupported(platform, glibc);
  if (refusal !== null) throw new SetupError("NBIT_PLATFORM", refusal);
}
