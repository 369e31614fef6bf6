/** Finds a libtorch that is on this machine already. Nothing here writes or fetches. */
import { existsSync, readFileSync, readdirSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { SetupError } from "./errors.mjs";
import { SUPPORTED_TEXT, cacheFolder, isSupported, splitVersion, torchSpec } from "./places.mjs";
import { ask, inPath } from "./run.mjs";

/**
 * @typedef {object} Libtorch
 * @property {string} path Folder that holds `lib/` and `include/`.
 * @property {string} version Release, e.g. "2.13.0".
 * @property {string} variant "cpu", "cu130", …
 * @property {boolean} cuda
 * @property {string} git Commit that it was built from, or "".
 * @property {string} origin Where it was found: "LIBTORCH", "python3", "cache" or "fetched".
 */

/**
 * Looks in order at `LIBTORCH`, the torch of the active python3, and the cache.
 *
 * @returns {{ libtorch: Libtorch | null, looked: import("./errors.mjs").Looked[] }} The first usable one, and what was
 * at every place up to it.
 * @throws {SetupError} NBIT_LIBTORCH when `LIBTORCH` is set and unusable, NBIT_TORCH_VERSION when it is of an
 * unsupported version: what was asked
 *   for explicitly is never replaced silently.
 */
export function findLibtorch() {
  const looked = [];
  const libtorch = fromEnvironment(looked) ?? fromPython(looked) ?? fromCache(looked);
  return { libtorch, looked };
}

function fromEnvironment(looked) {
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

// find_spec does not import torch: 40 ms instead of seconds.
const LOCATE =
  "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s and s.submodule_search_locations else '')";

function fromPython(looked) {
  const python = inPath("python3");
  if (python === null) {
    looked.push({ place: "torch of python3", found: "no python3 in PATH" });
    return null;
  }
  const place = `torch of ${python}`;
  const path = ask(python, ["-c", LOCATE]);
  if (!path) {
    looked.push({ place, found: path === null ? "python3 does not run" : "not installed" });
    return null;
  }
  const found = inspect(path);
  const obstacle =
    typeof found === "string"
      ? found
      : !isSupported(found.version)
        ? `${found.version}, outside ${SUPPORTED_TEXT}`
        : fits(found)
          ? null
          : `${describeLibtorch(found)}, but NBIT_TORCH_SPEC asks for ${torchSpec()}`;
  looked.push({ place: `${place} (${path})`, found: obstacle ?? describeLibtorch(found) });
  return obstacle === null ? { ...found, origin: "python3" } : null;
}

function fromCache(looked) {
  const folder = cacheFolder();
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => /^libtorch-[\w.]+-\w+$/.test(name)) : [];
  const usable = [];
  for (const name of names) {
    const found = inspect(join(folder, name, "torch"));
    const obstacle =
      typeof found === "string"
        ? found
        : !isSupported(found.version)
          ? `outside ${SUPPORTED_TEXT}`
          : !wanted(found, join(folder, name))
            ? `not what ${torchSpec()} asks for`
            : null;
    looked.push({ place: join(folder, name), found: obstacle ?? describeLibtorch(found) });
    if (obstacle === null) usable.push({ ...found, origin: "cache" });
  }
  if (names.length === 0) looked.push({ place: join(folder, "libtorch-*"), found: "none" });
  const gpu = existsSync("/dev/nvidiactl");
  return usable.find((l) => l.cuda === gpu) ?? usable[0] ?? null;
}

/** Whether an explicit NBIT_TORCH_SPEC, if any, allows this one. */
function fits(libtorch) {
  return process.env["NBIT_TORCH_SPEC"] === undefined || matchesSpec(libtorch);
}

function matchesSpec(libtorch) {
  const asked = /^torch\s*==\s*([\w.+]+)$/.exec(torchSpec());
  if (asked === null) return false;
  const { release, local } = splitVersion(asked[1]);
  return libtorch.version === release && (local === "" || local === libtorch.variant);
}

/**
 * A cached one must be what the requirement names; one that was fetched for the same words (a range, a wheel's path)
 * is.
 */
function wanted(libtorch, folder) {
  if (matchesSpec(libtorch)) return true;
  try {
    return JSON.parse(readFileSync(join(folder, "nbit.json"), "utf8")).spec === torchSpec();
  } catch {
    return false;
  }
}

/** Reads what a folder holds; a sentence when it is not a libtorch to build against. */
export function inspect(path) {
  for (const file of ["lib/libtorch.so", "lib/libtorch_cpu.so", "lib/libc10.so", "include/ATen/core/TensorBody.h"]) {
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
  return { path: realpathSync(path), version: release, variant, cuda, git };
}

function readIfThere(path) {
  return existsSync(path) ? readFileSync(path, "utf8") : "";
}

export function describeLibtorch(libtorch) {
  return `libtorch ${libtorch.version} (${libtorch.variant})`;
}
