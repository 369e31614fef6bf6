/** Loads the host of plugins. Every load is an environment of its own, with handles of its own. */
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { SETUP_COMMAND, SetupError, choosePrebuiltLibrary, findCompiler } from "@nbit/native/build";
import { installed } from "./places.mjs";
import { hostSources, planHost } from "./plan.mjs";

/**
 * The copy in the package; without set-up, or where that cannot be written to, the one that was built elsewhere, or that
 * set-up has built into the cache.
 */
export function findAddon() {
  if (existsSync(installed.file)) return installed.file;
  const chosen = choosePrebuiltLibrary("xla", hostSources());
  if (chosen.reason === null) return chosen.path;
  const compiler = findCompiler();
  const built = compiler === null ? null : planHost(compiler).built;
  if (built !== null && existsSync(built)) return built;
  throw new SetupError("NBIT_NOT_SET_UP", {
    problem: "the host of PJRT plugins has not been built for this copy of @nbit/xla.",
    looked: [installed.file, built ?? "a built one in the cache"].map((place) => ({ place, found: "no such file" })),
    fix: SETUP_COMMAND,
  });
}

export function loadAddon() {
  const module = { exports: {} };
  const path = findAddon();
  try {
    process.dlopen(module, path, constants.dlopen.RTLD_NOW);
  } catch (error) {
    throw new SetupError("NBIT_LOAD_FAILED", {
      problem: "the host of PJRT plugins is there, but does not load.",
      looked: [{ place: path, found: "there" }],
      details: error.message,
      fix: SETUP_COMMAND,
      cause: error,
    });
  }
  return module.exports;
}
