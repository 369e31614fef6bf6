/**
 * Packs what users install into `build/packages`, one tarball a package: `npm run pack`, and then, in a project of
 * one's own, `npm install …/build/packages/*.tgz`.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { fromRoot, root, workspaces } from "./workspace.mjs";

/**
 * Runs `npm pack` for every package.
 * @param {readonly string[]} options of npm, such as `--dry-run`
 * @returns {{ name: string, filename: string, files: { path: string }[] }[]} what npm says of each tarball
 */
export function pack(options) {
  const packages = workspaces()
    .map(({ folder }) => fromRoot(folder))
    .filter((folder) => folder.startsWith("packages"));
  const args = ["pack", "--json", "--loglevel=error", ...options, ...packages.flatMap((folder) => ["-w", folder])];
  const { status, stdout, stderr, error } = spawnSync("npm", args, { cwd: root, encoding: "utf8", maxBuffer: 1 << 26 });
  if (status !== 0) throw new Error(`npm ${args.join(" ")}: ${error?.message ?? stderr}`);
  const said = JSON.parse(stdout);
  return Array.isArray(said) ? said : Object.values(said); // npm 12 answers by name
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const folder = join(root, "build", "packages");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const { filename } of pack([`--pack-destination=${folder}`])) console.log(join(folder, filename));
}
