/**
 * Loads the addon. Only `@nbit/torch` speaks its language. Every load is an environment of its own, with tensors of its
 * own: each thread makes one, and each vm context, and each copy of `@nbit/torch`.
 *
 * Importing this module throws a SetupError when there is nothing to load: NBIT_NOT_SET_UP, NBIT_LOAD_FAILED,
 * NBIT_SECOND_COPY, NBIT_NODE_VERSION, NBIT_PLATFORM, NBIT_BUNDLED.
 */
import { existsSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { readInstalled } from "./addon-build.mjs";
import { planAddon } from "./addon-plan.mjs";
import { checkBundled } from "./bundled.mjs";
import { findCompiler } from "./compiler.mjs";
import { SetupError } from "./errors.mjs";
import { findLibtorch, inspect } from "./libtorch.mjs";
import { SETUP_COMMAND, checkPlatform, installedAddon } from "./places.mjs";
import { cachedPrebuilt, choosePrebuilt, placePrebuilt } from "./prebuilt.mjs";
import { sizeText } from "./wheel-sizes.mjs";

/** @returns {{ addon: string, libtorch: import("./libtorch.mjs").Libtorch | null }} */
function find() {
  checkPlatform();
  if (existsSync(installedAddon)) return { addon: installedAddon, libtorch: readInstalled()?.libtorch ?? null };
  checkBundled();
  const looked = [];
  const search = findLibtorch();
  const found = withoutSetup(search, looked);
  if (found !== null) return found;
  const fetches = search.libtorch === null ? `, and no libtorch: ${sizeText(existsSync("/dev/nvidiactl"), false)}` : "";
  throw new SetupError("NBIT_NOT_SET_UP", {
    problem: `there is no native addon yet for this copy of nbit${fetches}.`,
    looked: [{ place: installedAddon, found: "no such file" }, ...looked],
    fix: SETUP_COMMAND,
  });
}

/**
 * Where set-up has not been here: a binary that fits libtorch, without more ado. For a copy of the package that cannot
 * be written to, the addon that set-up has built into the cache.
 */
function withoutSetup(search, looked) {
  looked.push(...search.looked);
  const said = search.libtorch === null ? null : fromPrebuilt(search.libtorch);
  if (said?.addon !== undefined) return { addon: said.addon, libtorch: search.libtorch };
  if (said !== null) looked.push({ place: "binaries", found: said.reason });
  const compiler = search.libtorch === null ? null : findCompiler();
  if (search.libtorch === null || compiler === null) return null;
  const addon = join(planAddon(search.libtorch, compiler).folder, "nbit.node");
  if (existsSync(addon)) return { addon, libtorch: search.libtorch };
  looked.push({ place: addon, found: "no such file" });
  return null;
}

function fromPrebuilt(libtorch) {
  const chosen = choosePrebuilt(libtorch);
  if (chosen.reason !== null) return chosen;
  const cached = cachedPrebuilt(chosen);
  if (existsSync(cached)) return { addon: cached };
  const { bun, deno } = process.versions; // no program that a binary could be tried in first, as it is for Node.js
  return (bun ?? deno) ? { reason: `${SETUP_COMMAND} places it` } : placePrebuilt(chosen, libtorch);
}

/** Opens an environment of the addon. */
function open() {
  try {
    return dlopen(found.addon);
  } catch (error) {
    if (error.code === "NBIT_SECOND_COPY") return openFirst(error);
    if (error.code !== "ERR_DLOPEN_FAILED") throw error;
    const looked = [{ place: found.addon, found: "there" }];
    const state = found.libtorch === null ? null : inspect(found.libtorch.path);
    if (found.libtorch !== null)
      looked.push({
        place: found.libtorch.path,
        found:
          typeof state === "string"
            ? state
            : `libtorch ${state.version} (${state.variant}); built for ${found.libtorch.version} (${found.libtorch.variant})`,
      });
    throw new SetupError("NBIT_LOAD_FAILED", {
      problem: "the native addon is there, but does not load.",
      looked,
      details: error.message,
      fix: SETUP_COMMAND,
      cause: error,
    });
  }
}

function dlopen(path) {
  const module = { exports: {} };
  // Every symbol now: a libtorch that does not fit fails here, with a name, and not in the middle of a training run.
  process.dlopen(module, path, constants.dlopen.RTLD_NOW);
  return module.exports;
}

/**
 * Another copy of this package has loaded its addon into this process, which holds one. The same file under another
 * name serves both; another version cannot.
 */
function openFirst(refusal) {
  const { first } = refusal;
  if (existsSync(first) && readFileSync(first).equals(readFileSync(found.addon))) {
    found.addon = first;
    return dlopen(first);
  }
  throw new SetupError("NBIT_SECOND_COPY", {
    problem:
      "one process holds one build of the native addon, and a second copy of @nbit/native wants to load another.",
    looked: [
      { place: first, found: "loaded" },
      { place: found.addon, found: "another build" },
    ],
    fix: "npm dedupe   # one version of @nbit/native for all that depends on it",
    cause: refusal,
  });
}

const found = find();

/** @type {import("../generated/addon.d.mts").NativeAddon} */
export const native = open();

/** The libtorch that the addon was built for. */
export const libtorch = found.libtorch ?? findLibtorch().libtorch;

let taken = false;
/**
 * The addon for one copy of `@nbit/torch`: its buffer, handles and callbacks are nobody else's. The first that asks
 * gets `native`.
 */
export function connect() {
  if (taken) return open();
  taken = true;
  return native;
}
