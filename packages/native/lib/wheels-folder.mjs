/** The offline way: wheels that somebody has put into a folder. No Python is needed, and no network. */
import { existsSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { SetupError } from "./errors.mjs";
import { accepts, downloadCommand, quoted } from "./torch-choice.mjs";
import { sha256Of } from "./unpack.mjs";

const MACHINE = process.arch === "arm64" ? "aarch64" : "x86_64";

/** @returns {{ path: string, name: string, version: string }[]} Those that run on this machine. */
function wheelsIn(folder) {
  return readdirSync(folder)
    .map((file) => ({ file, parts: /^([\w.]+)-([^-]+)(?:-\d[^-]*)?-[^-]+-[^-]+-([^-]+)\.whl$/.exec(file) }))
    .filter(({ parts }) => parts !== null && parts[3].split(".").some(fitsHere))
    .map(({ file, parts: [, name, version] }) => ({ path: join(folder, file), name: normal(name), version }));
}

const fitsHere = (platform) => platform === "any" || (/linux/.test(platform) && platform.endsWith(MACHINE));
const normal = (name) => name.toLowerCase().replace(/[-_.]+/g, "-");

/**
 * The wheel of PyTorch for a choice: of several the newest, and a build for CPUs first unless one for CUDA is asked for.
 *
 * @param {import("./torch-choice.mjs").Choice} choice
 * @throws {SetupError} NBIT_WHEELS_MISSING with what is in the folder, and how to fill it.
 */
export function torchIn(choice) {
  const { wheels: folder, spec } = choice;
  const all = wheelsIn(folder).filter(({ name }) => name === "torch");
  const fitting = all
    .filter(({ version }) => fits(choice, version))
    .sort((a, b) => rank(choice, b.version) - rank(choice, a.version) || compare(b.version, a.version));
  if (fitting.length > 0) return fitting[0].path;
  throw new SetupError("NBIT_WHEELS_MISSING", {
    problem: `${folder} has no wheel of PyTorch for ${spec} on ${process.platform}-${process.arch}.`,
    looked: (all.length > 0 ? all.map(({ path }) => path) : [`${folder}/torch-*.whl`]).map((place) => ({
      place,
      found: all.length > 0 ? "another version or variant" : "none for this platform",
    })),
    fix: downloadCommand(folder, spec.includes("*") || spec.includes("+") ? spec : `${spec}+cpu`),
  });
}

function fits(choice, full) {
  const [version, local] = full.split("+");
  if (choice.device === "cpu" && local !== undefined && local !== "cpu") return false;
  if (choice.device === "cuda" && local === "cpu") return false;
  const variant = local ?? choice.local ?? "";
  return accepts({ ...choice, device: null }, { version, variant }, undefined);
}

const rank = ({ device }, version) => Number(device !== "cuda" && version.endsWith("+cpu"));

function compare(a, b) {
  const [left, right] = [a, b].map((version) => version.split(/[.+]/).map((part) => Number.parseInt(part, 10) || 0));
  return left[0] - right[0] || left[1] - right[1] || left[2] - right[2];
}

/**
 * The wheels that another one requires, and those that these require in turn.
 *
 * @param {string} folder
 * @param {readonly import("./markers.mjs").Requirement[]} requirements
 * @param {(wheel: string, extras: readonly string[]) => readonly import("./markers.mjs").Requirement[]} requiresOf
 */
export function requiredIn(folder, requirements, requiresOf) {
  const all = wheelsIn(folder);
  const found = new Map();
  const missing = [];
  const visit = ({ name, extras, text }) => {
    if (found.has(text)) return;
    const version = /==([\w.+]+)$/.exec(text)?.[1];
    const fitting = all.filter(
      (w) => w.name === normal(name) && (version === undefined || sameVersion(w.version, version)),
    );
    if (fitting.length === 0) return void missing.push(text);
    found.set(text, fitting[0].path);
    for (const each of requiresOf(fitting[0].path, extras)) visit(each);
  };
  for (const each of requirements) visit(each);
  if (missing.length === 0) return [...new Set(found.values())];
  throw new SetupError("NBIT_WHEELS_MISSING", {
    problem: `${folder} lacks ${missing.length} of the wheels that this build of PyTorch for CUDA requires.`,
    looked: missing.map((text) => ({ place: text, found: "no wheel for this platform" })),
    fix: `python3 -m pip download --only-binary=:all: -d ${quoted(folder)} ${missing.map(quoted).join(" ")}   # where there is a network`,
  });
}

/** `13.0.3` is `13.0.3.0`. */
const sameVersion = (a, b) => a.replace(/(\.0)+$/, "") === b.replace(/(\.0)+$/, "");

/** Compares with the folder's SHA256SUMS, where it has one that names the wheel. */
export async function checkSums(folder, wheel, work) {
  const sums = join(folder, "SHA256SUMS");
  if (!existsSync(sums)) return;
  const name = wheel.slice(folder.length + 1);
  const expected = readFileSync(sums, "utf8")
    .split("\n")
    .map((line) => /^([0-9a-f]{64}) [ *](?:\.\/)?(.+)$/.exec(line.trim()))
    .find((row) => row?.[2] === name)?.[1];
  if (expected === undefined) return;
  const got = await sha256Of(wheel);
  if (got === expected) return;
  rmSync(work, { recursive: true, force: true });
  throw new SetupError("NBIT_DOWNLOAD_CORRUPT", {
    problem: `${wheel} is not what SHA256SUMS beside it says.`,
    details: `expected sha256 ${expected}, got ${got}`,
    fix: `rm ${quoted(wheel)}   # and copy it again`,
  });
}
