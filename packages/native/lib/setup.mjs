/**
 * Everything native that has to exist before the addon loads: libtorch and the addon built for it. Fast when nothing is
 * to do.
 */
import { buildAddon, readInstalled } from "./addon-build.mjs";
import { planAddon } from "./addon-plan.mjs";
import { findCompiler, noCompiler } from "./compiler.mjs";
import { fetchLibtorch } from "./fetch-libtorch.mjs";
import { findLibtorch } from "./libtorch.mjs";
import { checkPlatform } from "./places.mjs";
import { Progress } from "./progress.mjs";
import { endChildren } from "./run.mjs";

/**
 * Finds or fetches libtorch, then builds and installs the addon for it, unless that is done.
 *
 * Resumes an interrupted run, and waits for another one that does the same.
 *
 * @param {{ progress?: Progress }} [options]
 * @returns {Promise<{ libtorch: import("./libtorch.mjs").Libtorch, built: boolean }>} `built` is false when nothing was
 * to do.
 * @throws {SetupError} With a stable code and the command that fixes it.
 */
export async function setupNative({ progress = new Progress() } = {}) {
  checkPlatform();
  const stop = (signal) => {
    endChildren();
    process.exit(signal === "SIGINT" ? 130 : 143);
  };
  process.once("SIGINT", stop).once("SIGTERM", stop);
  try {
    let { libtorch } = findLibtorch();
    if (libtorch === null) {
      if (findCompiler() === null) throw noCompiler(); // said before minutes of fetching what could not be used
      libtorch = await fetchLibtorch(progress);
    }
    const installed = readInstalled();
    const compiler = findCompiler();
    if (compiler === null) {
      // A machine that has lost its compiler since: what is installed goes on working.
      if (
        installed !== null &&
        installed.libtorch.path === libtorch.path &&
        planAddon(libtorch, { program: "", version: installed.compiler }).key === installed.key
      )
        return { libtorch, built: false };
      throw noCompiler();
    }
    const plan = planAddon(libtorch, compiler);
    if (installed?.key === plan.key) return { libtorch, built: false };
    await buildAddon(plan, libtorch, compiler, progress);
    if (plan.withoutCuda !== null) progress.note(`built without CUDA: ${plan.withoutCuda}`);
    return { libtorch, built: true };
  } finally {
    process.removeListener("SIGINT", stop).removeListener("SIGTERM", stop);
  }
}

export { Progress } from "./progress.mjs";
export { SetupError } from "./errors.mjs";
