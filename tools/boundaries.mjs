/**
 * Imports point one way: native ← torch ← apex, lowbit, xla, vision, metrics ← lightning; dashboard imports only what loads no native code;
 * the command may import all of them. Examples use public package names only. Within a package files import each other
 * in one direction too, types included, but for one core. Prints every import that does not, as file:line, and every
 * cycle, and fails.
 */
import { existsSync, readFileSync } from "node:fs";
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
  "packages/xla": ["@nbit/native", "@nbit/torch"],
  "packages/vision": ["@nbit/torch"],
  "packages/metrics": ["@nbit/torch"],
  "packages/lightning": ["@nbit/torch", "@nbit/apex", "@nbit/lowbit", "@nbit/xla", "@nbit/metrics"],
  "packages/dashboard": [
    "@nbit/native/precisions",
    "@nbit/torch/files",
    "@nbit/torch/format",
    "@nbit/torch/options",
    "@nbit/torch/schema",
  ],
  "packages/cli": [
    "@nbit/native",
    "@nbit/torch",
    "@nbit/apex",
    "@nbit/lowbit",
    "@nbit/xla",
    "@nbit/vision",
    "@nbit/metrics",
    "@nbit/lightning",
    "@nbit/dashboard",
  ],
  examples: [
    "@nbit/torch",
    "@nbit/apex",
    "@nbit/lowbit",
    "@nbit/xla",
    "@nbit/vision",
    "@nbit/metrics",
    "@nbit/lightning",
    "@nbit/dashboard",
  ],
  benchmarks: [
    "@nbit/native",
    "@nbit/torch",
    "@nbit/apex",
    "@nbit/lowbit",
    "@nbit/xla",
    "@nbit/vision",
    "@nbit/metrics",
    "@nbit/lightning",
    "@nbit/dashboard",
  ],
  tests: [
    "@nbit/native",
    "@nbit/torch",
    "@nbit/apex",
    "@nbit/lowbit",
    "@nbit/xla",
    "@nbit/vision",
    "@nbit/metrics",
    "@nbit/lightning",
    "@nbit/dashboard",
    "nbit",
    "nbit-examples",
  ],
};

/** Files that run before anything is built or linked, and so reach into a neighbour by its path. */
const BY_PATH = new Map([["packages/cli/bin/nbit.mjs", "packages/native"]]);

/**
 * The one cycle: a Tensor has methods that are operators, and operators take and return Tensors, so the class, what
 * calls operators and what converts values to and from tensors know each other (docs/decisions/03-binding-core.md). It
 * may lose files, and one of them may become several; no other joins.
 */
const CORE = new Set(
  [
    "generated/methods",
    "number-range",
    "ops/generator",
    "ops/invoke",
    "ops/mismatch",
    "ops/operator",
    "ops/tags",
    "ops/read-results",
    "ops/types",
    "ops/write-arguments",
    "tensor/conversions",
    "tensor/handle",
    "tensor/indexing",
    "tensor/indexing-parse",
    "tensor/kinds",
    "tensor/list",
    "tensor/members",
    "tensor/print",
    "tensor/scope",
    "tensor/shapes",
    "tensor/tensor",
    "tensor/values",
  ].map((name) => `packages/torch/src/${name}.ts`),
);

const all = workspaces();
const ours = new Map(all.map((w) => [w.name, w]));
const builtin = new Set(builtinModules);

/** What is wrong with one import, or null. */
export function fault(workspace, file, specifier) {
  const folder = fromRoot(workspace.folder);
  if (MAY_IMPORT[folder] === undefined) return `${folder} is not in the list of tools/boundaries.mjs`;
  if (specifier.startsWith(".")) return faultOfPath(workspace, file, specifier);
  const name = specifier.startsWith("@") ? specifier.split("/").slice(0, 2).join("/") : specifier.split("/")[0];
  const target = ours.get(name);
  if (target === undefined) return faultOfOthers(workspace, file, specifier, name);
  if (target === workspace) return null; // by its public name, as a user would
  return faultOfOurs(workspace, specifier, name, target);
}

function faultOfPath(workspace, file, specifier) {
  const target = join(dirname(file), specifier);
  if (target.startsWith(workspace.folder + sep)) return null;
  const neighbour = BY_PATH.get(fromRoot(file));
  return neighbour !== undefined && fromRoot(target).startsWith(neighbour)
    ? null
    : "a relative import leaves the package: use its public name";
}

function faultOfOthers(workspace, file, specifier, name) {
  if (specifier.startsWith("node:")) return null;
  if (builtin.has(name)) return `a module of Node.js is imported as node:${name}`;
  const folder = fromRoot(workspace.folder);
  const { dependencies = {}, devDependencies = {} } = workspace.manifest;
  const inRoot = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).devDependencies;
  const isTest = /\.test\.ts$/.test(file) || ["tests", "benchmarks"].includes(folder);
  return name in dependencies || name in devDependencies || (isTest && name in inRoot)
    ? null
    : `${name} is not a dependency in ${folder}/package.json`;
}

function faultOfOurs(workspace, specifier, name, target) {
  const folder = fromRoot(workspace.folder);
  const allowed = MAY_IMPORT[folder];
  if (!allowed.includes(name) && !allowed.includes(specifier))
    return `${folder} may import ${allowed.length > 0 ? allowed.join(", ") : "nothing of ours"}`;
  if (folder.startsWith("packages") && !(name in (workspace.manifest.dependencies ?? {})))
    return `${name} is not a dependency in ${folder}/package.json`;
  const entry = specifier === name ? "." : `.${specifier.slice(name.length)}`;
  return isExported(entry, target) ? null : `${specifier} is not exported by ${name}`;
}

/** Whether a package exports an entry, by its name or by a pattern such as `./*`. */
function isExported(entry, { manifest }) {
  return Object.keys(manifest.exports ?? {}).some((pattern) => {
    const [before, after] = pattern.split("*");
    return after === undefined ? pattern === entry : entry.startsWith(before) && entry.endsWith(after);
  });
}

/** Imports, exports from, dynamic imports and requires of one file, with their lines. */
function importsOf(file) {
  const text = readFileSync(file, "utf8");
  return ts
    .preProcessFile(text, true, true)
    .importedFiles.map(({ fileName, pos }) => ({ specifier: fileName, line: text.slice(0, pos).split("\n").length }));
}

/** The source that a relative import means; null where none is there. */
function sourceOf(file, specifier) {
  const path = join(dirname(file), specifier);
  return [path.replace(/\.js$/, ".ts"), path].find((candidate) => existsSync(candidate)) ?? null;
}

/**
 * Groups of files that import each other in a circle, by Tarjan's algorithm.
 * @param {ReadonlyMap<string, readonly string[]>} graph - By file, the files that it imports.
 */
export function cycles(graph) {
  const found = [];
  const order = new Map();
  const lowest = new Map();
  const stack = [];
  const visit = (file) => {
    order.set(file, order.size);
    lowest.set(file, order.get(file));
    stack.push(file);
    for (const next of graph.get(file) ?? []) {
      if (!order.has(next)) visit(next);
      if (stack.includes(next)) lowest.set(file, Math.min(lowest.get(file), lowest.get(next)));
    }
    if (lowest.get(file) !== order.get(file)) return;
    const group = stack.splice(stack.indexOf(file));
    if (group.length > 1 || (graph.get(file) ?? []).includes(file)) found.push(group.sort());
  };
  for (const file of graph.keys()) if (!order.has(file)) visit(file);
  return found;
}

/** What is wrong with a cycle, or null for the one that there may be. */
export function cycleFault(files, core = CORE) {
  const others = files.filter((file) => !core.has(file));
  if (others.length === 0) return null;
  const about =
    others.length < files.length ? `${others.join(", ")} joined the core of tensors and operators` : files.join(", ");
  return `a cycle of imports: ${about}. Move what two files share to a file of its own, or pass a value`;
}

function main() {
  const faults = [];
  const graph = new Map();
  let count = 0;
  for (const workspace of all) {
    for (const file of filesBelow(workspace.folder, (name) => /\.(m?ts|mjs|js)$/.test(name), [
      "node_modules",
      "dist",
      "build",
      "fixtures",
    ])) {
      const imported = importsOf(file);
      graph.set(
        fromRoot(file),
        imported
          .flatMap(({ specifier }) => (specifier.startsWith(".") ? [sourceOf(file, specifier)] : []))
          .flatMap((target) => (target === null ? [] : [fromRoot(target)])),
      );
      for (const { specifier, line } of imported) {
        count++;
        const what = fault(workspace, file, specifier);
        if (what !== null) faults.push(`${fromRoot(file)}:${line}  imports ${JSON.stringify(specifier)}: ${what}`);
      }
    }
  }
  const circles = cycles(graph);
  faults.push(...circles.map((files) => cycleFault(files)).filter((what) => what !== null));
  for (const line of faults) console.error(line);
  console.log(
    `boundaries: ${count} imports, ${faults.length} wrong; ${circles.length} ${circles.length === 1 ? "cycle" : "cycles"}, of ${circles.flat().length} files`,
  );
  if (faults.length > 0 || count === 0) process.exitCode = 1;
}

if (process.argv[1] === join(root, "tools", "boundaries.mjs")) main();
