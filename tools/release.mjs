/**
 * Everything that has to be true before packages are published: `npm run release`. Nothing is published by it; it packs,
 * looks into the tarballs, and says the commands.
 *
 *   npm run release -- --repository=https://…   as a release; its address goes into the manifests, for provenance
 *   npm run release -- --check                  what holds at any time: no section of the changelog, no binaries needed
 */
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { sourcesHash } from "../packages/native/lib/prebuilt.mjs";
import { hostSources } from "../packages/xla/lib/plan.mjs";
import { packInto, platformPackages } from "./pack.mjs";
import { faultsOfTarball } from "./release/contents.mjs";
import { faultsOfLicences } from "./release/licences.mjs";
import { root, workspaces } from "./workspace.mjs";

const SHOWN = 30;
const folder = join(root, "build", "packages");
const packages = workspaces().filter(({ folder: path }) => path.startsWith(join(root, "packages")));

/** One version everywhere, asked for exactly, also in the lock file. */
export function faultsOfVersions(all, lock) {
  const [{ manifest: first }] = all;
  const names = new Set(all.map(({ name }) => name));
  return all.flatMap(({ name, manifest }) => {
    const asked = Object.entries({
      ...manifest.dependencies,
      ...manifest.optionalDependencies,
      ...manifest.peerDependencies,
    });
    return [
      ...(manifest.version === first.version
        ? []
        : [`${name} is ${manifest.version}, and ${first.name} ${first.version}`]),
      ...asked
        .filter(([other, range]) => names.has(other) && range !== first.version)
        .map(([other, range]) => `${name} asks for ${other} ${range}, not ${first.version}`),
      ...(Object.values(lock.packages).some((each) => each.name === name && each.version === manifest.version)
        ? []
        : [`package-lock.json does not have ${name} ${manifest.version}: npm install --package-lock-only`]),
    ];
  });
}

/** A section of its own, with a date, that says something. */
export function faultsOfChangelog(text, version) {
  const sections = new Map(
    text.split(/^## /m).map((each) => [each.split("\n", 1)[0], each.split("\n").slice(1).join("\n")]),
  );
  const heading = [...sections.keys()].find((each) => each.startsWith(`${version} `) || each === version);
  if (heading === undefined) return [`CHANGELOG.md has no section "## ${version} - DATE"`];
  return [
    ...(/ - \d{4}-\d{2}-\d{2}$/.test(heading) ? [] : [`CHANGELOG.md: "## ${heading}" has no date`]),
    ...(/^- /m.test(sections.get(heading)) ? [] : [`CHANGELOG.md: nothing under "## ${heading}"`]),
    ...(/^- /m.test(sections.get("Unreleased") ?? "")
      ? ['CHANGELOG.md: something is still under "## Unreleased"']
      : []),
  ];
}

/** Binaries are of this version and of these sources. */
function faultsOfBinaries(version) {
  return platformPackages()
    .filter(({ built }) => built)
    .flatMap(({ folder: path, manifest }) => {
      const index = JSON.parse(readFileSync(join(path, "bin", "index.json"), "utf8"));
      const fresh =
        index.version === version &&
        index.sources === sourcesHash() &&
        index.libraries.every(({ sources }) => sources === hostSources());
      return fresh ? [] : [`${manifest.name}: its binaries are of other sources or another version: npm run prebuild`];
    });
}

function main() {
  const { values } = parseArgs({ options: { check: { type: "boolean" }, repository: { type: "string" } } });
  const { version } = packages[0].manifest;
  const lock = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8"));
  const repository = values.repository;
  const built = platformPackages().filter((each) => each.built);
  const faults = [
    ...faultsOfVersions(packages, lock),
    ...faultsOfBinaries(version),
    ...faultsOfLicences(packages, lock),
    ...(values.check ? [] : faultsOfChangelog(readFileSync(join(root, "CHANGELOG.md"), "utf8"), version)),
    ...(values.check || repository !== undefined
      ? []
      : ["--repository is needed: a registry proves where packages come from"]),
    ...(values.check || built.length > 0 ? [] : ["there are no binaries: npm run prebuild -- 2.13-cpu"]),
  ];
  const tarballs = packInto(folder, repository);
  for (const { file, name, size } of tarballs) {
    console.log(`${(size / 1e6).toFixed(2).padStart(6)} MB  ${name}`);
    faults.push(...faultsOfTarball(file, { name, size, version, repository }).map((fault) => `${name}: ${fault}`));
  }
  for (const fault of faults.slice(0, SHOWN)) console.error(fault);
  if (faults.length > SHOWN) console.error(`and ${faults.length - SHOWN} more`);
  console.log(`release: ${version}, ${tarballs.length} tarballs, ${faults.length} faults`);
  if (faults.length > 0) process.exitCode = 1;
  else if (!values.check) {
    console.log("Nothing is published yet. In a workflow whose identity the registry knows:");
    for (const { file } of inOrder(tarballs)) console.log(`  npm publish --provenance ${file}`);
  }
}

/** What others depend on first. */
function inOrder(tarballs) {
  const depth = new Map();
  const depthOf = (name) => {
    if (!depth.has(name)) {
      const { dependencies = {}, optionalDependencies = {} } = packages.find((each) => each.name === name).manifest;
      const ours = Object.keys({ ...dependencies, ...optionalDependencies }).filter((other) =>
        packages.some((each) => each.name === other),
      );
      depth.set(name, 1 + Math.max(0, ...ours.map(depthOf)));
    }
    return depth.get(name);
  };
  return [...tarballs].sort((a, b) => depthOf(a.name) - depthOf(b.name));
}

if (basename(process.argv[1] ?? "") === "release.mjs") main();
