/** The workspaces of this repository, as the tools see them. */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

export const root = join(dirname(fileURLToPath(import.meta.url)), "..");

/**
 * Every workspace with its TypeScript layout: packages keep sources in `src`, the others beside their `package.json`.
 * @returns {{ folder: string, name: string, manifest: Record<string, any>, source: string, dist: string }[]} Folders
 * are absolute.
 */
export function workspaces() {
  const packages = readdirSync(join(root, "packages")).map((name) => join("packages", name));
  return [...packages, "examples", "tests", "benchmarks"]
    .filter((folder) => existsSync(join(root, folder, "package.json")))
    .map((folder) => {
      const path = join(root, folder);
      const manifest = JSON.parse(readFileSync(join(path, "package.json"), "utf8"));
      return {
        folder: path,
        name: manifest.name,
        manifest,
        source: folder.startsWith("packages") ? join(path, "src") : path,
        dist: join(path, "dist"),
      };
    });
}

/** Files below a folder, absolute; skips what is generated, installed or hidden. */
export function filesBelow(folder, wanted, skip = ["node_modules", "dist", "build"]) {
  if (!existsSync(folder)) return [];
  const found = [];
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      if (!skip.includes(entry.name) && !entry.name.startsWith(".")) found.push(...filesBelow(path, wanted, skip));
    } else if (wanted(entry.name)) found.push(path);
  }
  return found.sort();
}

export const fromRoot = (path) => relative(root, path);
