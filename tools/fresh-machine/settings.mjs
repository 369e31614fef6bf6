/**
 * How this machine reaches its registries, for a root that should reach them too: npm's and pip's settings, proxies,
 * certificates, names. Nothing of it is written into a root: it is mounted while commands run.
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { ask } from "../../packages/native/lib/run.mjs";

const CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt";
/** Where a root finds them: not in the same place, which its own package ca-certificates writes anew. */
const CERTIFICATES_THERE = "/run/certificates.crt";
const there = (text) => text.replaceAll(CERTIFICATES, CERTIFICATES_THERE);
const PASSED = /^(https?_proxy|no_proxy|ssl_cert_file|node_extra_ca_certs)$/i;

/**
 * @typedef {{ source: string, target: string, mode: "ro" | "rw" }} Mount
 * @param {string} folder Where the files to mount are made.
 * @returns {{ mounts: Mount[], env: Record<string, string> }}
 */
export function settings(folder) {
  mkdirSync(folder, { recursive: true });
  const pip = pipSettings();
  writeFileSync(join(folder, "pip.conf"), there(pipFile(pip)));
  writeFileSync(join(folder, "npmrc"), there(npmFile()));
  const mounts = [
    mount(join(folder, "pip.conf"), "/etc/pip.conf"),
    mount(join(folder, "npmrc"), "/usr/local/etc/npmrc"),
    mount(CERTIFICATES, CERTIFICATES_THERE),
    ...["/etc/resolv.conf", "/etc/hosts", ...pip.flatMap(([, value]) => localPaths(value))]
      .filter((path) => path !== CERTIFICATES)
      .map((path) => mount(path, path)),
  ].filter(({ source }) => existsSync(source));
  const env = Object.entries(process.env)
    .filter(([name]) => PASSED.test(name))
    .map(([name, value]) => [name, there(value ?? "")]);
  return { mounts: distinct(mounts), env: Object.fromEntries(env) };
}

const mount = (source, target) => ({ source, target, mode: "ro" });
const distinct = (mounts) => [...new Map(mounts.map((each) => [each.target, each])).values()];

/** pip's settings, whichever of its files and variables they come from. */
function pipSettings() {
  const listed = ask("python3", ["-m", "pip", "config", "list"]) ?? "";
  return parsePipList(listed);
}

/** `global.find-links='/a'` and `:env:.cert='/b'`, a line each, as pairs; the later one wins, as in pip. */
export function parsePipList(listed) {
  const found = new Map();
  for (const line of listed.split("\n")) {
    const [, section, name, quoted] = /^(global|download|install|:env:)\.([\w-]+)=(['"].*['"])$/.exec(line) ?? [];
    if (section === undefined) continue;
    found.set(name, quoted.slice(1, -1).replaceAll("\\n", "\n").replaceAll("\\'", "'"));
  }
  return [...found];
}

/** A pip.conf; what has several lines is indented, as its format asks. */
export function pipFile(pairs) {
  return [
    "[global]",
    ...pairs.map(
      ([name, value]) =>
        `${name} = ${value
          .trim()
          .split(/\s*\n\s*/)
          .join("\n    ")}`,
    ),
    "",
  ].join("\n");
}

function npmFile() {
  const asked = (key) => ask("npm", ["config", "get", key]);
  const lines = [`registry=${asked("registry")}`];
  if (existsSync(CERTIFICATES)) lines.push(`cafile=${CERTIFICATES}`);
  for (const key of ["proxy", "https-proxy", "noproxy"]) {
    const value = asked(key);
    if (value && value !== "null" && value !== "undefined") lines.push(`${key}=${value}`);
  }
  return [...lines, ""].join("\n");
}

/** Files and folders of this machine that a setting names: indexes on its disk, constraints. */
export function localPaths(value) {
  return value
    .split(/\s+/)
    .map((word) => (word.startsWith("file://") ? fileURLToPath(word) : word))
    .filter((word) => word.startsWith("/"))
    .map((path) => path.replace(/\/+$/, ""))
    .map((path) => (basename(path) === "simple" ? dirname(path) : path)); // an index's files lie beside its pages
}
