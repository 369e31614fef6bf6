/**
 * Addons that were built elsewhere and come in packages of their own, `@nbit/native-<platform>`, one binary for each
 * libtorch: which one fits, or why none does, and how it becomes the addon of this copy of the package.
 *
 * A binary does not know where libtorch lies. It was linked with a place of that length, which is written over here.
 */
import { spawnSync } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { FULL, explainFileError, packageDiskFull } from "./errors.mjs";
import { IN_A_CLONE, cacheFolder, installedAddon, installedRecord, packageFolder } from "./places.mjs";

/** What binaries are linked with instead of libtorch's folder: as long as a path may be. */
export const PLACE_OF_LIBTORCH = "/libtorch".padEnd(4095, "-");

/**
 * @typedef {object} Binary
 * @property {string} file In the folder of the index.
 * @property {string} torch Minor version of libtorch, "2.13".
 * @property {string | null} cuda Major version of CUDA, or null for a libtorch without.
 * @property {string} sha256
 *
 * @typedef {object} Index What `bin/index.json` of a package says.
 * @property {string} version Of nbit.
 * @property {string} sources Hash of what the binaries were built from.
 * @property {readonly Binary[]} binaries
 * @property {readonly { name: string, file: string, sha256: string, sources: string }[]} libraries That need no libtorch,
 * of packages above this one.
 *
 * @typedef {{ binary: Binary, path: string, package: string, key: string, reason: null }} Chosen
 * @typedef {{ binary: null, reason: string }} None Why none fits, as the end of "compiled here: …".
 */

export const platform = `${process.platform}-${process.arch}`;
const packageName = `@nbit/native-${platform}`;

/** What a libtorch needs a binary to be built for. */
export function pairOf(libtorch) {
  return {
    torch: libtorch.version.split(".").slice(0, 2).join("."),
    cuda: libtorch.cuda ? (/^cu(\d+)\d$/.exec(libtorch.variant)?.[1] ?? "unknown") : null,
  };
}

const inWords = ({ torch, cuda }) => `${torch} (${cuda === null ? "cpu" : `CUDA ${cuda}`})`;

/**
 * The binary for this libtorch.
 *
 * @param {import("./libtorch.mjs").Libtorch} libtorch
 * @returns {Chosen | None}
 */
export function choosePrebuilt(libtorch) {
  const found = readIndex();
  if (typeof found === "string") return none(found);
  const { folder, index } = found;
  const wanted = pairOf(libtorch);
  const binary = index.binaries.find(({ torch, cuda }) => torch === wanted.torch && cuda === wanted.cuda);
  if (binary === undefined)
    return none(
      `${packageName} has no binary for libtorch ${inWords(wanted)}, only for ${index.binaries.map(inWords).join(", ")}`,
    );
  if (index.sources !== sourcesHash())
    return none(`the addon's sources are not those that ${packageName} was built from`);
  const key = sha([binary.sha256, libtorch.path].join("\0"));
  return { binary, path: join(folder, binary.file), package: packageName, key, reason: null };
}

/**
 * A library of a package above this one, which needs no libtorch.
 *
 * @param {string} name
 * @param {string} sources Hash of what it is built from in that package.
 * @returns {{ path: string, package: string, key: string, reason: null } | { reason: string }}
 */
export function choosePrebuiltLibrary(name, sources) {
  const found = readIndex();
  if (typeof found === "string") return none(found);
  const library = found.index.libraries?.find((each) => each.name === name);
  if (library === undefined) return none(`${packageName} has no ${name}.node`);
  if (library.sources !== sources) return none(`the sources of ${name}.node are not those that it was built from`);
  const path = join(found.folder, library.file);
  const whole = existsSync(path) && sha(readFileSync(path)) === library.sha256;
  return whole ? { path, package: packageName, key: library.sha256, reason: null } : none(`${path} is damaged`);
}

/**
 * Why no binary can serve the libtorch that is to be fetched; null where one may.
 *
 * @param {string} spec
 * @param {boolean} [cuda] Whether it will be a build for CUDA, where that is known.
 */
export function whyNoneFor(spec, cuda) {
  const found = readIndex();
  if (typeof found === "string") return found;
  const torch = /^torch\s*==\s*(\d+\.\d+)/.exec(spec)?.[1];
  const serves = (binary) =>
    (torch === undefined || binary.torch === torch) && (cuda === undefined || (binary.cuda !== null) === cuda);
  return found.index.binaries.some(serves)
    ? null
    : `${packageName} has no binary for ${spec}, only for ${found.index.binaries.map(inWords).join(", ")}`;
}

const none = (reason) => ({ binary: null, reason });
const sha = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** @returns {{ folder: string, index: Index } | string} */
function readIndex() {
  for (const variable of ["CXXFLAGS", "LDFLAGS"])
    if (process.env[variable]?.trim()) return `${variable} asks for a build of its own`;
  let folder;
  try {
    folder = join(dirname(createRequire(import.meta.url).resolve(`${packageName}/package.json`)), "bin");
  } catch {
    return `the package ${packageName} is not installed; it is an optional dependency of @nbit/native`;
  }
  let text;
  try {
    text = readFileSync(join(folder, "index.json"), "utf8");
  } catch {
    return IN_A_CLONE ? "this clone has no binaries" : `${packageName} has no binaries`;
  }
  try {
    const index = JSON.parse(text);
    const { version } = JSON.parse(readFileSync(join(packageFolder, "package.json"), "utf8"));
    if (index.version !== version) return `${packageName} is of nbit ${index.version}, and this is ${version}`;
    if (Array.isArray(index.binaries) && index.binaries.length > 0) return { folder, index };
  } catch {
    // said below
  }
  return `${join(folder, "index.json")} is damaged`;
}

/** Of everything that a build reads from this package. */
export function sourcesHash(root = packageFolder) {
  const hash = createHash("sha256");
  const files = ["src", "generated"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true }).map((name) => join(folder, name)),
  );
  for (const file of [...files, join("lib", "addon-plan.mjs")].sort()) {
    if (!/(^|[\\/])[^.][^\\/]*\.\w+$/.test(file) || !statSync(join(root, file)).isFile()) continue;
    hash
      .update(`${file.replaceAll("\\", "/")}\0`)
      .update(readFileSync(join(root, file)))
      .update("\0");
  }
  return hash.digest("hex");
}

/**
 * Makes the binary the addon of this copy of the package; where that cannot be written to, one in the cache. A process
 * of its own loads it first.
 *
 * @param {Chosen} chosen
 * @param {import("./libtorch.mjs").Libtorch} libtorch
 * @returns {{ addon: string } | { reason: string, tried?: true }} Where it is, or why it cannot be used; `tried` where
 * it does not load, and will not the next time.
 * @throws {SetupError} NBIT_DISK_FULL, NBIT_CACHE_UNWRITABLE
 */
export function placePrebuilt(chosen, libtorch) {
  let bytes;
  try {
    bytes = readFileSync(chosen.path);
  } catch (error) {
    return { reason: `${chosen.path} cannot be read (${error.code})` };
  }
  if (sha(bytes) !== chosen.binary.sha256) return { reason: `${chosen.path} is damaged` };
  if (!writePlace(bytes, join(libtorch.path, "lib")))
    return { reason: `${libtorch.path} is longer than a binary has room for` };
  try {
    return place(installedAddon, bytes, chosen, libtorch);
  } catch (error) {
    if (FULL.test(error.code)) throw packageDiskFull(packageFolder, error);
    if (!["EACCES", "EROFS", "EPERM"].includes(error.code)) throw explainFileError(error, installedAddon);
  }
  const cached = cachedPrebuilt(chosen);
  if (existsSync(cached)) return { addon: cached };
  try {
    return place(cached, bytes, chosen, libtorch);
  } catch (error) {
    throw explainFileError(error, cached);
  }
}

/** Where the addon is when the package cannot be written to. */
export function cachedPrebuilt({ key }) {
  return join(cacheFolder(), `addon-${key.slice(0, 16)}`, "nbit.node");
}

/** Writes libtorch's folder where the binary looks for it; false where that is too long. */
export function writePlace(bytes, folder) {
  const at = bytes.indexOf(PLACE_OF_LIBTORCH);
  const path = Buffer.from(folder);
  if (at < 0 || path.length > PLACE_OF_LIBTORCH.length) return false; // the byte after it ends the path
  bytes.fill(0, at, at + PLACE_OF_LIBTORCH.length);
  path.copy(bytes, at);
  return true;
}

function place(file, bytes, chosen, libtorch) {
  mkdirSync(dirname(file), { recursive: true });
  const temporary = `${file}.${randomUUID()}.tmp`; // threads of one process may do the same at once
  try {
    writeFileSync(temporary, bytes);
    chmodSync(temporary, 0o755);
    const reason = whyNotLoaded(temporary);
    if (reason !== null) return { reason: `${chosen.path} does not load here: ${reason}`, tried: true };
    // The time of the binary: whoever else does the same now writes down the same.
    const { mtime } = statSync(chosen.path);
    utimesSync(temporary, mtime, mtime);
    renameSync(temporary, file);
    if (file === installedAddon) record(file, chosen, libtorch);
    return { addon: file };
  } finally {
    rmSync(temporary, { force: true });
  }
}

function record(file, { key, package: from, binary }, libtorch) {
  const { size, mtimeMs } = statSync(file);
  const facts = {
    key,
    size,
    mtimeMs,
    libtorch,
    prebuilt: `${binary.file} of ${from}`,
    sources: sourcesHash(),
    node: process.version,
    withoutCuda: null,
  };
  const temporary = `${installedRecord}.${randomUUID()}.tmp`;
  writeFileSync(temporary, `${JSON.stringify(facts, null, 2)}\n`);
  renameSync(temporary, installedRecord);
}

/** Null when a process of its own can load it. Electron's program is Node.js where this variable says so. */
function whyNotLoaded(file) {
  const { status, signal, stderr, error } = spawnSync(
    process.execPath,
    ["-e", "process.dlopen({ exports: {} }, process.argv[1], require('node:os').constants.dlopen.RTLD_NOW)", file],
    { encoding: "utf8", env: { ...process.env, ELECTRON_RUN_AS_NODE: "1" }, stdio: ["ignore", "ignore", "pipe"] },
  );
  if (status === 0) return null;
  const line = stderr?.split("\n").find((each) => each.includes("Error: "));
  return (
    line?.replace(/^.*?Error: /, "").replaceAll(`${file}: `, "") ?? error?.message ?? `ended by ${signal ?? status}`
  );
}
