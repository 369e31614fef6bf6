/** Wheels from pip's indexes: fetched, unpacked, verified. An interrupted run goes on where it stopped. */
import { existsSync, readFileSync, readdirSync, renameSync, rmSync, statSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { FULL, SetupError, diskFull, installCommand } from "./errors.mjs";
import { SETUP_COMMAND, makeFolder } from "./places.mjs";
import { megabytes } from "./progress.mjs";
import { ask, inPath, run } from "./run.mjs";

const UNPACKER = fileURLToPath(new URL("./unpack_wheel.py", import.meta.url));

/**
 * Python with pip, which fetches wheels.
 *
 * @param {string} what It is needed for.
 * @param {readonly import("./errors.mjs").Looked[]} looked
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
  if (ask(python, ["-m", "pip", "--version"]) === null) {
    throw new SetupError("NBIT_NO_PIP", {
      problem: `pip is needed to fetch ${what}, and ${python} has none.`,
      looked: [...looked, { place: `${python} -m pip`, found: "does not run" }],
      fix: installCommand({ apt: "python3-pip", dnf: "python3-pip", pacman: "python-pip" }),
    });
  }
  return python;
}

/** Refuses early what would otherwise fail after minutes of downloading. */
export function checkSpace(folder, needed) {
  const { bavail, bsize } = statfsSync(folder);
  if (bavail * bsize < needed) throw diskFull(folder, null, bavail * bsize);
}

/**
 * The wheels in `folder`, downloaded unless a run before this one has. pip writes elsewhere first: a wheel in `folder`
 * is whole.
 *
 * @param {string} python
 * @param {readonly string[]} what Requirements and options of `pip download`.
 * @param {string} folder
 * @param {string} spec The requirement, in words.
 * @param {(text: string) => void} update
 * @param {{ code: string, fix: (offered?: string) => string, otherwise: string }} offer What to do where pip's indexes
 * have none, and after "repair the network".
 */
export async function download(python, what, folder, spec, update, offer) {
  const wheels = () =>
    existsSync(folder)
      ? readdirSync(folder)
          .filter((n) => n.endsWith(".whl"))
          .map((n) => join(folder, n))
      : [];
  if (wheels().length > 0) return wheels();
  const incoming = `${folder}.incoming`;
  const log = `${folder}.log`;
  rmSync(incoming, { recursive: true, force: true });
  rmSync(log, { force: true });
  const temporary = makeFolder(join(incoming, "tmp"));
  let total = 0;
  const timer = setInterval(
    () => update(`fetching ${spec} ${megabytes(sizeOf(incoming))}${total > 0 ? ` of ${megabytes(total)}` : ""}`),
    300,
  );
  const args = [
    "-m",
    "pip",
    "download",
    "--only-binary=:all:",
    "--disable-pip-version-check",
    "--no-input",
    "--no-cache-dir",
    "--progress-bar=off",
    "--retries=0",
    "--timeout=30",
    "--log",
    log,
    "--dest",
    incoming,
    ...what,
  ];
  const result = await run(python, args, {
    env: { ...process.env, TMPDIR: temporary },
    onOutput: (text) => {
      for (const [, number, unit] of text.matchAll(/Downloading \S+\.whl.* \(([\d.]+) ([kMG]B)\)/g))
        total += Number(number) * { kB: 1e3, MB: 1e6, GB: 1e9 }[unit];
    },
  });
  clearInterval(timer);
  if (result.status !== 0) {
    const said = existsSync(log) ? readFileSync(log, "utf8") : "";
    const error = explainPip(result, { spec, python, folder, offer }, said);
    rmSync(incoming, { recursive: true, force: true });
    throw error;
  }
  update(`fetched ${spec}`);
  rmSync(temporary, { recursive: true, force: true });
  rmSync(log, { force: true });
  renameSync(incoming, folder);
  return wheels();
}

function explainPip(result, { spec, python, folder, offer }, log) {
  const details =
    result.output
      .split("\n")
      .filter((line) => /^(ERROR|WARNING)/.test(line))
      .slice(-6)
      .join("\n") || result.output.slice(-600);
  const everything = result.output + log;
  if (FULL.test(everything)) return diskFull(folder, null);
  if (/(Permission denied|Read-only file system)/.test(result.output))
    return new SetupError("NBIT_CACHE_UNWRITABLE", {
      problem: `pip cannot write to ${folder}.`,
      details,
      fix: 'export XDG_CACHE_HOME="$(mktemp -d)"   # then run the same command again',
    });
  if (/THESE PACKAGES DO NOT MATCH THE HASHES|BadZipFile|invalid wheel|IncompleteRead/i.test(everything))
    return corrupt(folder, details);
  const offered = /\(from versions: (?!none)([^)]+)\)/.exec(result.output)?.[1];
  const looked = [
    { place: "indexes of pip", found: offered ? `offer ${offered}` : "offer nothing for this Python and platform" },
  ];
  const conflict = /ResolutionImpossible|conflicting dependencies/.test(result.output); // a constraints file of pip's, for example
  if (
    offered === undefined &&
    !conflict &&
    /NewConnectionError|Max retries exceeded|connection error|timed out|ConnectTimeout|NameResolution|ProxyError|SSLError|Could not fetch URL/i.test(
      everything,
    )
  ) {
    return new SetupError("NBIT_NO_NETWORK", {
      problem: `pip could not reach its indexes to fetch ${spec}.`,
      details,
      fix: `${python} -m pip download --no-deps ${spec}   # repair the network, proxy or index settings until this works${offer.otherwise}`,
    });
  }
  if (/No matching distribution|Could not find a version/.test(result.output)) {
    const pythonVersion = ask(python, ["--version"]) ?? python;
    return new SetupError(offer.code, {
      problem: `pip's indexes have no wheel for ${spec} (${pythonVersion}, ${process.platform}-${process.arch}).`,
      looked,
      details,
      fix: offer.fix(offered),
    });
  }
  return new SetupError("NBIT_PIP_FAILED", {
    problem: `pip could not fetch ${spec}.`,
    details,
    fix: `${python} -m pip download --no-deps ${spec}   # shows the whole story`,
  });
}

/**
 * Unpacks a wheel and checks each file against its RECORD; what is there already and right is kept.
 *
 * @param {string} work Folder that is forgotten when the wheel turns out to be damaged.
 * @param {string} [wanted] A regular expression of Python's for names; without it, what libtorch consists of.
 * @returns {Promise<string[]>} The CUDA packages that the wheel asks for.
 */
export async function unpack(python, wheel, stage, work, update, wanted) {
  makeFolder(stage);
  let last = {};
  const result = await run(python, [UNPACKER, wheel, stage, ...(wanted === undefined ? [] : [wanted])], {
    onOutput: (text) => {
      for (const line of text.split("\n")) {
        try {
          last = JSON.parse(line);
        } catch {
          continue; // the half of a line that a pipe may deliver; the last one comes again below
        }
        if (last.total) update(`unpacking and verifying ${megabytes(last.done)} of ${megabytes(last.total)}`);
      }
    },
  });
  try {
    last = JSON.parse(result.output.trim().split("\n").at(-1));
  } catch {
    last = {};
  }
  if (result.status === 0) return last.requires ?? [];
  if (last.error === "disk-full") throw diskFull(stage, new Error(last.message));
  if (last.error === "corrupt") throw corrupt(work, last.message);
  if (last.error === "unwritable")
    throw new SetupError("NBIT_CACHE_UNWRITABLE", {
      problem: `cannot write to ${stage}.`,
      details: last.message,
      fix: 'export XDG_CACHE_HOME="$(mktemp -d)"   # then run the same command again',
    });
  if (result.signal !== null)
    throw new SetupError("NBIT_INTERRUPTED", {
      problem: `unpacking was ended by ${result.signal}.`,
      fix: `${SETUP_COMMAND}   # goes on where it stopped`,
    });
  throw new SetupError("NBIT_UNPACK_FAILED", {
    problem: `the wheel ${wheel} could not be unpacked.`,
    details: result.output.slice(-2000),
    fix: `${python} ${UNPACKER} ${wheel} ${stage}   # shows the whole story`,
  });
}

/** What came is not what was published: forget it, so that the next run fetches afresh. */
export function corrupt(work, message) {
  rmSync(work, { recursive: true, force: true });
  return new SetupError("NBIT_DOWNLOAD_CORRUPT", {
    problem: `the fetched wheel is damaged; it has been removed.`,
    details: String(message),
    fix: `${SETUP_COMMAND}   # fetches it again`,
  });
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
