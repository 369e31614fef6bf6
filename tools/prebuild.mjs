/**
 * Builds the addons that packages bring to users, one for each libtorch that is named:
 *
 *   npm run prebuild -- 2.13-cpu 2.14-cuda=/path/to/torch [--platform=linux-arm64]
 *
 * into `packages/native-<platform>/bin`, with an index that @nbit/native chooses from, and the host of XLA's plugins. A pair is a minor version of
 * libtorch and `cpu` or `cuda`; without a path, libtorch is looked for as set-up does, and fetched. What a binary asks
 * of the C and C++ libraries is compared with what that libtorch asks of them: no more may be needed. Where this machine
 * can, the binary is loaded.
 */
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { planAddon } from "../packages/native/lib/addon-plan.mjs";
import { SetupError } from "../packages/native/lib/errors.mjs";
import { fetchLibtorch } from "../packages/native/lib/fetch-libtorch.mjs";
import { buildLibrary, proveAddon } from "../packages/native/lib/library.mjs";
import { describeLibtorch, findLibtorch, inspect } from "../packages/native/lib/libtorch.mjs";
import { cacheFolder, checkPlatform, packageFolder } from "../packages/native/lib/places.mjs";
import { pairOf, platform as here, sourcesHash, writePlace } from "../packages/native/lib/prebuilt.mjs";
import { Progress } from "../packages/native/lib/progress.mjs";
import { ask } from "../packages/native/lib/run.mjs";
import { chooseTorch } from "../packages/native/lib/torch-choice.mjs";
import { hostSources, planHost } from "../packages/xla/lib/plan.mjs";
import { beyond, newestAsked, readElf } from "./prebuild/elf.mjs";
import { PLATFORMS } from "./prebuild/platforms.mjs";
import { fromRoot, root } from "./workspace.mjs";

const SHIMS = join("..", "..", "tools", "prebuild", "older-glibc.cc"); // from packages/native, where all units begin
const SHIM_FLAGS = ["-std=c++20", "-O2", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror"];

class PrebuildError extends Error {}

/** `2.14-cuda=/path` → { torch: "2.14", cuda: true, path: "/path" } */
function parsePair(text) {
  const [, torch, kind, path] = /^(\d+\.\d+)-(cpu|cuda)(?:=(.+))?$/.exec(text) ?? [];
  if (torch === undefined)
    throw new PrebuildError(`expected pairs such as 2.13-cpu or 2.14-cuda=/path/to/torch. Received: ${text}`);
  return { torch, cuda: kind === "cuda", path };
}

async function libtorchOf({ torch, cuda, path }, progress) {
  if (path === undefined) {
    const choice = chooseTorch({ cpu: !cuda, cuda, torch });
    const { libtorch } = findLibtorch(choice);
    return libtorch?.headers ? libtorch : fetchLibtorch(progress, { choice });
  }
  const libtorch = inspect(path, true);
  if (typeof libtorch === "string") throw new PrebuildError(`${path} is no libtorch to build against: ${libtorch}`);
  const found = pairOf(libtorch);
  if (found.torch !== torch || (found.cuda !== null) !== cuda)
    throw new PrebuildError(
      `expected libtorch ${torch} (${cuda ? "CUDA" : "cpu"}). Received: ${describeLibtorch(libtorch)} at ${path}`,
    );
  return libtorch;
}

/** The limits of a libtorch: what its own libraries ask for. */
function limitsOf({ path }) {
  const libraries = readdirSync(join(path, "lib")).filter((name) => /\.so(\.|$)/.test(name));
  return newestAsked(libraries.map((name) => readElf(readFileSync(join(path, "lib", name)))));
}

async function build(pair, platform, compiler, progress) {
  const libtorch = await libtorchOf(pair, progress);
  const limits = limitsOf(libtorch);
  const plan = planAddon(libtorch, compiler);
  if (plan.withoutCuda !== null) throw new PrebuildError(`${pair.torch}-cuda: ${plan.withoutCuda}`);
  const flags = PLATFORMS[platform].link(libtorch);
  const units = [...plan.units, shimsFor(compiler)];
  const against = describeLibtorch(libtorch);
  const built = await link({ name: "addon", root: packageFolder, units, link: flags, against }, compiler, progress);
  const asks = inspectBinary(built, limits, against, platform);
  const tried = platform === here && (await load(built, libtorch));
  return { pair, libtorch, built, asks, limits, tried };
}

/** The host of XLA's plugins, which needs no libtorch: it asks for no more than the most modest of them. */
async function buildHost(results, platform, compiler, progress) {
  const plan = planHost(compiler);
  const units = [...plan.units, shimsFor(compiler)];
  const library = { name: "xla", root: plan.root, units, link: [...plan.link, "-Wl,--strip-all"], against: "" };
  const built = await link(library, compiler, progress);
  const asks = results.map(({ limits, libtorch }) =>
    inspectBinary(built, limits, describeLibtorch(libtorch), platform),
  );
  const tried = platform === here;
  if (tried) await proveAddon(built);
  return { built, asks: asks[0], tried };
}

const shimsFor = (compiler) => ({
  source: SHIMS,
  flags: SHIM_FLAGS,
  hash: sha(readFileSync(join(packageFolder, SHIMS)), compiler.version, ...SHIM_FLAGS),
});

async function link(library, compiler, progress) {
  const key = sha(...library.units.map(({ hash }) => hash), ...library.link);
  const kind = library.name === "xla" ? "xla-host" : library.name; // as set-up's own, which `nbit clean` knows
  const built = join(cacheFolder(), `${kind}-${key.slice(0, 16)}`, "prebuilt.node");
  await buildLibrary({ ...library, built }, compiler, progress);
  return built;
}

/** What it asks of the C and C++ libraries. */
function inspectBinary(file, limits, against, platform) {
  const elf = readElf(readFileSync(file));
  if (`linux-${elf.cpu}` !== platform) throw new PrebuildError(`${file} is for ${elf.cpu}, not ${platform}`);
  const tooNew = beyond(elf, limits).map(({ symbol, version, library }) => `  ${symbol} ${version} of ${library}`);
  if (tooNew.length > 0)
    throw new PrebuildError(
      `${file} asks for more than ${against} does (${inWords(limits)}):\n${tooNew.join("\n")}\nDefine them in tools/prebuild/older-glibc.cc, or build with an older compiler.`,
    );
  return newestAsked([elf]);
}

/** Loads a copy that knows where libtorch is. */
async function load(built, libtorch) {
  const bytes = readFileSync(built);
  if (!writePlace(bytes, join(libtorch.path, "lib")))
    throw new PrebuildError(`${built} has no place for libtorch's path`);
  const copy = `${built}.${process.pid}.node`;
  try {
    writeFileSync(copy, bytes, { mode: 0o755 });
    await proveAddon(copy);
  } finally {
    rmSync(copy, { force: true });
  }
  return true;
}

/** Writes the package's folder anew: binaries of other sources do not stay. */
function write(platform, compiler, results, host) {
  const folder = join(root, "packages", `native-${platform}`, "bin");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const binaries = results.map(({ pair, libtorch, built, asks, tried }) => {
    const { torch, cuda } = pairOf(libtorch);
    const file = `torch${torch}-${pair.cuda ? "cuda" : "cpu"}.node`;
    copyFileSync(built, join(folder, file));
    const bytes = readFileSync(built);
    const { version, variant, git } = libtorch;
    return {
      file,
      torch,
      cuda,
      sha256: hashOf(bytes),
      size: bytes.length,
      libtorch: { version, variant, git },
      asks,
      tried,
    };
  });
  const { version } = JSON.parse(readFileSync(join(packageFolder, "package.json"), "utf8"));
  for (const { libtorch } of results) copyLicence(licenceOf(libtorch), folder, `pytorch-${libtorch.version}.txt`);
  const headers = createRequire(import.meta.url).resolve("node-api-headers/package.json");
  copyLicence(join(dirname(headers), "LICENSE"), folder, "node-api-headers.txt");
  const file = "xla.node";
  copyFileSync(host.built, join(folder, file));
  const bytes = readFileSync(host.built);
  const { asks, tried } = host;
  const xla = { name: "xla", file, sha256: hashOf(bytes), size: bytes.length, sources: hostSources(), asks, tried };
  const libraries = [xla];
  const index = { version, platform, sources: sourcesHash(), compiler: compiler.version, binaries, libraries };
  writeFileSync(join(folder, "index.json"), `${JSON.stringify(index, null, 2)}\n`);
  return { folder, files: [...binaries, ...libraries] };
}

/** Of code that headers bring into the binaries. */
function copyLicence(file, folder, name) {
  mkdirSync(join(folder, "licenses"), { recursive: true });
  copyFileSync(file, join(folder, "licenses", name));
}

/** In the wheel's notes, or beside the headers of a libtorch without a wheel. */
function licenceOf({ path }) {
  const beside = join(path, "..");
  const notes = readdirSync(beside).find((name) => /^torch-.*\.dist-info$/.test(name));
  const places = [
    ...(notes ? [join(beside, notes, "licenses", "LICENSE"), join(beside, notes, "LICENSE")] : []),
    join(path, "LICENSE"),
  ];
  const file = places.find((place) => existsSync(place));
  if (file === undefined)
    throw new PrebuildError(
      `the licence of libtorch has to be shipped with the binary. Looked at: ${places.join(", ")}`,
    );
  return file;
}

const hashOf = (bytes) => createHash("sha256").update(bytes).digest("hex");
const inWords = (versions) =>
  Object.entries(versions)
    .map(([family, version]) => `${family} ${version}`)
    .join(", ");

function sha(...parts) {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part).update("\0");
  return hash.digest("hex");
}

async function main() {
  const { values, positionals } = parseArgs({ options: { platform: { type: "string" } }, allowPositionals: true });
  checkPlatform();
  const platform = values.platform ?? here;
  const row = PLATFORMS[platform];
  if (row === undefined)
    throw new PrebuildError(
      `expected --platform to be one of ${Object.keys(PLATFORMS).join(", ")}; docs/platforms.md says what the others wait for. Received: ${platform}`,
    );
  if (positionals.length === 0) throw new PrebuildError("expected a pair, such as 2.13-cpu. Received: none");
  const program = process.env["CXX"] ?? row.compiler;
  const version = ask(program, ["--version"])?.split("\n")[0];
  if (version === undefined) throw new PrebuildError(`${program} does not run; it is the compiler for ${platform}`);
  // Flags of a user's own would be in every user's addon.
  for (const variable of ["CXXFLAGS", "LDFLAGS"]) delete process.env[variable];
  const pairs = positionals.map(parsePair);
  const progress = new Progress();
  const results = [];
  for (const pair of pairs) results.push(await build(pair, platform, { program, version }, progress));
  const host = await buildHost(results, platform, { program, version }, progress);
  const { folder, files } = write(platform, { program, version }, results, host);
  for (const { file, size, asks, tried } of files)
    console.log(
      `${fromRoot(join(folder, file))}: ${(size / 1e6).toFixed(1)} MB, asks for ${inWords(asks)}; ${tried ? "loads" : "not loaded here"}`,
    );
}

try {
  await main();
} catch (error) {
  if (!(error instanceof PrebuildError || error instanceof SetupError)) throw error;
  console.error(error instanceof PrebuildError ? `prebuild: ${error.message}` : error.message);
  process.exitCode = 1;
}
