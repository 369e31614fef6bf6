/**
 * Builds what a plan asks for unless it is in the cache, and installs it into this copy of the package.
 */
import { copyFileSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { FULL, explainFileError, packageDiskFull } from "./errors.mjs";
import { buildLibrary, proveAddon } from "./library.mjs";
import { describeLibtorch } from "./libtorch.mjs";
import { installedAddon, installedRecord, packageFolder } from "./places.mjs";

/**
 * @param {import("./addon-plan.mjs").Plan} plan
 * @param {import("./libtorch.mjs").Libtorch} libtorch
 * @param {{ program: string, version: string }} compiler
 * @param {import("./progress.mjs").Progress} progress
 * @param {{ why: string, refused: string | null }} instead Why no binary serves; the key of one that did not load.
 */
export async function buildAddon(plan, libtorch, compiler, progress, { why, refused }) {
  const built = join(plan.folder, "nbit.node");
  const { units, link } = plan;
  const against = describeLibtorch(libtorch);
  await buildLibrary(
    { name: "addon", root: packageFolder, units, link, against, built, prove: proveAddon },
    compiler,
    progress,
  );
  const { key, withoutCuda } = plan;
  installInto({ package: packageFolder, file: installedAddon, record: installedRecord }, built, {
    key,
    libtorch,
    compiler: compiler.version,
    node: process.version,
    withoutCuda,
    why,
    refused,
  });
}

/**
 * A copy per clone: a cache that is emptied later breaks nothing.
 *
 * @param {{ package: string, file: string, record: string }} places Folder of the package, the copy, and what is written
 * down of it.
 * @param {string} built
 * @param {object} facts
 */
export function installInto(places, built, facts) {
  const temporary = `${places.file}.${process.pid}.tmp`;
  try {
    mkdirSync(dirname(places.file), { recursive: true });
    copyFileSync(built, temporary);
    renameSync(temporary, places.file);
    const { size, mtimeMs } = statSync(places.file);
    const { key, ...others } = facts;
    writeFileSync(temporary, `${JSON.stringify({ key, size, mtimeMs, ...others }, null, 2)}\n`);
    renameSync(temporary, places.record);
  } catch (error) {
    rmSync(temporary, { force: true });
    if (FULL.test(error.code)) throw packageDiskFull(places.package, error);
    if (!["EACCES", "EROFS", "EPERM"].includes(error.code)) throw explainFileError(error, places.file);
    // The package itself is read-only (installed system-wide): the loader finds the addon in the cache.
  }
}

/** The record of an installed addon when that is whole, else null. */
export function readInstalled(places = { file: installedAddon, record: installedRecord }) {
  try {
    const record = JSON.parse(readFileSync(places.record, "utf8"));
    const { size, mtimeMs } = statSync(places.file);
    return record.size === size && record.mtimeMs === mtimeMs ? record : null;
  } catch {
    return null;
  }
}
