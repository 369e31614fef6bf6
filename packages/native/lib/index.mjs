/**
 * Loads the addon, once, on the main thread. `native` is what it exports; only `@nbit/torch` speaks its language.
 *
 * Importing this module throws a SetupError when there is nothing to load: NBIT_NOT_SET_UP, NBIT_LOAD_FAILED, NBIT_WORKER_THREAD, NBIT_NODE_VERSION, NBIT_PLATFORM.
 */
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { isMainThread } from "node:worker_threads";
import { readInstalled } from "./addon-build.mjs";
import { planAddon } from "./addon-plan.mjs";
import { findCompiler } from "./compiler.mjs";
import { SetupError } from "./errors.mjs";
import { findLibtorch, inspect } from "./libtorch.mjs";
import { SETUP_COMMAND, checkPlatform, installedAddon } from "./places.mjs";


function load() {
  checkPlatform();
  if (!isMainThread) {
    throw new SetupError("NBIT_WORKER_THREAD", {
      problem: "tensors live on the main thread, and this is a worker thread. libtorch itself computes on all cores; send plain typed arrays to workers that prepare data.",
      fix: "move the import of @nbit/torch out of the worker   # or start a process: child_process.fork()",
    });
  }
  const record = readInstalled();
  const looked = [];
  const found = existsSync(installedAddon) ? { addon: installedAddon, libtorch: record?.libtorch ?? null } : fromCache(looked);
  if (found === null) {
    throw new SetupError("NBIT_NOT_SET_UP", { problem: "the native addon has not been built for this copy of nbit.", looked: [{ place: installedAddon, found: "no such file" }, ...looked], fix: SETUP_COMMAND });
  }
  const module = { exports: {} };
  try {
    // Every symbol now: a libtorch that does not fit fails here, with a name, and not in the middle of a training run.
    process.dlopen(module, found.addon, constants.dlopen.RTLD_NOW);
  } catch (error) {
    if (error.code !== "ERR_DLOPEN_FAILED") throw error;
    const state = found.libtorch === null ? null : inspect(found.libtorch.path);
    looked.push({ place: found.addon, found: "there" });
    if (found.libtorch !== null) looked.push({ place: found.libtorch.path, found: typeof state === "string" ? state : `libtorch ${state.version} (${state.variant}); built for ${found.libtorch.version} (${found.libtorch.variant})` });
    throw new SetupError("NBIT_LOAD_FAILED", { problem: "the native addon is there, but does not load.", looked, details: error.message, fix: SETUP_COMMAND, cause: error });
  }
  const libtorch = found.libtorch ?? findLibtorch().libtorch;
  return { native: module.exports, libtorch };
}

/** For a copy of the package that cannot be written to: the addon that set-up has built into the cache. */
function fromCache(looked) {
  const search = findLibtorch();
  looked.push(...search.looked);
  const compiler = search.libtorch === null ? null : findCompiler();
  if (search.libtorch === null || compiler === null) return null;
  const addon = join(planAddon(search.libtorch, compiler).folder, "nbit.node");
  if (existsSync(addon)) return { addon, libtorch: search.libtorch };
  looked.push({ place: addon, found: "no such file" });
  return null;
}

const loaded = load();

/** @type {import("./addon.d.mts").NativeAddon} */
export const native = loaded.native;

/** The libtorch that the addon was built for. */
export const libtorch = loaded.libtorch;
