/** Fetches wheels with pip, and says in the user's terms what it could not do. */
import { existsSync, readFileSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { FULL, SetupError, diskFull, unwritable } from "./errors.mjs";
import { SETUP_COMMAND } from "./places.mjs";
import { megabytes } from "./progress.mjs";
import { ask, run } from "./run.mjs";
import { corrupt } from "./unpack.mjs";

const UNITS = { kB: 1e3, MB: 1e6, GB: 1e9 };
const TRIES = 3; // of a pip that cannot go on where a connection broke
const BROKEN =
  /IncompleteRead|Connection broken|incomplete-download|Download failed|ReadTimeoutError|ConnectionResetError|Connection aborted|Read timed out/i;
const OTHER_HASH = /DO NOT MATCH THE HASHES/i;
const UNREACHABLE =
  /NewConnectionError|Max retries exceeded|connection error|timed out|ConnectTimeout|NameResolution|ProxyError|SSLError|Could not fetch URL/i;

/** Newer ones ask a server for the rest where a connection broke. */
export function resumes(version) {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > 25 || (major === 25 && minor >= 1);
}

/** @returns {Promise<Record<string, string>>} sha256 of each wheel as the index has it, by its name. */
export async function runPip(call) {
  const { fetcher, what, folder, incoming, spec, update, onSize } = call;
  const log = `${folder}.log`;
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
    ...(resumes(fetcher.version) ? ["--resume-retries=5"] : []),
    "--log",
    log,
    "--dest",
    join(incoming, "wheels"),
    ...what,
  ];
  for (let tried = 1; ; tried++) {
    rmSync(log, { force: true });
    let biggest = 0;
    const watch = setInterval(() => (biggest = Math.max(biggest, largestIn(join(incoming, "tmp")))), 100);
    const result = await run(fetcher.program, args, {
      env: { ...process.env, TMPDIR: join(incoming, "tmp") },
      onOutput: (text) => {
        for (const [, number, unit] of text.matchAll(/Downloading \S+\.whl.* \(([\d.]+) ([kMG]B)\)/g))
          onSize(Number(number) * UNITS[unit]);
      },
    });
    clearInterval(watch);
    const said = existsSync(log) ? readFileSync(log, "utf8") : "";
    rmSync(log, { force: true });
    if (result.status === 0) {
      const wheels = readdirSync(join(incoming, "wheels"));
      for (const name of wheels) renameSync(join(incoming, "wheels", name), join(incoming, name));
      rmSync(join(incoming, "wheels"), { recursive: true });
      return hashesIn(said, wheels);
    }
    const older = !resumes(fetcher.version);
    const failed = result.signal === null && !FULL.test(result.output + said);
    const broken = failed && BROKEN.test(result.output);
    // An older pip takes the half of a wheel for a whole one, with another hash than the index says.
    const half = failed && older && OTHER_HASH.test(result.output);
    if ((!broken && !half) || !older || tried === TRIES)
      throw explain(result, call, said, broken ? { bytes: biggest, tried } : null);
    update(
      `${broken ? `the connection broke after ${megabytes(biggest)}` : "what came is not the whole wheel"}. pip ${fetcher.version} cannot go on there, as 25.1 and newer can: fetching ${spec} from its beginning`,
      true,
    );
  }
}

/** What pip's log tells of the links that it has looked at. */
function hashesIn(log, wheels) {
  const found = [...log.matchAll(/([^/\s#]+\.whl)#sha256=([0-9a-f]{64})/g)].map(([, name, hash]) => [
    decodeURIComponent(name),
    hash,
  ]);
  return Object.fromEntries(found.filter(([name]) => wheels.includes(name)));
}

function largestIn(folder) {
  let largest = 0;
  try {
    for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true }))
      if (entry.name.endsWith(".whl"))
        largest = Math.max(largest, statSync(join(entry.parentPath ?? entry.path, entry.name)).size);
  } catch {
    // pip moves its files while we look
  }
  return largest;
}

function explain(result, { fetcher, folder, spec, offer }, log, broken) {
  const python = fetcher.program;
  const details =
    result.output
      .split("\n")
      .filter((line) => /^(ERROR|WARNING|error:|╰─>)/.test(line))
      .slice(-6)
      .join("\n") || result.output.slice(-600);
  const everything = result.output + log;
  if (result.signal !== null) return interrupted(`pip was ended by ${result.signal}`);
  if (FULL.test(everything)) return diskFull(folder, null);
  if (/(Permission denied|Read-only file system)/.test(result.output)) return unwritable(folder, null, details);
  if (broken !== null) return brokenOff(fetcher, spec, broken, details);
  if (OTHER_HASH.test(everything) || /BadZipFile|invalid wheel/i.test(everything)) return corrupt(folder, details);
  const offered = /\(from versions: (?!none)([^)]+)\)/.exec(result.output)?.[1];
  const conflict = /ResolutionImpossible|conflicting dependencies/.test(result.output); // a constraints file of pip's, for example
  if (offered === undefined && !conflict && UNREACHABLE.test(everything)) {
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
      looked: [
        { place: "indexes of pip", found: offered ? `offer ${offered}` : "offer nothing for this Python and platform" },
      ],
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

function brokenOff({ program, version }, spec, { bytes, tried }, details) {
  const times = tried === 1 ? "" : ` ${tried} times`;
  return new SetupError("NBIT_DOWNLOAD_BROKEN", {
    problem: `the connection broke${times} while pip ${version} fetched ${spec}, after ${megabytes(bytes)} at last; the next run fetches this wheel from its beginning, and keeps those that are whole.`,
    details,
    fix: resumes(version)
      ? `${SETUP_COMMAND}   # once the network is steadier; pip has gone on five times by itself`
      : `${program} -m pip install --user --upgrade "pip>=25.1"   # goes on where a connection breaks; then run the same command again`,
  });
}

export function interrupted(what) {
  return new SetupError("NBIT_INTERRUPTED", {
    problem: `${what}.`,
    fix: `${SETUP_COMMAND}   # goes on where it stopped`,
  });
}
