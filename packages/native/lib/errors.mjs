/**
 * Everything that can go wrong between a clone and a loaded addon: one class, one stable `code` each, and one command
 * that fixes it.
 */
import { statSync } from "node:fs";
import { dirname } from "node:path";
import { helpOf } from "./help.mjs";
import { megabytes } from "./progress.mjs";
import { inPath } from "./run.mjs";

/** @typedef {{ place: string, found: string }} Looked */

export class SetupError extends Error {
  /**
   * @param {string} code Stable, `NBIT_…`.
   * @param {{ problem: string, fix: string, looked?: readonly Looked[], details?: string, cause?: unknown }} what
   *   `fix` is one shell command; `details` is the output of a tool, shown as it is.
   */
  constructor(code, { problem, fix, looked = [], details = "", cause }) {
    super(formatMessage(code, problem, fix, looked, details), cause === undefined ? undefined : { cause });
    this.name = "SetupError";
    this.code = code;
    this.problem = problem;
    this.fix = fix;
    this.looked = looked;
    this.help = helpOf(code);
    this.details = details;
  }
}

function formatMessage(code, problem, fix, looked, details) {
  const lines = [`${code}: ${problem}`];
  if (looked.length > 0) {
    const width = Math.max(...looked.map((l) => l.place.length));
    lines.push("  Looked at:", ...looked.map((l) => `    ${l.place.padEnd(width)}  ${l.found}`));
  }
  if (details.trim() !== "")
    lines.push(
      "  Details:",
      ...details
        .trimEnd()
        .split("\n")
        .map((line) => `    ${line}`),
    );
  lines.push(`  Fix: ${fix}`);
  return lines.join("\n");
}

/** The file system's own refusals, in the user's terms; other errors pass through as they are. */
export function explainFileError(error, path) {
  switch (error?.code) {
    case "ENOSPC":
    case "EDQUOT":
      return diskFull(path, error);
    case "EACCES":
    case "EPERM":
    case "EROFS":
    case "ENOTDIR":
    case "EEXIST":
      return unwritable(path, error);
    default:
      return error;
  }
}

/** @param {string} [details] What a program said of it. */
export function unwritable(path, cause, details = "") {
  const owner = ownerOf(path);
  return new SetupError("NBIT_CACHE_UNWRITABLE", {
    problem: `cannot write to ${path}${cause?.code ? ` (${cause.code})` : ""}, where libtorch and the built addon are kept.${owner === null ? "" : ` ${owner}`}`,
    details,
    fix: `export NBIT_HOME="$(mktemp -d)"   # or any folder of yours with 1 GB free, then run the same command again`,
    cause,
  });
}

/** After a set-up with sudo the cache is root's: that is the reason nine times in ten. */
function ownerOf(path) {
  const me = process.getuid?.();
  for (let at = path; at !== dirname(at); at = dirname(at)) {
    try {
      const { uid } = statSync(at);
      return uid === me || me === 0
        ? null
        : `${at} belongs to ${uid === 0 ? "root" : `user ${uid}`}; you are user ${me}.`;
    } catch {
      // not there: what it would lie in decides
    }
  }
  return null;
}

/** @param {number | null} free Bytes that are left, where there is room but too little. */
export function diskFull(
  path,
  cause,
  free = null,
  needed = "about 1 GB there while it unpacks libtorch, and half of it afterwards",
) {
  return new SetupError("NBIT_DISK_FULL", {
    problem: `the disk that holds ${path} ${free === null ? "is full" : `has ${megabytes(free)} left`}; set-up needs ${needed}.`,
    fix: `export NBIT_HOME=/path/on/a/larger/disk   # or free space, then run the same command again: it goes on where it stopped`,
    cause,
  });
}

/** The same for the copy of nbit itself, which no variable moves elsewhere. */
export function packageDiskFull(path, cause) {
  return new SetupError("NBIT_DISK_FULL", {
    problem: `the disk that holds ${path} is full; dependencies, the addon and compiled TypeScript need about 0.2 GB there.`,
    fix: `df -h ${path}   # free space there, or move the folder to a larger disk; then run the same command again: it goes on where it stopped`,
    cause,
  });
}

/** What a full disk says, in the words of any tool. */
export const FULL = /ENOSPC|EDQUOT|No space left on device|Disk quota exceeded/;

/**
 * How this system installs a package: only a hint in an error's text.
 * @param {{ apt: string, dnf: string, pacman: string }} packages
 */
export function installCommand(packages) {
  const sudo = process.getuid?.() === 0 ? "" : "sudo ";
  if (inPath("apt-get") === null && inPath("dnf") !== null) return `${sudo}dnf install -y ${packages.dnf}`;
  if (inPath("apt-get") === null && inPath("pacman") !== null) return `${sudo}pacman -S --noconfirm ${packages.pacman}`;
  return `${sudo}apt-get install -y ${packages.apt}`;
}
