/**
 * Names of temporary files that say who writes them, so that the next save of the same path can clear away what killed
 * processes left, and nothing else.
 *
 *     .last.ckpt.4711-881923.5f0c9a1e.0b7d66f2.tmp
 *      target    process     place    random
 *
 * The process is its id and, on Linux, when it began, since ids are used again. The place is this boot of this machine
 * and its namespace of processes: of processes elsewhere, on a shared file system or in another container, nobody can
 * say whether they live.
 */
import { Buffer } from "node:buffer";
import { createHash, randomBytes } from "node:crypto";
import { lstatSync, readdirSync, readFileSync, readlinkSync, unlinkSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { isError } from "../realm.js";

/** Milliseconds without a write after which the file of a process elsewhere counts as left behind. */
const DAY = 24 * 3600 * 1000;
/** What a name may add to its target's, and the most that file systems take. */
const LONGEST_STEM = 160;
const SUFFIX = /^(\d+)-(\d+)\.([0-9a-f]{8})\.[0-9a-f]{8}\.tmp$/;

/** A new name, beside the target's. */
export function temporaryName(target: string): string {
  return `${stem(target)}${process.pid}-${startOf(process.pid) ?? 0}.${place()}.${randomBytes(4).toString("hex")}.tmp`;
}

/**
 * Remove what saves of `target` left in `folder` whose process has ended. What cannot be removed, or looked at, stays:
 * a save must not fail of it.
 *
 * @param target - The file's name, without its folder.
 */
export function removeLeftovers(folder: string, target: string): void {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    return;
  }
  const begin = stem(target);
  for (const name of names) {
    const writer = name.startsWith(begin) ? SUFFIX.exec(name.slice(begin.length)) : null;
    if (writer === null) continue;
    const path = join(folder, name);
    try {
      const stat = lstatSync(path);
      const [, pid, start, where] = writer;
      const left = where === place() ? !lives(Number(pid), Number(start)) : Date.now() - stat.mtimeMs > DAY;
      if (left && stat.isFile()) unlinkSync(path);
    } catch {
      // Another save removed it first, or the folder does not allow it.
    }
  }
}

function stem(target: string): string {
  const short =
    Buffer.byteLength(target) <= LONGEST_STEM ? target : createHash("sha256").update(target).digest("hex").slice(0, 32);
  return `.${short}.`;
}

function lives(pid: number, start: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // Not allowed to signal it: somebody's, and alive.
    return isError(error) && "code" in error && error.code === "EPERM";
  }
  const now = startOf(pid);
  return start === 0 || now === null || now === start;
}

/** When a process began, in clock ticks since the machine did; null where that is not known. */
function startOf(pid: number): number | null {
  try {
    // The command's name, in parentheses, may hold anything: fields are counted after it.
    const [state, ...rest] = readFileSync(`/proc/${pid}/stat`, "utf8").split(")").at(-1)?.trim().split(" ") ?? [];
    // A dead process whose parent has not asked for its end.
    if (state === "Z" || state === "X") return -1;
    const start = Number(rest[18]);
    return Number.isSafeInteger(start) ? start : null;
  } catch {
    return null;
  }
}

let known: string | null = null;
function place(): string {
  return (known ??= createHash("sha256")
    .update([hostname(), bootId(), processNamespace()].join("\n"))
    .digest("hex")
    .slice(0, 8));
}
function bootId(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return "";
  }
}
function processNamespace(): string {
  try {
    return readlinkSync("/proc/self/ns/pid");
  } catch {
    return "";
  }
}
