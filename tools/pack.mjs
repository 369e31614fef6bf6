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
import { npmCache } from "./install.mjs";
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
 * @param {string} [repository] Its address, for manifests that say where a package comes from.
 * @returns {{ name: string, filename: string, size: number, files: { path: string }[] }[]} what npm says of each tarball
 */
export function pack(options, repository) {
  const platforms = new Map(platformPackages().map((each) => [each.folder, each]));
  const folders = workspaces()
    .map(({ folder }) => folder)
    .filter((folder) => fromRoot(folder).startsWith("packages"))
    .filter((folder) => {
      const platform = platforms.get(folder);
      return platform === undefined || (platform.built && platform.key === here);
    });
  return npmPack(options, folders, repository);
}

/** The packages for other machines. */
export function packOthers(options, repository) {
  const others = platformPackages().filter(({ key, built }) => built && key !== here);
  return others.length === 0
    ? []
    : npmPack(
        options,
        others.map(({ folder }) => folder),
        repository,
      );
}

function npmPack(options, folders, repository) {
  const stage = mkdtempSync(join(tmpdir(), "nbit-pack-"));
  try {
    const args = [
      "pack",
      "--json",
      "--loglevel=error",
      ...npmCache(),
      ...options,
      ...folders.map((f) => staged(stage, f, repository)),
    ];
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

/** The package itself, or a copy of it where it is published with another manifest than it has here. */
function staged(stage, folder, repository) {
  const text = readFileSync(join(folder, "package.json"), "utf8");
  const manifest = publishedManifest(JSON.parse(text), fromRoot(folder), repository);
  const changed = `${JSON.stringify(manifest, null, 2)}\n`;
  if (changed === text) return folder;
  const target = join(stage, basename(folder));
  cpSync(folder, target, {
    recursive: true,
    filter: (path) => !["build", "node_modules"].some((name) => path === join(folder, name)),
  });
  writeFileSync(join(target, "package.json"), changed);
  return target;
}

/**
 * The manifest that users get. A package of binaries says only there which machines it is for: npm would refuse to
 * install the clone on any other. @nbit/native asks for those packages of binaries that there are: every manager would
 * look for the others in vain.
 */
export function publishedManifest(manifest, folder, repository, platforms = platformPackages()) {
  const { os, cpu, libc, ...publishConfig } = manifest.publishConfig ?? {};
  const missing = new Set(platforms.filter(({ built }) => !built).map((each) => each.manifest.name));
  const { optionalDependencies: optional } = manifest;
  return {
    ...manifest,
    ...(optional && {
      optionalDependencies: Object.fromEntries(Object.entries(optional).filter(([name]) => !missing.has(name))),
    }),
    ...(manifest.publishConfig && { publishConfig }),
    ...(os && { os, cpu, libc }),
    ...(repository && {
      repository: { type: "git", url: `git+${repository}.git`, directory: folder.replaceAll("\\", "/") },
    }),
  };
}

/**
 * Packs everything: for this machine into `folder`, for others into a folder in there.
 * @param {string} folder Emptied first.
 * @param {string} [repository] Its address, for manifests that say where a package comes from.
 * @returns {{ file: string, name: string, size: number }[]}
 */
export function packInto(folder, repository) {
  const others = join(folder, "other-machines");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(others, { recursive: true });
  const at = (where) => (each) => ({ file: join(where, each.filename), name: each.name, size: each.size });
  return [
    ...pack([`--pack-destination=${folder}`], repository).map(at(folder)),
    ...packOthers([`--pack-destination=${others}`], repository).map(at(others)),
  ];
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  for (const { file } of packInto(join(root, "build", "packages"))) console.log(file);
  if (!platformPackages().some(({ key, built }) => built && key === here))
    console.log(
      "No binary for this machine is among them: `npm run prebuild -- 2.13-cpu` builds one, and users need no compiler.",
    );
}
