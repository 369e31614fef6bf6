/** Wheels, fetched by pip or by uv, whichever is there. An interrupted run goes on where it stopped. */
import {
  existsSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  statfsSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { SetupError, diskFull, installCommand } from "./errors.mjs";
import { runPip } from "./pip.mjs";
import { makeFolder } from "./places.mjs";
import { megabytes } from "./progress.mjs";
import { ask, inPath } from "./run.mjs";
import { corrupt, sha256Of } from "./unpack.mjs";
import { runUv } from "./uv.mjs";

/** @typedef {{ tool: "pip" | "uv", program: string, version: string }} Fetcher `program` is Python's, for pip. */

/**
 * Python with pip, which fetches wheels.
 *
 * @param {string} what It is needed for.
 * @param {readonly import("./errors.mjs").Looked[]} looked
 * @returns {Fetcher}
 */
export function findPython(what, looked) {
  const python = inPath("python3");
  if (python === null) {
    throw new SetupError("NBIT_NO_PYTHON", {
      problem: `python3 is needed to fetch ${what}, and there is none in PATH.`,
      looked,
      fix: installCommand({ apt: "python3 python3-pip", dnf: "python3 python3-pip", pacman: "python python-pip" }),
    });
  }
  const version = /^pip (\d+(?:\.\d+)*)/.exec(ask(python, ["-m", "pip", "--version"]) ?? "")?.[1];
  if (version !== undefined) return { tool: "pip", program: python, version };
  if (!/^Python 3\./.test(ask(python, ["--version"]) ?? "")) {
    throw new SetupError("NBIT_NO_PYTHON", {
      problem: `python3 is needed to fetch ${what}, and ${python} does not run.`,
      looked: [...looked, { place: `${python} --version`, found: "does not answer with its version" }],
      fix: `${python} --version   # repair or reinstall this Python until it answers, or put another first in PATH; uv will do as well`,
    });
  }
  throw new SetupError("NBIT_NO_PIP", {
    problem: `pip is needed to fetch ${what}, and ${python} has none.`,
    looked: [...looked, { place: `${python} -m pip`, found: "does not run" }],
    fix: installCommand({ apt: "python3-pip", dnf: "python3-pip", pacman: "python-pip" }),
  });
}

/**
 * pip, or uv where there is no pip that runs.
 *
 * @param {string} what
 * @param {readonly import("./errors.mjs").Looked[]} looked
 * @returns {Fetcher}
 */
export function findFetcher(what, looked) {
  const uv = inPath("uv");
  const version = uv === null ? undefined : /^uv (\d+(?:\.\d+)*)/.exec(ask(uv, ["--version"]) ?? "")?.[1];
  try {
    return findPython(what, [...looked, { place: "uv", found: uv === null ? "not in PATH" : "does not run" }]);
  } catch (error) {
    if (version !== undefined) return { tool: "uv", program: uv, version };
    throw error;
  }
}

/** Refuses early what would otherwise fail after minutes of downloading. */
export function checkSpace(folder, needed) {
  const { bavail, bsize } = statfsSync(folder);
  if (bavail * bsize >= needed) return;
  throw diskFull(folder, null, bavail * bsize, `${megabytes(needed)} there while it unpacks`);
}

/** Beside the wheels of a folder: what an index said of each. */
const HASHES = "sha256.json";

/**
 * The wheels in `folder`, downloaded unless a run before this one has. They come to be elsewhere first: what is in
 * `folder` is whole.
 *
 * @param {Fetcher} fetcher
 * @param {readonly string[]} what Requirements and options of `pip download`.
 * @param {string} folder
 * @param {string} spec The requirement, in words.
 * @param {(text: string, note?: boolean) => void} update
 * @param {{ code: string, fix: (offered?: string) => string, otherwise: string }} offer What to do where the indexes
 * have none, and after "repair the network".
 * @returns {Promise<string[]>} Wheels; of uv's one folder that holds what was in them.
 */
export async function download(fetcher, what, folder, spec, update, offer) {
  const there = wheelsIn(folder);
  if (there.length > 0) {
    for (const wheel of there) await checkHash(wheel);
    return there;
  }
  const incoming = `${folder}.incoming`;
  rmSync(incoming, { recursive: true, force: true });
  makeFolder(join(incoming, "tmp"));
  let total = 0;
  const timer = setInterval(
    () => update(`fetching ${spec}: ${megabytes(sizeOf(incoming))}${total > 0 ? ` of ${megabytes(total)}` : ""}`),
    300,
  );
  const call = { fetcher, what, folder, incoming, spec, offer, update, onSize: (bytes) => (total += bytes) };
  try {
    const hashes = await (fetcher.tool === "pip" ? runPip(call) : runUv(call));
    writeFileSync(join(incoming, HASHES), JSON.stringify(hashes));
  } catch (error) {
    rmSync(incoming, { recursive: true, force: true });
    throw error;
  } finally {
    clearInterval(timer);
  }
  update(`fetched ${spec}`);
  rmSync(join(incoming, "tmp"), { recursive: true, force: true });
  renameSync(incoming, folder);
  const wheels = wheelsIn(folder);
  for (const wheel of wheels) await checkHash(wheel);
  return wheels;
}

function wheelsIn(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.endsWith(".whl") || name === "tree")
    .map((name) => join(folder, name));
}

/** What an index has published of a wheel, in hex; null where none has. */
export function publishedHash(wheel) {
  try {
    return JSON.parse(readFileSync(join(wheel, "..", HASHES), "utf8"))[wheel.split("/").at(-1)] ?? null;
  } catch {
    return null;
  }
}

/** Also of what a run before this one has left: a disk may have lost some of it since. */
async function checkHash(wheel) {
  const expected = publishedHash(wheel);
  if (expected === null || statSync(wheel).isDirectory()) return; // a tree was checked by uv, and is against its RECORD
  const got = await sha256Of(wheel);
  if (got !== expected) throw corrupt(join(wheel, ".."), `${wheel}: the index says sha256 ${expected}, it has ${got}`);
}

/** Bytes of all files below a folder. */
export function sizeOf(folder) {
  let sum = 0;
  try {
    for (const entry of readdirSync(folder, { withFileTypes: true }))
      sum += entry.isDirectory() ? sizeOf(join(folder, entry.name)) : statSync(join(folder, entry.name)).size;
  } catch {
    // pip moves its files while we look
  }
  return sum;
}
