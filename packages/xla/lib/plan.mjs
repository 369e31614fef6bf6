/** What the host addon is made of, and the hash by which it is kept. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cacheFolder, findNodeHeaders, proveAddon } from "@nbit/native/build";
import { packageFolder, sha, sourcesIn } from "./places.mjs";

const hostFiles = () => ["abi", "host", "node"].flatMap((folder) => sourcesIn(folder));

/** Hash of all that a build of the host reads from this package. */
export function hostSources() {
  const flags = readFileSync(fileURLToPath(import.meta.url), "utf8");
  return sha(flags, ...hostFiles().flatMap(({ name, text }) => [name, text]));
}

/**
 * @param {{ program: string, version: string }} compiler
 * @returns {import("@nbit/native/build").Library & { key: string }}
 */
export function planHost(compiler) {
  const node = findNodeHeaders();
  const more = (variable) => process.env[variable]?.split(/\s+/).filter((flag) => flag !== "") ?? [];
  const flags = [
    "-std=c++20",
    "-O2",
    "-fPIC",
    "-fvisibility=hidden",
    "-DNDEBUG",
    "-DNAPI_VERSION=9",
    ...more("CXXFLAGS"),
  ];
  // Threads of plugins live on when the last JavaScript thread that loaded the addon has ended.
  const link = ["-shared", "-fPIC", "-pthread", "-Wl,-z,nodelete", "-ldl", ...more("LDFLAGS")];
  const files = hostFiles();
  const everything = [compiler.version, node.hash, process.arch, ...flags, ...files.flatMap((f) => [f.name, f.text])];
  const units = files
    .filter(({ name }) => name.endsWith(".cc"))
    .map(({ name }) => ({ source: name, flags: [...flags, `-I${node.path}`], hash: sha(name, ...everything) }));
  const key = sha(...everything, ...link);
  const built = join(cacheFolder(), `xla-host-${key.slice(0, 16)}`, "xla.node");
  return { name: "xla", root: packageFolder, units, link, against: "", built, prove: proveAddon, key };
}
