/**
 * Imports point one way: native ← torch ← apex, lowbit ← lightning; dashboard imports only what loads no native code; the command may import all of them. Examples
 * use public package names only. Prints every import that does not, as file:line, and fails.
 */
import { readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { dirname, join, sep } from "node:path";
import ts from "typescript";
import { filesBelow, fromRoot, root, workspaces } from "./workspace.mjs";

/** Folder → what of ours it may import: whole packages, or single entries of them. */
const MAY_IMPORT = {
  "packages/native": [],
  "packages/torch": ["@nbit/native"],
  "packages/apex": ["@nbit/torch"],
  "packages/lowbit": ["@nbit/torch"],
  "packages/lightning": ["@nbit/torch", "@nbit/apex", "@nbit/lowbit"],
  "packages/dashboard": ["@nbit/native/precisions", "@nbit/torch/files", "@nbit/torch/options", "@nbit/torch/schema"],
  "packages/cli": ["@nbit/native", "@nbit/torch", "@nbit/apex", "@nbit/lowbit", "@nbit/lightning", "@nbit/dashboard"],
  examples: ["@nbit/torch", "@nbit/apex", "@nbit/lowbit", "@nbit/lightning", "@nbit/dashboard"],
  benchmarks: ["@nbit/native", "@nbit/torch", "@nbit/apex", "@nbit/lowbit", "@nbit/lightning", "@nbit/dashboard"],
  tests: ["@nbit/native", "@nbit/torch", "@nbit/apex", "@nbit/lowbit", "@nbit/lightning", "@nbit/dashboard", "nbit"],
};

/** Files that run before anything is built or linked, and so reach into a neighbour by its path. */
const BY_PATH = new Map([["packages/cli/bin/nbit.mjs", "packages/native"]]);

const all = workspaces();
const ours = new Map(all.map((w) => [w.name, w]));
const builtin = new Set(builtinModules);

/** What is wrong with one import, or null. */
export function fault(workspace, file, specifier) {
  const folder = fromRoot(workspace.folder);
  const allowed = MAY_IMPORT[folder];
  if (allowed === undefined) return `${folder} is not in the list of tools/boundaries.mjs`;
  if (specifier.startsWith(".")) {
    const target = join(dirname(file), specifier);
    if (target.startsWith(workspace.folder + sep)) return null;
    const neighbour = BY_PATH.get(fromRoot(file));
    return neighbour !== undefined && fromRoot(target).startsWith(neighbour) ? null : "a relative import leaves the package: use its public name";
  }
  const name = specifier.startsWith("@") ? specifier.split("/").slice(0, 2).join("/") : specifier.split("/")[0];
  const target = ours.get(name);
  if (target === undefined) {
    if (specifier.startsWith("node:")) return null;
    if (builtin.has(name)) return `a module of Node.js is imported as node:${name}`;
    const { dependencies = {}, devDependencies = {} } = workspace.manifest;
    const inRoot = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).devDependencies;
    const isTest = /\.test\.ts$/.test(file) || ["tests", "benchmarks"].includes(folder);
    return name in dependencies || name in devDependencies || (isTest && name in inRoot) ? null : `${name} is not a dependency in ${folder}/package.json`;
  }
  if (target === workspace) return null; // by its public name, as a user would
  if (!allowed.includes(name) && !allowed.includes(specifier)) return `${folder} may import ${allowed.length > 0 ? allowed.join(", ") : "nothing of ours"}`;
  if (folder.startsWith("packages") && !(name in (workspace.manifest.dependencies ?? {}))) return `${name} is not a dependency in ${folder}/package.json`;
  const entry = specifier === name ? "." : `.${specifier.slice(name.length)}`;
  return entry in (target.manifest.exports ?? {}) ? null : `${specifier} is not exported by ${name}`;
}

/** Imports, exports from, dynamic imports and requires of one file, with their lines. */
function importsOf(file) {
  const text = readFileSync(file, "utf8");
  return ts.preProcessFile(text, true, true).importedFiles.map(({ fileName, pos }) => ({ specifier: fileName, line: text.slice(0, pos).split("\n").length }));
}

function main() {
  const faults = [];
  let count = 0;
  for (const workspace of all) {
    for (const file of filesBelow(workspace.folder, (name) => /\.(m?ts|mjs|js)$/.test(name), ["node_modules", "dist", "build", "fixtures"])) {
      for (const { specifier, line } of importsOf(file)) {
        count++;
        const what = fault(workspace, file, specifier);
        if (what !== null) faults.push(`${fromRoot(file)}:${line}  imports ${JSON.stringify(specifier)}: ${what}`);
      }
    }
  }
  for (const line of faults) console.error(line);
  console.log(`boundaries: ${count} imports, ${faults.length} wrong`);
  if (faults.length > 0 || count === 0) process.exitCode = 1;
}

if (process.argv[1] === join(root, "tools", "boundaries.mjs")) main();
