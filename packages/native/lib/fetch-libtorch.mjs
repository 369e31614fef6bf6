/**
 * Fetches the wheel of PyTorch with pip, and unpacks its libraries and headers into the cache. Resumable, verified,
 * atomic.
 */
import { createHash } from "node:crypto";
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
import { fileURLToPath } from "node:url";
import { FULL, SetupError, diskFull, explainFileError, installCommand } from "./errors.mjs";
import { describeLibtorch, findLibtorch, inspect, wrongVersion } from "./libtorch.mjs";
import { withLock } from "./lock.mjs";
import { SETUP_COMMAND, SUPPORTED_TEXT, cacheFolder, isSupported, makeFolder, torchSpec } from "./places.mjs";
import { megabytes } from "./progress.mjs";
import { ask, inPath, run } from "./run.mjs";

const UNPACKER = fileURLToPath(new URL("./unpack_wheel.py", import.meta.url));
const NEEDED_BYTES = 1e9; // the CPU wheel (0.2 GB) and what is unpacked from it (0.5 GB)

/**
 * @param {import("./progress.mjs").Progress} progress
 * @returns {Promise<import("./libtorch.mjs").Libtorch>}
 */
export async function fetchLibtorch(progress) {
  const cache = makeFolder(cacheFolder());
  const python = findPython();
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
  checkSpace(cache, sizeOf(work));
  const wheel = await progress.step("libtorch", `fetching ${spec}`, (update) =>
    download(python, [spec, "--no-deps"], join(work, "wheel"), spec, update),
  );
  const stage = join(work, "unpacked");
  const requires = await progress.step("libtorch", "unpacking and verifying", (update) =>
    unpack(python, wheel[0], stage, work, update),
  );
  if (requires.length > 0) {
    await progress.step("libtorch", "fetching its CUDA libraries", async (update) => {
      const wheels = await download(python, requires.map(withHeaders), join(work, "cuda"), requires.join(" "), update);
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

function findPython() {
  const python = inPath("python3");
  if (python === null) {
    throw new SetupError("NBIT_NO_PYTHON", {
      problem: "python3 is needed to fetch libtorch, and there is none in PATH.",
      looked: [...findLibtorch().looked],
      fix: installCommand({ apt: "python3 python3-pip", dnf: "python3 python3-pip", pacman: "python python-pip" }),
    });
  }
  if (ask(python, ["-m", "pip", "--version"]) === null) {
    throw new SetupError("NBIT_NO_PIP", {
      problem: `pip is needed to fetch libtorch, and ${python} has none.`,
      looked: [...findLibtorch().looked, { place: `${python} -m pip`, found: "does not run" }],
      fix: installCommand({ apt: "python3-pip", dnf: "python3-pip", pacman: "python-pip" }),
    });
  }
  return python;
}

/**
 * Refuses early what would otherwise fail after minutes of downloading. What an interrupted run left counts as done.
 */
function checkSpace(cache, done) {
  const { bavail, bsize } = statfsSync(cache);
  if (bavail * bsize < NEEDED_BYTES - done) throw diskFull(cache, null, bavail * bsize);
}

/**
 * The wheels in `folder`, downloaded unless a run before this one has. pip writes elsewhere first: a wheel in `folder`
 * is whole.
 */
async function download(python, what, folder, spec, update) {
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
    const error = explainPip(result, spec, python, folder, existsSync(log) ? readFileSync(log, "utf8") : "");
    rmSync(incoming, { recursive: true, force: true });
    throw error;
  }
  update(`fetched ${spec}`);
  rmSync(temporary, { recursive: true, force: true });
  rmSync(log, { force: true });
  renameSync(incoming, folder);
  return wheels();
}

function explainPip(result, spec, python, folder, log) {
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
      fix: `${python} -m pip download --no-deps ${spec}   # repair the network, proxy or index settings until this works; or set LIBTORCH to an unpacked libtorch`,
    });
  }
  if (/No matching distribution|Could not find a version/.test(result.output)) {
    const pythonVersion = ask(python, ["--version"]) ?? python;
    return new SetupError("NBIT_TORCH_NOT_OFFERED", {
      problem: `pip's indexes have no wheel for ${spec} (${pythonVersion}, ${process.platform}-${process.arch}).`,
      looked,
      details,
      fix: offered
        ? `export NBIT_TORCH_SPEC=torch==${offered.split(", ").at(-1)}   # any in ${SUPPORTED_TEXT}`
        : `export LIBTORCH=/path/to/libtorch   # an unpacked libtorch ${SUPPORTED_TEXT}; or use a Python for which wheels exist`,
    });
  }
  return new SetupError("NBIT_PIP_FAILED", {
    problem: `pip could not fetch ${spec}.`,
    details,
    fix: `${python} -m pip download --no-deps ${spec}   # shows the whole story`,
  });
}

async function unpack(python, wheel, stage, work, update) {
  makeFolder(stage);
  let last = {};
  const result = await run(python, [UNPACKER, wheel, stage], {
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
function corrupt(work, message) {
  rmSync(work, { recursive: true, force: true });
  return new SetupError("NBIT_DOWNLOAD_CORRUPT", {
    problem: `the fetched wheel is damaged; it has been removed.`,
    details: String(message),
    fix: `${SETUP_COMMAND}   # fetches it again`,
  });
}

function sizeOf(folder) {
  let sum = 0;
  try {
    for (const entry of readdirSync(folder, { withFileTypes: true }))
      sum += entry.isDirectory() ? sizeOf(join(folder, entry.name)) : statSync(join(folder, entry.name)).size;
  } catch {
    // pip moves its files while we look
  }
  return sum;
}
