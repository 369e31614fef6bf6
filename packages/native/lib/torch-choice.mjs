/** Which libtorch is asked for: by flags of set-up, else by NBIT_TORCH_SPEC, else whatever suits this machine. */
import { existsSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { SetupError } from "./errors.mjs";
import { PINNED_SPEC, SETUP_COMMAND, SUPPORTED_TEXT, isSupported, splitVersion } from "./places.mjs";

/** Where PyTorch's own builds are, beside the indexes that pip is configured with: a folder for each variant. */
const PYTORCH_INDEX = "https://download.pytorch.org/whl";
export const PINNED_VERSION = PINNED_SPEC.replace("torch==", "");

/**
 * @typedef {object} Choice
 * @property {string} spec As a requirement, for messages and for knowing again what was fetched for it.
 * @property {string | null} version "2.14" or "2.14.1"; null where only the requirement says.
 * @property {string | null} local Variant that was named: "cu126".
 * @property {"cpu" | "cuda" | null} device
 * @property {boolean} explicit Somebody asked: nothing else will do.
 * @property {boolean} verbatim The requirement is passed on as it is.
 * @property {string | null} wheels Folder of wheels to take instead of fetching.
 *
 * @typedef {{ requirement: string, index: string | null, only: boolean }} Attempt `index` is asked besides pip's own
 * indexes, or alone.
 */

/**
 * @param {{ cpu?: boolean, cuda?: boolean, torch?: string, wheels?: string }} [flags]
 * @returns {Choice}
 * @throws {SetupError} NBIT_SETUP_FLAGS, NBIT_TORCH_VERSION, NBIT_WHEELS_MISSING: before anything is looked for.
 */
export function chooseTorch({ cpu = false, cuda = false, torch, wheels } = {}) {
  if (cpu && cuda) throw wrongFlags("--cpu and --cuda", "one of them", setupWith("--cpu"));
  const folder = wheels === undefined ? null : wheelsFolder(wheels);
  const device = cpu ? "cpu" : cuda ? "cuda" : null;
  if (torch === undefined && device === null) return fromEnvironment(folder);
  const { release, local } = checkVersion(torch ?? PINNED_VERSION);
  const named = local === "" ? null : local;
  const ofLocal = named === null ? device : named === "cpu" ? "cpu" : "cuda";
  if (device !== null && device !== ofLocal)
    throw wrongFlags(`--torch ${torch} and --${device}`, "one variant", setupWith(`--torch ${torch}`));
  return {
    spec: exact(release) ? `torch==${release}${named === null ? "" : `+${named}`}` : `torch==${release}.*`,
    version: release,
    local: named,
    device: ofLocal,
    explicit: true,
    verbatim: false,
    wheels: folder,
  };
}

function checkVersion(text) {
  const version = text.trim();
  if (!/^\d+\.\d+(\.\d+(\+\w+)?)?$/.test(version))
    throw wrongFlags(
      `--torch ${text}`,
      `a version such as 2.14, ${PINNED_VERSION} or ${PINNED_VERSION}+cpu`,
      setupWith("--torch 2.14"),
    );
  if (isSupported(version)) return splitVersion(version);
  throw new SetupError("NBIT_TORCH_VERSION", {
    problem: `nbit works with libtorch ${SUPPORTED_TEXT}. Received: --torch ${version}.`,
    fix: setupWith(`--torch ${PINNED_VERSION}`),
  });
}

/** Set-up with flags, where `npm run build` takes them behind two hyphens. */
export function setupWith(flags) {
  return `${SETUP_COMMAND}${SETUP_COMMAND.startsWith("npm ") ? " --" : ""} ${flags}`;
}

function fromEnvironment(wheels) {
  const spec = process.env["NBIT_TORCH_SPEC"]?.trim();
  if (!spec) return { ...NOTHING, spec: PINNED_SPEC, version: PINNED_VERSION, wheels };
  const pinned = /^torch==(\d+\.\d+\.\d+)(?:\+(\w+))?$/.exec(spec.replace(/\s/g, ""));
  const [version, local] = [pinned?.[1] ?? null, pinned?.[2] ?? null];
  return { ...NOTHING, spec, version, local, explicit: true, verbatim: true, wheels };
}

const NOTHING = { version: null, local: null, device: null, explicit: false, verbatim: false };

function wheelsFolder(path) {
  const folder = resolve(path);
  if (existsSync(folder) && statSync(folder).isDirectory()) return folder;
  throw new SetupError("NBIT_WHEELS_MISSING", {
    problem: `--wheels names a folder with the wheel of PyTorch. Received: ${folder}, which is no folder.`,
    fix: downloadCommand(folder, `${PINNED_SPEC}+cpu`),
  });
}

/** What to run where there is a network. */
export function downloadCommand(folder, requirement) {
  return `python3 -m pip download --only-binary=:all: --no-deps --python-version=3.11 --platform=manylinux_2_28_${process.arch === "arm64" ? "aarch64" : "x86_64"} -d ${quoted(folder)} ${quoted(requirement)}   # where there is a network; then copy the folder`;
}

/** As a shell reads it. */
export function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

function wrongFlags(received, expected, fix) {
  return new SetupError("NBIT_SETUP_FLAGS", { problem: `set-up: expected ${expected}. Received: ${received}.`, fix });
}

const exact = (version) => /^\d+\.\d+\.\d+$/.test(version);

/** Whether a libtorch that is here already is what was asked for. Without a question every supported one is. */
export function accepts(choice, libtorch, fetchedFor) {
  if (!choice.explicit || fetchedFor === choice.spec) return matchesDevice(choice, libtorch);
  if (choice.version === null) return false; // a range, or a wheel's path
  const sameVersion = exact(choice.version)
    ? libtorch.version === choice.version
    : libtorch.version.startsWith(`${choice.version}.`);
  return sameVersion && (choice.local === null || choice.local === libtorch.variant) && matchesDevice(choice, libtorch);
}

/** To fetch exactly this one again. */
export function buildOf({ version, variant, cuda }) {
  const local = /^(cpu|cu\d+)$/.test(variant) ? { device: cuda ? "cuda" : "cpu" } : {};
  return { ...NOTHING, spec: `torch==${version}`, version, explicit: true, ...local };
}

/** Also of what was fetched: an index may have another build under this name. */
export function matchesDevice({ device }, libtorch) {
  return device === null || (device === "cuda") === libtorch.cuda;
}

/**
 * What pip is asked for, one after the other until there is one.
 *
 * @param {Choice} choice
 * @param {boolean} gpu Whether there is one that builds for CUDA serve, where nobody has asked for either.
 * @returns {Attempt[]}
 */
export function attemptsFor(choice, gpu) {
  const { spec, version, local } = choice;
  const device = choice.device ?? (gpu ? "cuda" : "cpu");
  const at = (requirement, variant = null, only = false) => ({
    requirement,
    index: variant === null ? null : `${PYTORCH_INDEX}/${variant}`,
    only,
  });
  if (choice.verbatim) return [at(spec)];
  const named = local ?? (device === "cpu" ? "cpu" : null);
  // Nobody named a variant: where there is none for CPUs alone, any will do.
  const any = choice.device === null ? [at(exact(version) ? `torch==${version}` : spec)] : [];
  if (named === null) return exact(version) ? [at(`torch==${version},!=${version}+cpu`), ...any] : [at(spec)];
  const offline = process.env["PIP_NO_INDEX"] === "1";
  if (!exact(version)) return [...(offline ? [] : [at(spec, named, true)]), ...any];
  const full = `torch==${version}+${named}`;
  return [at(full), ...(offline ? [] : [at(full, named)]), ...any];
}
