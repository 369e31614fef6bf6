/**
 * Fetches the wheel of PyTorch, and unpacks what libtorch consists of into the cache. Resumable, verified, atomic;
 * shared by all projects of a user.
 */
import { createHash } from "node:crypto";
import { existsSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SetupError, explainFileError } from "./errors.mjs";
import { compareGpus } from "./gpu-builds.mjs";
import { examineGpus } from "./hardware.mjs";
import { WHOLE, describeLibtorch, findLibtorch, inspect, wrongVersion } from "./libtorch.mjs";
import { withLock } from "./lock.mjs";
import { requirementsOf } from "./markers.mjs";
import { SUPPORTED_TEXT, cacheFolder, isSupported, makeFolder } from "./places.mjs";
import { megabytes } from "./progress.mjs";
import { attemptsFor, chooseTorch, matchesDevice, quoted, setupWith } from "./torch-choice.mjs";
import { corrupt, isWanted, metadataOf, sha256Of, unpack } from "./unpack.mjs";
import { checkSpace, download, findFetcher, publishedHash, sizeOf } from "./wheel.mjs";
import { sizeText, spaceFor } from "./wheel-sizes.mjs";
import { checkSums, requiredIn, torchIn } from "./wheels-folder.mjs";

/** What to do where the indexes have no such wheel, or cannot be reached. */
const OFFER = {
  code: "NBIT_TORCH_NOT_OFFERED",
  fix: (offered) =>
    offered
      ? `export NBIT_TORCH_SPEC=torch==${offered.split(", ").at(-1)}   # any in ${SUPPORTED_TEXT}`
      : `export LIBTORCH=/path/to/libtorch   # an unpacked libtorch ${SUPPORTED_TEXT}; or use a Python for which wheels exist`,
  otherwise: `; or ${setupWith("--wheels FOLDER")}, with the wheel from a machine that has a network`,
};

/**
 * @param {import("./progress.mjs").Progress} progress
 * @param {{ choice?: import("./torch-choice.mjs").Choice, headers?: (cuda: boolean) => boolean }} [options] `headers`:
 * whether to keep also those that the addon is compiled with.
 * @returns {Promise<import("./libtorch.mjs").Libtorch>}
 */
export async function fetchLibtorch(progress, { choice = chooseTorch(), headers: keepHeaders = () => true } = {}) {
  const cache = makeFolder(cacheFolder());
  const { looked } = findLibtorch(choice);
  const fetcher = choice.wheels === null ? findFetcher("libtorch", looked) : null;
  const pinned = /^torch==(\d+\.\d+[\w.+]*)$/.exec(choice.spec.replace(/\s/g, ""))?.[1];
  if (pinned !== undefined && !isSupported(pinned)) throw unsupportedSpec(choice.spec, pinned);
  const gpus = choice.device === "cpu" ? { usable: false, why: null } : compareGpus(choice, examineGpus().devices);
  if (gpus.why !== null) progress.note(gpus.why + (gpus.usable ? "; the others are used" : "; it stays idle"));
  const headers = keepHeaders(choice.device === "cuda" || (choice.device === null && gpus.usable));
  return withLock(
    join(cache, "libtorch.lock"),
    async () => {
      const { libtorch } = findLibtorch(choice); // another set-up may have finished it while we waited
      if (libtorch !== null && (libtorch.headers || !headers)) return libtorch;
      return fetchInto(cache, { choice, headers, fetcher, gpu: gpus.usable }, progress);
    },
    (holder, wait) => progress.step("libtorch", `waiting for ${holder}, which fetches it`, wait),
  );
}

async function fetchInto(cache, { choice, headers, fetcher, gpu }, progress) {
  const cuda = choice.device === "cuda" || (choice.device === null && gpu);
  const work = makeFolder(join(cache, "downloads", nameOf(choice)));
  checkSpace(cache, spaceFor(cuda, headers) - sizeOf(work));
  const stage = join(work, "unpacked");
  const wanted = (name) => isWanted(name, headers);
  const wheels =
    fetcher === null
      ? await fromFolder(choice, work, headers, progress).catch(blameOwner)
      : await fromIndexes({ choice, fetcher, gpu, work, headers, size: sizeText(cuda, headers) }, progress);
  const unpacking = progress.step("libtorch", "unpacking and verifying", async (update) => {
    for (const wheel of wheels) await unpack(wheel, stage, work, update, wanted);
    update(`unpacked and verified ${megabytes(sizeOf(stage))}`);
  });
  await (fetcher === null ? unpacking.catch(blameOwner) : unpacking);
  const found = inspect(join(stage, "torch"), headers);
  if (typeof found === "string") throw corrupt(work, `the wheel unpacked to ${stage} is not a libtorch: ${found}`);
  refuseOthers(choice, found, work);
  const sha256 = publishedHash(wheels[0]) ?? (await hashOf(wheels[0]));
  return keep(cache, { choice, found, stage, work, sha256 }, progress);
}

/** What an index published, or what came: for whoever wants to compare later. */
async function hashOf(wheel) {
  return statSync(wheel).isDirectory() ? null : sha256Of(wheel);
}

function nameOf({ spec, device, local, wheels }) {
  const text = [spec, device ?? "", local ?? "", wheels ?? ""].join("\n").trim();
  return createHash("sha256").update(text).digest("hex").slice(0, 12);
}

async function fromIndexes({ choice, fetcher, gpu, work, headers, size }, progress) {
  let refused = null;
  for (const { requirement, index, only } of attemptsFor(choice, gpu)) {
    const from = index === null ? [] : [`--${only ? "" : "extra-"}index-url=${index}`];
    const what = [requirement, "--no-deps", ...ANY_PYTHON, ...from];
    const where = index === null ? "" : ` from ${new URL(index).host}`;
    try {
      const fetched = await progress.step("libtorch", `fetching ${requirement}${where}: ${size}`, (update) =>
        download(fetcher, what, join(work, "wheel"), requirement, update, OFFER),
      );
      return await withRequired(fetched, { fetcher, work, headers }, progress);
    } catch (error) {
      const next = error.code === OFFER.code || (error.code === "NBIT_NO_NETWORK" && index !== null);
      if (!next) throw error;
      refused = refused === null || error.code === OFFER.code ? error : refused;
    }
  }
  throw refused;
}

/** One wheel serves every Python, since nothing of it is imported. */
const MACHINE = process.arch === "arm64" ? "aarch64" : "x86_64";
const ANY_PYTHON = [
  "--python-version=3.11",
  "--implementation=cp",
  "--abi=cp311",
  ...["manylinux_2_28", "manylinux_2_34", "manylinux_2_17", "manylinux2014", "linux"].map(
    (name) => `--platform=${name}_${MACHINE}`,
  ),
];

/** A build for CUDA asks for NVIDIA's libraries. */
async function withRequired(fetched, { fetcher, work, headers }, progress) {
  const requires = fetched.flatMap((wheel) => nvidiaOf(metadataOf(wheel, work)));
  if (requires.length === 0) return fetched;
  const texts = requires.map(({ text }) => (headers ? withHeaders(text) : text));
  const more = await progress.step("libtorch", "fetching its CUDA libraries", (update) =>
    download(fetcher, texts, join(work, "cuda"), texts.join(" "), inShort(update, texts), OFFER),
  );
  return [...fetched, ...more];
}

/** A dozen requirements are no progress line. */
const inShort = (update, texts) => (text, note) => update(text.replace(texts.join(" "), "its CUDA libraries"), note);

const nvidiaOf = (metadata, extras) =>
  metadata.flatMap((text) => requirementsOf(text, extras)).filter(({ name }) => /^(nvidia-|cuda-toolkit$)/.test(name));

async function fromFolder(choice, work, headers, progress) {
  const torch = torchIn(choice);
  const requires = nvidiaOf(metadataOf(torch, work)).map((each) =>
    headers && each.name === "cuda-toolkit" ? { ...each, extras: [...each.extras, "cccl", "crt"] } : each,
  );
  const more = requiredIn(choice.wheels, requires, (wheel, extras) => nvidiaOf(metadataOf(wheel, work), extras));
  const wheels = [torch, ...more];
  await progress.step(
    "libtorch",
    `taking ${wheels.length === 1 ? torch : `${wheels.length} wheels of ${choice.wheels}`}`,
    async () => {
      for (const wheel of wheels) await checkSums(choice.wheels, wheel, work);
    },
  );
  return wheels;
}

/** A wheel of a folder is not ours to remove, and nothing fetches it again. */
function blameOwner(error) {
  if (error.code !== "NBIT_DOWNLOAD_CORRUPT" || error.wheel === undefined) throw error;
  throw new SetupError(error.code, {
    problem: `${error.wheel} is damaged.`,
    details: error.details,
    fix: `rm ${quoted(error.wheel)}   # and copy it again`,
    cause: error,
  });
}

function refuseOthers(choice, found, work) {
  if (!isSupported(found.version)) {
    rmSync(work, { recursive: true, force: true });
    throw unsupportedSpec(choice.spec, found.version);
  }
  if (matchesDevice(choice, found)) return;
  rmSync(work, { recursive: true, force: true });
  throw new SetupError(OFFER.code, {
    problem: `--${choice.device} was asked for, and the indexes have ${describeLibtorch(found)} under this name.`,
    fix: choice.device === "cuda" ? setupWith("--cpu") : setupWith("--cuda"),
  });
}

function keep(cache, { choice, found, stage, work, sha256 }, progress) {
  const target = join(cache, `libtorch-${found.version}-${found.variant}`);
  try {
    const sizes = Object.fromEntries(WHOLE.map((file) => [file, statSync(join(stage, "torch", file)).size]));
    const { version, variant } = found;
    writeFileSync(join(stage, "nbit.json"), JSON.stringify({ spec: choice.spec, version, variant, sha256, sizes }));
    // Half of one, or without headers: findLibtorch would have taken it otherwise. Who has it open keeps it.
    if (existsSync(target)) renameSync(target, join(work, "old"));
    renameSync(stage, target);
    rmSync(work, { recursive: true, force: true });
  } catch (error) {
    throw explainFileError(error, target);
  }
  const libtorch = { ...inspect(join(target, "torch")), origin: "fetched" };
  progress.note(`${describeLibtorch(libtorch)} is in ${target}${sha256 === null ? "" : `; wheel sha256 ${sha256}`}`);
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
