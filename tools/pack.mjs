/**
 * Packs what users install into `build/packages`, one tarball a package: `npm run pack`, and then, in a project of
 * one's own, `npm install …/build/packages/*.tgz`. The packages of binaries are among them where `npm run prebuild` has
 * built some; those for other machines lie in a folder of their own, for npm refuses them here.
 */
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import { fromRoot, root, workspaces } from "./workspace.mjs";

const here = `native-${process.platform}-${process.arch}`;

/** The packages of binaries, `native-<platform>`: `built` where there are any. */
export function platformPackages() {
  return workspaces()
    .map(({ folder, manifest }) => ({ folder, manifest, key: basename(folder) }))
    .filter(({ key, manifest }) => key.startsWith("native-") && manifest.publishConfig?.os !== undefined)
    .map((each) => ({ ...each, built: existsSync(join(each.folder, "bin", "index.json")) }));
}

/**
 * Runs `npm pack` for every package that this machine installs.
 * @param {readonly string[]} options of npm, such as `--dry-run`
 * @returns {{ name: string, filename: string, size: number, files: { path: string }[] }[]} what npm says of each tarball
 */
export function pack(options) {
  const platforms = platformPackages();
  const folders = workspaces()
    .map(({ folder }) => folder)
    .filter((folder) => fromRoot(folder).startsWith("packages") && !platforms.some((each) => each.folder === folder));
  const built = platforms.filter((each) => each.built);
  return npmPack(options, (stage) => [
    ...folders.map((folder) => (basename(folder) === "native" ? stageNative(stage, folder, built) : folder)),
    ...built.filter(({ key }) => key === here).map(({ folder }) => stagePlatform(stage, folder)),
  ]);
}

/** The packages for other machines. */
export function packOthers(options) {
  const others = platformPackages().filter(({ key, built }) => built && key !== here);
  return others.length === 0
    ? []
    : npmPack(options, (stage) => others.map(({ folder }) => stagePlatform(stage, folder)));
}

/** `foldersOf` gets a folder for packages that are packed with another manifest than they have here. */
function npmPack(options, foldersOf) {
  const stage = mkdtempSync(join(tmpdir(), "nbit-pack-"));
  try {
    const args = ["pack", "--json", "--loglevel=error", ...options, ...foldersOf(stage)];
    const { status, stdout, stderr, error } = spawnSync("npm", args, {
      cwd: root,
      encoding: "utf8",
      maxBuffer: 1 << 26,
    });
    if (status !== 0) throw new Error(`npm ${args.join(" ")}: ${error?.message ?? stderr}`);
    const said = JSON.parse(stdout);
    return Array.isArray(said) ? said : Object.values(said); // npm 12 answers by name
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
}

/** @nbit/native asks for the packages of binaries that there are: every manager would look for the others in vain. */
function stageNative(stage, folder, built) {
  const names = new Set(built.map(({ manifest }) => manifest.name));
  return copyInto(stage, folder, (manifest) => ({
    ...manifest,
    optionalDependencies: Object.fromEntries(
      Object.entries(manifest.optionalDependencies).filter(([name]) => names.has(name)),
    ),
  }));
}

/**
 * A package of binaries says which machines it is for only once it is packed: npm would refuse to install the clone on
 * any other.
 */
function stagePlatform(stage, folder) {
  return copyInto(stage, folder, ({ publishConfig: { os, cpu, libc, ...others }, ...manifest }) => ({
    ...manifest,
    os,
    cpu,
    libc,
    publishConfig: others,
  }));
}

function copyInto(stage, folder, change) {
  const target = join(stage, basename(folder));
  cpSync(folder, target, {
    recursive: true,
    filter: (path) => !["build", "node_modules"].some((name) => path === join(folder, name)),
  });
  const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  writeFileSync(join(target, "package.json"), `${JSON.stringify(change(manifest), null, 2)}\n`);
  return target;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const folder = join(root, "build", "packages");
  const others = join(folder, "other-machines");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(others, { recursive: true });
  for (const { filename } of pack([`--pack-destination=${folder}`])) console.log(join(folder, filename));
  for (const { filename } of packOthers([`--pack-destination=${others}`])) console.log(join(others, filename));
  if (!platformPackages().some(({ key, built }) => built && key === here))
    console.log(
      "Without a binary for this machine: `npm run prebuild -- 2.13-cpu` builds one, and users need no compiler.",
    );
}
