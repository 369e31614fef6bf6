/**
 * Fetches the wheel of PyTorch with pip, and unpacks its libraries and headers into the cache. Resumable, verified,
 * atomic.
 */
import { createHash } from "node:crypto";
import { existsSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { explainFileError } from "./errors.mjs";
import { describeLibtorch, findLibtorch, inspect, wrongVersion } from "./libtorch.mjs";
import { withLock } from "./lock.mjs";
import { SUPPORTED_TEXT, cacheFolder, isSupported, makeFolder, torchSpec } from "./places.mjs";
import { checkSpace, corrupt, download, findPython, sizeOf, unpack } from "./wheel.mjs";

/** What to do where pip's indexes have no such wheel, or cannot be reached. */
const OFFER = {
  code: "NBIT_TORCH_NOT_OFFERED",
  fix: (offered) =>
    offered
      ? `export NBIT_TORCH_SPEC=torch==${offered.split(", ").at(-1)}   # any in ${SUPPORTED_TEXT}`
      : `export LIBTORCH=/path/to/libtorch   # an unpacked libtorch ${SUPPORTED_TEXT}; or use a Python for which wheels exist`,
  otherwise: "; or set LIBTORCH to an unpacked libtorch",
};
const NEEDED_BYTES = 1e9; // the CPU wheel (0.2 GB) and what is unpacked from it (0.5 GB)

/**
 * @param {import("./progress.mjs").Progress} progress
 * @returns {Promise<import("./libtorch.mjs").Libtorch>}
 */
export async function fetchLibtorch(progress) {
  const cache = makeFolder(cacheFolder());
  const python = findPython("libtorch", findLibtorch().looked);
  return withLock(
    join(cache, "libtorch.lock"),
    async () => {
      const { libtorch } = findLibtorch(); // another set-up may have finished it while we waited
      if (libtorch !== null) return libtorch;
      return fetchInto(cache, python, progress);
    },
    (holder, wait) => progress.step("libtorch", `waiting for ${holder}, which fetches it`, wait),
  );
}

async function fetchInto(cache, python, progress) {
  const spec = torchSpec();
  const pinned = /^torch==(\d+\.\d+[\w.+]*)$/.exec(spec.replace(/\s/g, ""))?.[1];
  if (pinned !== undefined && !isSupported(pinned)) throw unsupportedSpec(spec, pinned);
  const work = makeFolder(join(cache, "downloads", createHash("sha256").update(spec).digest("hex").slice(0, 12)));
  checkSpace(cache, NEEDED_BYTES - sizeOf(work));
  const wheel = await progress.step("libtorch", `fetching ${spec}`, (update) =>
    download(python, [spec, "--no-deps"], join(work, "wheel"), spec, update, OFFER),
  );
  const stage = join(work, "unpacked");
  const requires = await progress.step("libtorch", "unpacking and verifying", (update) =>
    unpack(python, wheel[0], stage, work, update),
  );
  if (requires.length > 0) {
    await progress.step("libtorch", "fetching its CUDA libraries", async (update) => {
      const wheels = await download(
        python,
        requires.map(withHeaders),
        join(work, "cuda"),
        requires.join(" "),
        update,
        OFFER,
      );
      for (const each of wheels) await unpack(python, each, stage, work, update);
    });
  }
  const found = inspect(join(stage, "torch"));
  if (typeof found === "string") throw corrupt(work, `the wheel unpacked to ${stage} is not a libtorch: ${found}`);
  if (!isSupported(found.version)) {
    rmSync(work, { recursive: true, force: true });
    throw unsupportedSpec(spec, found.version);
  }
  const target = join(cache, `libtorch-${found.version}-${found.variant}`);
  try {
    writeFileSync(join(stage, "nbit.json"), JSON.stringify({ spec, version: found.version, variant: found.variant }));
    if (existsSync(target)) rmSync(target, { recursive: true, force: true }); // unusable, or findLibtorch would have taken it
    renameSync(stage, target);
    rmSync(work, { recursive: true, force: true });
  } catch (error) {
    throw explainFileError(error, target);
  }
  const libtorch = { ...inspect(join(target, "torch")), origin: "fetched" };
  progress.note(`${describeLibtorch(libtorch)} is in ${target}`);
  return libtorch;
}

function unsupportedSpec(spec, version) {
  return wrongVersion(
    `NBIT_TORCH_SPEC=${spec}`,
    version,
    `unset NBIT_TORCH_SPEC   # or set it to a version in ${SUPPORTED_TEXT}; then run the same command again`,
  );
}

/**
 * PyTorch asks for the toolkit's libraries; to compile against them takes the headers that every other one includes.
 */
export function withHeaders(requirement) {
  return requirement.replace(
    /^(cuda-toolkit)\[([^\]]*)\]/,
    (_, name, extras) => `${name}[${[...new Set([...extras.split(","), "cccl", "crt"])].join(",")}]`,
  );
}
