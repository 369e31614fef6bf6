/** What may be in a tarball, and what has to be. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, posix } from "node:path";
import { inspectText } from "../hygiene.mjs";

/** Bytes of a tarball. More is a file that does not belong there, or worth a thought. */
const MOST = { "@nbit/torch": 3e6, "@nbit/native-linux-x64": 6e6, "@nbit/native-linux-arm64": 6e6 };
const MOST_OF_OTHERS = 1.5e6;
const FOREIGN = /(\.test\.|(^|\/)(testing|fixtures|coverage|node_modules)\/|\.tsbuildinfo$|\.env|\.log$|\.tgz$|~$)/;

/**
 * @param {string} file
 * @param {{ name: string, size: number, version: string, repository: string | undefined }} expected
 * @returns {string[]} What is wrong.
 */
export function faultsOfTarball(file, expected) {
  const folder = mkdtempSync(join(tmpdir(), "nbit-release-"));
  try {
    const { status, stderr } = spawnSync("tar", ["-xzf", file, "-C", folder], { encoding: "utf8" });
    if (status !== 0) return [`tar: ${stderr}`];
    return faultsOfFolder(join(folder, "package"), expected);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export function faultsOfFolder(folder, { name, size, version, repository }) {
  const files = readdirSync(folder, { recursive: true }).filter((each) => statSync(join(folder, each)).isFile());
  const most = MOST[name] ?? MOST_OF_OTHERS;
  return [
    ...(size > most ? [`${(size / 1e6).toFixed(2)} MB, more than ${most / 1e6} MB (tools/release/contents.mjs)`] : []),
    ...["LICENSE", "README.md", "package.json"].filter((each) => !files.includes(each)).map((each) => `no ${each}`),
    ...files.filter((each) => FOREIGN.test(each)).map((each) => `${each} does not belong to what users get`),
    ...files.filter((each) => each.endsWith(".map")).flatMap((each) => faultsOfMap(folder, each)),
    ...files.flatMap((each) => faultsOfText(folder, each)),
    ...faultsOfManifest(JSON.parse(readFileSync(join(folder, "package.json"), "utf8")), { name, version, repository }),
    ...(existsSync(join(folder, "bin", "index.json")) ? faultsOfBinaries(folder) : []),
  ];
}

/** A debugger finds the source: in the map, or in the package. */
function faultsOfMap(folder, file) {
  const { sources, sourcesContent = [] } = JSON.parse(readFileSync(join(folder, file), "utf8"));
  return sources
    .filter((source, i) => typeof sourcesContent[i] !== "string" && !existsSync(join(folder, dirname(file), source)))
    .map((source) => `${file} points to ${posix.normalize(posix.join(dirname(file), source))}, which is not there`);
}

/** Nothing of the machine that built it. */
function faultsOfText(folder, file) {
  const bytes = readFileSync(join(folder, file));
  if (bytes.subarray(0, 8000).includes(0)) return [];
  return inspectText(file, bytes.toString("utf8")).map(([line, what]) => `${file}:${line}: ${what}`);
}

function faultsOfManifest(manifest, { name, version, repository }) {
  const wrong = (holds, what) => (holds ? [] : [`package.json: ${what}`]);
  const { scripts = {}, publishConfig = {}, engines = {} } = manifest;
  return [
    ...wrong(manifest.name === name && manifest.version === version, `it is ${manifest.name} ${manifest.version}`),
    ...wrong(manifest.license === "Apache-2.0", `license is ${manifest.license}`),
    ...wrong(manifest.private !== true, "it is private"),
    ...wrong(engines.node !== undefined, "engines.node is missing"),
    ...wrong(
      Object.keys(scripts).every((each) => !/install|prepare/.test(each)),
      "something runs at installation",
    ),
    ...wrong(
      publishConfig.access === "public" && publishConfig.provenance === true,
      "publishConfig is not for provenance",
    ),
    ...wrong(repository === undefined || manifest.repository?.url?.includes(repository), "repository is missing"),
  ];
}

/** Every binary that the index names, the licences of what went into it, and which machines it is for. */
function faultsOfBinaries(folder) {
  const index = JSON.parse(readFileSync(join(folder, "bin", "index.json"), "utf8"));
  const { os, cpu, libc } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const named = [...index.binaries, ...index.libraries];
  const licences = index.binaries.map(({ libtorch }) => `pytorch-${libtorch.version}.txt`);
  return [
    ...named.filter(({ file }) => !existsSync(join(folder, "bin", file))).map(({ file }) => `no bin/${file}`),
    ...[...licences, "node-api-headers.txt"]
      .filter((file) => !existsSync(join(folder, "bin", "licenses", file)))
      .map((file) => `no bin/licenses/${file}`),
    ...named.filter(({ tried }) => !tried).map(({ file }) => `bin/${file} was never loaded`),
    ...(os && cpu && libc && index.platform === `${os[0]}-${cpu[0]}`
      ? []
      : ["it does not say which machines it is for"]),
  ];
}
