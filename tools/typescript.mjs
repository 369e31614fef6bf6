/**
 * Compiles TypeScript when a source, a configuration or the compiler has changed since the last success; removes output
 * whose source has gone.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { FULL, SetupError, packageDiskFull } from "../packages/native/lib/errors.mjs";
import { run } from "../packages/native/lib/run.mjs";
import { filesBelow, fromRoot, root, workspaces } from "./workspace.mjs";

const stamp = join(root, "build", "typescript.stamp");
const isInput = (name) => /\.[mc]?ts$/.test(name) || /^(tsconfig.*|package)\.json$/.test(name);

/** @param {import("../packages/native/lib/progress.mjs").Progress} progress */
export async function compileTypeScript(progress) {
  const state = inputs();
  const projects = workspaces().filter((w) => existsSync(join(w.folder, "tsconfig.json")));
  const without = projects.filter(
    (w) => filesBelow(w.source, (name) => /(?<!\.d)\.ts$/.test(name)).length > 0 && !existsSync(w.dist),
  );
  if (without.length === 0 && existsSync(stamp) && readFileSync(stamp, "utf8") === state) return;
  // A build record without its output would make the compiler believe that all is done.
  for (const { folder } of without) rmSync(join(folder, "tsconfig.tsbuildinfo"), { force: true });
  await progress.step("typescript", "compiling", async () => {
    const result = await run(process.execPath, [join(root, "node_modules", "typescript", "bin", "tsc"), "-b"], {
      cwd: root,
    });
    if (result.status !== 0 && FULL.test(result.output)) {
      // Halves of files, and records that call them whole.
      for (const { folder, dist } of projects)
        for (const half of [dist, join(folder, "tsconfig.tsbuildinfo")]) rmSync(half, { recursive: true, force: true });
      throw packageDiskFull(root, null);
    }
    if (result.status !== 0)
      throw new SetupError("NBIT_TYPESCRIPT", {
        problem: "the TypeScript sources do not compile.",
        details: result.error?.message ?? result.output.slice(0, 6000),
        fix: "npx tsc -b   # shows every message",
      });
  });
  removeOrphans(projects);
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, state);
}

function inputs() {
  const hash = createHash("sha256").update(process.version);
  const compiler = join(root, "node_modules", "typescript", "package.json");
  const files = [
    compiler,
    join(root, "tsconfig.json"),
    join(root, "tsconfig.base.json"),
    ...workspaces().flatMap((w) => filesBelow(w.folder, isInput)),
  ];
  for (const file of files) {
    const { mtimeMs, size } = statSync(file);
    hash.update(`${fromRoot(file)} ${mtimeMs} ${size}\n`);
  }
  return hash.digest("hex");
}

/** The compiler never deletes: output of a removed or renamed source would go on being imported, and its tests run. */
export function removeOrphans(projects) {
  for (const { source, dist } of projects) {
    for (const file of filesBelow(dist, (name) => /\.(d\.ts|js)(\.map)?$/.test(name), [])) {
      if (sourceOf(file, source, dist) === null) rmSync(file, { force: true });
    }
  }
}

/** The source that an output file was compiled from, or null when there is none any more. */
export function sourceOf(file, source, dist) {
  const stem = join(source, file.slice(dist.length + 1)).replace(/\.(d\.ts|js)(\.map)?$/, "");
  return [".ts", ".mts", ".tsx", ".js", ".json"].map((extension) => stem + extension).find(existsSync) ?? null;
}
