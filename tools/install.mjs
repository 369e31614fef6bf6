/**
 * The npm dependencies: installed when they are missing or another set than package-lock.json and the manifests name.
 */
import { createHash } from "node:crypto";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { FULL, SetupError, packageDiskFull } from "../packages/native/lib/errors.mjs";
import { canMake } from "../packages/native/lib/places.mjs";
import { inPath, run } from "../packages/native/lib/run.mjs";
import { root, workspaces } from "./workspace.mjs";

const stamp = join(root, "node_modules", ".nbit-installed");
/**
 * There while npm works, and after it has failed: what lies in node_modules then may be halves, which npm itself takes
 * for whole packages.
 */
const unfinished = join(root, "build", "npm.unfinished");
const NETWORK =
  /ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT|FETCH_ERROR|ENOTCACHED/;

/** @param {import("../packages/native/lib/progress.mjs").Progress} progress */
export async function installDependencies(progress) {
  if (
    existsSync(stamp) &&
    readFileSync(stamp, "utf8") === wantedSet() &&
    directOnes().every((name) => existsSync(join(root, "node_modules", name)))
  )
    return;
  if (inPath("npm") === null)
    throw new SetupError("NBIT_NO_NPM", {
      problem: "npm is needed to install the dependencies, and there is none in PATH.",
      fix: "corepack enable npm   # or install Node.js with npm",
    });
  await progress.step("npm", "installing dependencies", async () => {
    // `ci` follows the lock file to the letter, but starts by removing what is there: only for a fresh clone, and after
    // a run that did not end well.
    const afresh = existsSync(unfinished) || !existsSync(join(root, "node_modules"));
    writeFileSync(unfinished, "");
    let result = await npm(afresh ? "ci" : "install");
    if (result.status !== 0 && /EUSAGE/.test(result.output)) result = await npm("install");
    // On a full disk npm warns, leaves files out and reports success.
    if (result.status !== 0 || FULL.test(result.output)) throw explain(result);
  });
  writeFileSync(stamp, wantedSet());
  rmSync(unfinished, { force: true });
}

function npm(command) {
  const options = ["--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline", "--loglevel=warn", ...npmCache()];
  return run("npm", [command, ...options], { cwd: root });
}

/** Without a cache that it can write to, npm does nothing: in a home that is read-only, as in containers, it gets one. */
export function npmCache() {
  const cache = process.env["npm_config_cache"] ?? join(homedir(), ".npm");
  return canMake(cache) ? [] : [`--cache=${join(root, "build", "npm-cache")}`];
}

/** What must be there in any case: a folder that somebody has removed is noticed. */
function directOnes() {
  return [
    ...Object.keys(JSON.parse(readFileSync(join(root, "package.json"), "utf8")).devDependencies),
    ...workspaces().map((w) => w.name),
  ];
}

function wantedSet() {
  const hash = createHash("sha256");
  const lock = join(root, "package-lock.json");
  if (existsSync(lock)) hash.update(readFileSync(lock));
  const manifests = [
    JSON.parse(readFileSync(join(root, "package.json"), "utf8")),
    ...workspaces().map((w) => w.manifest),
  ];
  for (const { name, bin, dependencies, devDependencies, optionalDependencies } of manifests)
    hash.update(JSON.stringify([name, bin, dependencies, devDependencies, optionalDependencies]));
  return hash.digest("hex");
}

function explain(result) {
  const details =
    result.error?.message ??
    result.output
      .split("\n")
      .filter((line) => !/A complete log|^\s*$/.test(line))
      .slice(0, 10)
      .join("\n");
  if (FULL.test(result.output)) return packageDiskFull(root, null);
  if (NETWORK.test(result.output))
    return new SetupError("NBIT_NO_NETWORK", {
      problem: "npm could not reach its registry.",
      details,
      fix: "npm ping   # repair the network, proxy or registry settings until this works, then run the same command again",
    });
  return new SetupError("NBIT_NPM_FAILED", {
    problem: "npm could not install the dependencies.",
    details,
    fix: "npm install   # shows the whole story",
  });
}
