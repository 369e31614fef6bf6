/** One set-up at a time does a given piece of work; the others wait for it and then find it done. */
import { linkSync, readFileSync, renameSync, statSync, unlinkSync, utimesSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { explainFileError } from "./errors.mjs";

const HEARTBEAT_MS = 2_000;
const STALE_MS = 30_000; // a holder on another host is judged by its heartbeat alone

/**
 * Runs `work` while holding the lock file `path`.
 *
 * A lock whose process has gone (same host) or whose heartbeat stopped (another host) is taken over, so an interrupted
 * set-up blocks nobody.
 *
 * @template T
 * @param {string} path In an existing folder.
 * @param {() => Promise<T>} work
 * @param {(holder: string, wait: () => Promise<void>) => Promise<void>} [show] Called when somebody else holds the
 * lock: shows that, and waits.
 * @returns {Promise<T>}
 */
export async function withLock(path, work, show = (_, wait) => wait()) {
  const me = JSON.stringify({ pid: process.pid, host: hostname(), since: Date.now() });
  const taken = () => {
    for (;;) {
      if (tryCreate(path, me)) return true;
      if (!breakIfStale(path)) return false;
    }
  };
  if (!taken()) {
    await show(readHolder(path)?.text ?? "another process", async () => {
      while (!taken()) await sleep(200);
    });
  }
  const beat = setInterval(() => touch(path), HEARTBEAT_MS);
  beat.unref();
  const release = () => {
    if (read(path) === me) remove(path);
  };
  process.once("exit", release);
  try {
    return await work();
  } finally {
    clearInterval(beat);
    process.removeListener("exit", release);
    release();
  }
}

function tryCreate(path, text) {
  try {
    writeFileSync(path, text, { flag: "wx" });
    return true;
  } catch (error) {
    if (error.code === "EEXIST") return false;
    throw explainFileError(error, path);
  }
}

function breakIfStale(path) {
  const holder = readHolder(path);
  if (holder === null) return true; // gone meanwhile
  if (!holder.stale) return false;
  // Two waiters may judge at once: move aside first, and put back what turns out to be another's fresh lock.
  const aside = `${path}.${process.pid}`;
  try {
    renameSync(path, aside);
  } catch {
    return true;
  }
  if (read(aside) !== holder.raw) {
    try {
      linkSync(aside, path);
    } catch {
      // a third one has taken it: nothing to put back
    }
  }
  remove(aside);
  return true;
}

function readHolder(path) {
  const raw = read(path);
  let age;
  try {
    age = Date.now() - statSync(path).mtimeMs;
  } catch {
    return null;
  }
  let owner;
  try {
    owner = JSON.parse(raw ?? "");
  } catch {
    return { raw, stale: age > STALE_MS, text: "another process" }; // being written
  }
  const sameHost = owner.host === hostname();
  return {
    raw,
    stale: sameHost ? !isAlive(owner.pid) : age > STALE_MS,
    text: `process ${owner.pid}${sameHost ? "" : ` on ${owner.host}`}`,
  };
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

function touch(path) {
  try {
    utimesSync(path, new Date(), new Date());
  } catch {
    // the folder has been removed under us: the work itself will say so
  }
}

function remove(path) {
  try {
    unlinkSync(path);
  } catch {
    // already gone
  }
}
