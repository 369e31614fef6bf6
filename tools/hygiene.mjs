/**
 * The repository speaks of itself alone: no path of a machine, no host of a registry or mirror, no address, no key in a
 * tracked file. Prints every finding as file:line, and fails.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { homedir, hostname } from "node:os";
import { join } from "node:path";
import { ask } from "../packages/native/lib/run.mjs";
import { root } from "./workspace.mjs";

const PATTERNS = [
  // but for what a build of an image mounts: that is a path of the image
  [
    "a path of one machine",
    /(?<![\w.$}/]|--mount=type=cache,target=)\/(?:root|work|home\/[a-z][\w-]*|Users\/\w+)\/[\w.]/,
  ],
  ["an address", /\b(?!127\.0\.0\.1\b|0\.0\.0\.0\b)(?:10|127|169|172|192)\.\d{1,3}\.\d{1,3}\.\d{1,3}\b/],
  ["a private key", /-----BEGIN [A-Z ]*PRIVATE KEY-----/],
  ["a token", /\b(?:npm_[A-Za-z0-9]{36}|gh[pousr]_[A-Za-z0-9]{36}|AKIA[0-9A-Z]{16})\b/],
];
const LOCK = ["a registry's host in the lock file", /"resolved": "https?:/];

/**
 * What this machine is configured with, and must not have leaked: hosts of indexes and registries, its own name. Public
 * ones are nobody's secret.
 */
const PUBLIC = /(^|\.)(npmjs\.org|pypi\.org|pythonhosted\.org|pytorch\.org|yarnpkg\.com)$/;
function ownNames() {
  const settings = [
    ask("npm", ["config", "get", "registry"]),
    ask("python3", ["-m", "pip", "config", "list"]),
    process.env["npm_config_registry"],
    process.env["PIP_INDEX_URL"],
    process.env["HTTPS_PROXY"],
  ].join("\n");
  const hosts = [...settings.matchAll(/https?:\/\/(?:[^@/\s'"]*@)?([\w.-]+)/g)]
    .map(([, host]) => host)
    .filter((host) => !PUBLIC.test(host) && host.includes("."));
  const home = homedir().length > 6 ? [homedir()] : [];
  return [...new Set([...hosts, ...home, ...(hostname().length > 8 ? [hostname()] : [])])];
}

/** Findings in one file's text: `[line, what]`. */
export function inspectText(name, text, own = []) {
  const found = [];
  const patterns = name.endsWith("package-lock.json") ? [...PATTERNS, LOCK] : PATTERNS;
  for (const [i, line] of text.split("\n").entries()) {
    for (const [what, pattern] of patterns) if (pattern.test(line)) found.push([i + 1, what]);
    for (const word of own) if (line.includes(word)) found.push([i + 1, "a name of this machine or its registries"]);
  }
  return found;
}

function main() {
  const own = ownNames();
  const files = execFileSync("git", ["ls-files", "-z"], { cwd: root, encoding: "utf8" })
    .split("\0")
    .filter((name) => name !== "");
  let findings = 0;
  for (const name of files) {
    if (!existsSync(join(root, name))) continue; // removed, and not yet committed
    const bytes = readFileSync(join(root, name));
    if (bytes.subarray(0, 8000).includes(0)) continue; // not text
    for (const [line, what] of inspectText(name, bytes.toString("utf8"), own)) {
      findings++;
      console.error(`${name}:${line}  ${what}`);
    }
  }
  console.log(`hygiene: ${files.length} files, ${findings} findings`);
  if (findings > 0 || files.length === 0) process.exitCode = 1;
}

if (process.argv[1] === join(root, "tools", "hygiene.mjs")) main();
