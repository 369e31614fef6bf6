/** Finds a libtorch that is on this machine already. Nothing here writes or fetches. */
import { existsSync, readFileSync, readdirSync, realpathSync, statSync } from "node:fs";
import { join } from "node:path";
import { SetupError } from "./errors.mjs";
import { SUPPORTED_TEXT, cacheFolder, installedRecord, isSupported, splitVersion } from "./places.mjs";
import { ask, inPath } from "./run.mjs";
import { PINNED_VERSION, accepts, chooseTorch, setupWith } from "./torch-choice.mjs";

/**
 * @typedef {object} Libtorch
 * @property {string} path Folder that holds `lib/` and `include/`.
 * @property {string} version Release, e.g. "2.13.0".
 * @property {string} variant "cpu", "cu130", …
 * @property {boolean} cuda
 * @property {string} git Commit that it was built from, or "".
 * @property {boolean} headers Whether an addon can be compiled against it.
 * @property {string} origin Where it was found: "LIBTORCH", "python3", "cache" or "fetched".
 */

/** Without these it is none; their sizes are written down, so that half of one is not taken for whole. */
export const WHOLE = ["lib/libtorch.so", "lib/libtorch_cpu.so", "lib/libc10.so"];
const HEADER = "include/ATen/core/TensorBody.h";

/**
 * Looks in order at `LIBTORCH`, the torch of the active python3, and the cache.
 *
 * @returns {{ libtorch: Libtorch | null, looked: import("./errors.mjs").Looked[] }} The first usable one, and what was
 * at every place up to it.
 * @throws {SetupError} NBIT_LIBTORCH when `LIBTORCH` is set and unusable, NBIT_TORCH_VERSION when it is of an
 * unsupported version: what was asked
 *   for explicitly is never replaced silently.
 */
export function findLibtorch(choice = chooseTorch()) {
  const looked = [];
  const libtorch = fromEnvironment(looked, choice) ?? fromPython(looked, choice) ?? fromCache(looked, choice);
  return { libtorch, looked };
}

function fromEnvironment(looked, choice) {
  const path = process.env["LIBTORCH"];
  if (!path) {
    looked.push({ place: "LIBTORCH", found: "not set" });
    return null;
  }
  const found = inspect(path);
  if (typeof found === "string") {
    throw new SetupError("NBIT_LIBTORCH", {
      problem: `LIBTORCH=${path} is not a usable libtorch: ${found}.`,
      looked: [{ place: path, found }],
      fix: UNSET,
    });
  }
  if (!isSupported(found.version)) throw wrongVersion(`LIBTORCH=${path}`, found.version, UNSET);
  if (choice.explicit && !choice.verbatim && !accepts(choice, found)) {
    throw new SetupError("NBIT_LIBTORCH", {
      problem: `LIBTORCH=${path} is ${describeLibtorch(found)}, and set-up was asked for ${inWords(choice)}.`,
      fix: UNSET,
    });
  }
  looked.push({ place: `LIBTORCH=${path}`, found: describeLibtorch(found) });
  return { ...found, origin: "LIBTORCH" };
}

const UNSET = "unset LIBTORCH   # then run the same command again: set-up finds or fetches a fitting one";

export function wrongVersion(place, version, fix) {
  return new SetupError("NBIT_TORCH_VERSION", {
    problem: `nbit works with libtorch ${SUPPORTED_TEXT}. ${place} is ${version}.`,
    looked: [{ place, found: version }],
    fix,
  });
}

/** Of LIBTORCH or Python: not ours to complete. */
export function noHeaders({ path, origin }) {
  return new SetupError("NBIT_LIBTORCH", {
    problem: `the addon is to be compiled, and the libtorch of ${origin} has no headers.`,
    looked: [{ place: `${path}/${HEADER}`, found: "no such file" }],
    fix: origin === "LIBTORCH" ? UNSET : setupWith(`--torch ${PINNED_VERSION}`),
  });
}

// find_spec does not import torch: 40 ms instead of seconds.
const LOCATE =
  "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s and s.submodule_search_locations else '')";

function fromPython(looked, choice) {
  const python = inPath("python3");
  if (python === null) {
    looked.push({ place: "torch of python3", found: "no python3 in PATH" });
    return null;
  }
  const place = `torch of ${python}`;
  const path = ask(python, ["-c", LOCATE]);
  if (!path?.startsWith("/")) {
    looked.push({ place, found: path === "" ? "not installed" : "python3 does not run, or does not answer" });
    return null;
  }
  const found = inspect(path);
  const obstacle =
    typeof found === "string"
      ? found
      : !isSupported(found.version)
        ? `${found.version}, outside ${SUPPORTED_TEXT}`
        : accepts(choice, found)
          ? null
          : `${describeLibtorch(found)}, but ${inWords(choice)} is asked for`;
  looked.push({ place: `${place} (${path})`, found: obstacle ?? describeLibtorch(found) });
  return obstacle === null ? { ...found, origin: "python3" } : null;
}

function fromCache(looked, choice) {
  const folder = cacheFolder();
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => /^libtorch-[\w.]+-\w+$/.test(name)) : [];
  const usable = [];
  for (const name of names) {
    const found = inspect(join(folder, name, "torch"));
    const notes = notesOf(join(folder, name));
    const obstacle =
      typeof found === "string"
        ? found
        : !isSupported(found.version)
          ? `outside ${SUPPORTED_TEXT}`
          : (damageOf(found, notes) ?? (accepts(choice, found, notes.spec) ? null : `not ${inWords(choice)}`));
    looked.push({ place: join(folder, name), found: obstacle ?? describeLibtorch(found) });
    if (obstacle === null) usable.push({ ...found, origin: "cache" });
  }
  if (names.length === 0) looked.push({ place: join(folder, "libtorch-*"), found: "none" });
  return best(usable);
}

/** The one that this copy of the package runs on, else what set-up would fetch: for the GPU where there is one, of the version that is pinned. */
function best(usable) {
  const gpu = existsSync("/dev/nvidiactl");
  const running = runningOn();
  const rank = (each) =>
    4 * Number(each.path === running) + 2 * Number(each.cuda === gpu) + Number(each.version === PINNED_VERSION);
  return usable.sort((a, b) => rank(b) - rank(a))[0] ?? null;
}

function runningOn() {
  try {
    return JSON.parse(readFileSync(installedRecord, "utf8")).libtorch.path;
  } catch {
    return null;
  }
}

const inWords = ({ spec, device }) => `${spec}${device === null ? "" : ` for ${device === "cuda" ? "CUDA" : "CPUs"}`}`;

function notesOf(folder) {
  try {
    return JSON.parse(readFileSync(join(folder, "nbit.json"), "utf8"));
  } catch {
    return {};
  }
}

/** What a disk that failed, or somebody, has taken from a libtorch since it was unpacked. */
function damageOf({ path }, { sizes = {} }) {
  const file = WHOLE.find((each) => sizes[each] !== undefined && statSync(join(path, each)).size !== sizes[each]);
  return file === undefined ? null : `${file} has ${statSync(join(path, file)).size} of ${sizes[file]} bytes`;
}

/** Reads what a folder holds; a sentence when it is not a libtorch, or not one to build against where `headers` asks for that. */
export function inspect(path, headers = false) {
  for (const file of headers ? [...WHOLE, HEADER] : WHOLE) {
    if (!existsSync(join(path, file))) return existsSync(path) ? `it has no ${file}` : "no such folder";
  }
  const text = readIfThere(join(path, "version.py"));
  const full = /^__version__\s*=\s*['"]([^'"]+)/m.exec(text)?.[1] ?? readIfThere(join(path, "build-version")).trim();
  if (full === "") return "it has neither version.py nor build-version";
  const { release, local } = splitVersion(full);
  const cudaVersion = /^cuda\b.*=\s*['"]([\d.]+)['"]/m.exec(text)?.[1];
  const cuda = existsSync(join(path, "lib/libtorch_cuda.so"));
  const variant =
    local !== "" && !local.startsWith("git")
      ? local.replace(/\W/g, "_")
      : cuda
        ? `cu${(cudaVersion ?? "").replace(/\D/g, "")}`
        : "cpu";
  const git = /^git_version\s*=\s*['"](\w+)/m.exec(text)?.[1] ?? readIfThere(join(path, "build-hash")).trim();
  return { path: realpathSync(path), version: release, variant, cuda, git, headers: existsSync(join(path, HEADER)) };
}

function readIfThere(path) {
  return existsSync(path) ? readFileSync(path, "utf8") : "";
}

export function describeLibtorch(libtorch) {
  return `libtorch ${libtorch.version} (${libtorch.variant})`;
}
