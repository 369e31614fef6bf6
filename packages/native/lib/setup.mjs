/**
 * Everything native that has to exist before the addon loads: libtorch and the addon built for it. Fast when nothing is
 * to do.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { buildAddon, readInstalled } from "./addon-build.mjs";
import { planAddon } from "./addon-plan.mjs";
import { findCompiler, noCompiler } from "./compiler.mjs";
import { fetchLibtorch } from "./fetch-libtorch.mjs";
import { findLibtorch, noHeaders } from "./libtorch.mjs";
import { checkPlatform, checkUser } from "./places.mjs";
import { cachedPrebuilt, choosePrebuilt, placePrebuilt, sourcesHash, whyNoneFor } from "./prebuilt.mjs";
import { Progress } from "./progress.mjs";
import { endChildren } from "./run.mjs";
import { buildOf, chooseTorch } from "./torch-choice.mjs";

/**
 * Finds or fetches libtorch, then installs the addon for it: a binary that came with the package of this platform, else
 * one that is compiled here, and why is said. Nothing where that is done.
 *
 * Resumes an interrupted run, and waits for another one that does the same.
 *
 * @param {{ progress?: Progress, cpu?: boolean, cuda?: boolean, torch?: string, wheels?: string }} [options] Which build of
 * libtorch, or a folder of wheels to take it from.
 * @returns {Promise<{ libtorch: import("./libtorch.mjs").Libtorch, built: boolean }>} `built` is false when nothing was
 * to do.
 * @throws {SetupError} With a stable code and the command that fixes it.
 */
export async function setupNative({ progress = new Progress(), ...which } = {}) {
  checkPlatform();
  checkUser();
  const choice = chooseTorch(which);
  const stop = (signal) => {
    endChildren();
    process.exit(signal === "SIGINT" ? 130 : 143);
  };
  process.once("SIGINT", stop).once("SIGTERM", stop);
  try {
    let libtorch = findLibtorch(choice).libtorch ?? (await fetchIt(choice, progress));
    const installed = readInstalled();
    const chosen = choosePrebuilt(libtorch);
    if (chosen.reason === null && (installed?.key ?? inCache(chosen)) === chosen.key) return { libtorch, built: false };
    const { reason: why, tried } = chosen.reason === null ? await place(chosen, libtorch, installed, progress) : chosen;
    if (why === undefined) return { libtorch, built: true };
    const compiler = findCompiler();
    if (compiler === null) {
      // A machine that has lost its compiler since, or the package of binaries: what is installed goes on working.
      if (installed !== null && isUpToDate(installed, libtorch)) return { libtorch, built: false };
      throw noCompiler(undefined, undefined, why);
    }
    if (!libtorch.headers) libtorch = await withHeaders(libtorch, choice, progress);
    const plan = planAddon(libtorch, compiler);
    if (installed?.key === plan.key) return { libtorch, built: false };
    if (!existsSync(join(plan.folder, "nbit.node"))) progress.note(`compiling the addon here: ${why}`);
    await buildAddon(plan, libtorch, compiler, progress, { why, refused: tried ? chosen.key : null });
    if (plan.withoutCuda !== null) progress.note(`built without CUDA: ${plan.withoutCuda}`);
    return { libtorch, built: true };
  } finally {
    process.removeListener("SIGINT", stop).removeListener("SIGTERM", stop);
  }
}

async function fetchIt(choice, progress) {
  // said before minutes of fetching what could not be used
  const none = whyNoneFor(choice.spec);
  if (none !== null && findCompiler() === null) throw noCompiler(undefined, undefined, none);
  return fetchLibtorch(progress, { choice, headers: (cuda) => whyNoneFor(choice.spec, cuda) !== null });
}

/** A binary's key where the package cannot be written to and it has been placed in the cache. */
function inCache(chosen) {
  return existsSync(cachedPrebuilt(chosen)) ? chosen.key : null;
}

function isUpToDate({ key, libtorch: { path, version }, compiler, sources }, libtorch) {
  if (path !== libtorch.path || version !== libtorch.version) return false;
  return sources === undefined
    ? planAddon(libtorch, { program: "", version: compiler }).key === key
    : sources === sourcesHash();
}

/** What `placePrebuilt` answers; from memory where it has been tried before. */
async function place(chosen, libtorch, installed, progress) {
  if (installed?.refused === chosen.key) return { reason: installed.why, tried: true };
  return progress.step("addon", `placing ${chosen.binary.file} of ${chosen.package}`, async () =>
    placePrebuilt(chosen, libtorch),
  );
}

/** One that was unpacked for a binary lacks them. */
async function withHeaders(libtorch, choice, progress) {
  if (libtorch.origin === "cache" || libtorch.origin === "fetched")
    return fetchLibtorch(progress, { choice: { ...choice, ...buildOf(libtorch) } });
  throw noHeaders(libtorch);
}

export { Progress } from "./progress.mjs";
export { SetupError } from "./errors.mjs";
export { readSetupFlags } from "./setup-flags.mjs";
