/**
 * Minimal Debian roots: made by mmdebstrap from the mirror that this machine's apt uses, kept as tarballs in the cache,
 * since dpkg takes a minute where unpacking takes seconds.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { cacheFolder } from "../../packages/native/lib/places.mjs";
import { ask, inPath } from "../../packages/native/lib/run.mjs";

const KEPT_MS = 14 * 24 * 3_600_000; // Debian's security updates should arrive

/** Why no root can be made here, or null. */
export function obstacle() {
  if (process.platform !== "linux") return "it needs Linux";
  if (process.getuid?.() !== 0) return "it needs root: chroot, mounts";
  if (ask("unshare", ["--mount", "--pid", "--fork", "true"]) === null)
    return "this machine does not let unshare(1) mount";
  if (debian() === null) return "apt here names no mirror for this release";
  if (
    inPath("mmdebstrap") === null &&
    ask("apt-get", ["install", "-y", "--no-install-recommends", "mmdebstrap"]) === null
  )
    return "there is no mmdebstrap, and Debian's packages cannot be had: apt-get update && apt-get install -y mmdebstrap";
  return null;
}

/**
 * Unpacks a root with these packages beside the essential ones and apt.
 *
 * @param {string} folder Made; must not exist.
 * @param {readonly string[]} packages
 * @returns {boolean} Whether it was made anew rather than unpacked from the cache.
 */
export function makeRoot(folder, packages) {
  const release = debian();
  if (release === null) throw new Error("apt names no mirror for this release");
  const sorted = [...packages].sort();
  const key = createHash("sha256")
    .update(JSON.stringify([release, sorted]))
    .digest("hex")
    .slice(0, 12);
  const cache = join(cacheFolder(), "fresh-machine");
  const tarball = join(cache, `${release.codename}-${key}.tar`);
  const fresh = !existsSync(tarball) || Date.now() - statSync(tarball).mtimeMs > KEPT_MS;
  mkdirSync(cache, { recursive: true });
  if (fresh) {
    const incoming = join(cache, `incoming-${process.pid}.tar`);
    const include = sorted.length > 0 ? [`--include=${sorted.join(",")}`] : [];
    try {
      must("mmdebstrap", [
        "--mode=root",
        "--variant=minbase",
        "--quiet",
        ...include,
        release.codename,
        incoming,
        release.line,
      ]);
      renameSync(incoming, tarball);
    } finally {
      rmSync(incoming, { force: true });
    }
  }
  mkdirSync(folder, { recursive: true });
  must("tar", ["--extract", "--numeric-owner", "--file", tarball, "--directory", folder]);
  return fresh;
}

/** The release that this machine runs, with a line for sources.list: `--release` of the command asks for another. */
function debian() {
  const here = /^VERSION_CODENAME=(\w+)/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1];
  const targets = ask("apt-get", [
    "indextargets",
    "--format",
    "$(REPO_URI) $(CODENAME) $(COMPONENT)",
    "Created-By: Packages",
  ]);
  const wanted = process.env["NBIT_FRESH_RELEASE"] ?? here;
  for (const line of (targets ?? "").split("\n")) {
    const [uri, codename, component] = line.split(" ");
    if (codename === here && component === "main") return { codename: wanted, line: `deb ${uri} ${wanted} main` };
  }
  return null;
}

/** Runs a program whose failure ends everything; what it says comes with the error. */
export function must(program, args, options = {}) {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    maxBuffer: 1 << 28,
    ...options,
  });
  if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${error?.message ?? stderr.slice(-3000)}`);
  return stdout;
}
