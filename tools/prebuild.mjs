/**
 * Builds the addons that packages bring to users, one for each libtorch that is named:
 *
 *   npm run prebuild -- 2.13-cpu 2.14-cuda=/path/to/torch [--platform=linux-arm64]
 *
 * into `packages/native-<platform>/bin`, with an index that @nbit/native chooses from. A pair is a minor version of
 * libtorch and `cpu` or `cuda`; without a path, libtorch is looked for as set-up does, and fetched. What a binary asks
 * of the C and C++ libraries is compared with what that libtorch asks of them: no more may be needed. Where this machine
 * can, the binary is loaded.
 */
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
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
  let libtorch;
  if (path !== undefined) libtorch = inspect(path);
  else {
    process.env["NBIT_TORCH_SPEC"] ??= `torch==${torch}.*`;
    libtorch = inCache(torch, cuda) ?? findLibtorch().libtorch ?? (await fetchLibtorch(progress));
  }
  if (typeof libtorch === "string") throw new PrebuildError(`${path} is no libtorch: ${libtorch}`);
  const found = pairOf(libtorch);
  if (found.torch !== torch || (found.cuda !== null) !== cuda)
    throw new PrebuildError(
      `expected libtorch ${torch} (${cuda ? "CUDA" : "cpu"}). Received: ${describeLibtorch(libtorch)} at ${libtorch.path}. Name the folder: ${torch}-${cuda ? "cuda" : "cpu"}=/path/to/torch`,
    );
  return libtorch;
}

function inCache(torch, cuda) {
  const folder = cacheFolder();
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => name.startsWith(`libtorch-${torch}.`)) : [];
  return names
    .map((name) => inspect(join(folder, name, "torch")))
    .find((found) => typeof found !== "string" && found.cuda === cuda);
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
  const link = PLATFORMS[platform].link(libtorch);
  const shims = {
    source: SHIMS,
    flags: SHIM_FLAGS,
    hash: sha(readFileSync(join(packageFolder, SHIMS)), compiler.version, ...SHIM_FLAGS),
  };
  const units = [...plan.units, shims];
  const key = sha(...units.map(({ hash }) => hash), ...link);
  const built = join(cacheFolder(), `addon-${key.slice(0, 16)}`, "nbit.node");
  const against = describeLibtorch(libtorch);
  await buildLibrary({ name: "addon", root: packageFolder, units, link, against, built }, compiler, progress);

  const elf = readElf(readFileSync(built));
  if (`linux-${elf.cpu}` !== platform) throw new PrebuildError(`${built} is for ${elf.cpu}, not ${platform}`);
  const tooNew = beyond(elf, limits).map(({ symbol, version, library }) => `  ${symbol} ${version} of ${library}`);
  if (tooNew.length > 0)
    throw new PrebuildError(
      `the addon asks for more than ${against} does (${inWords(limits)}):\n${tooNew.join("\n")}\nDefine them in tools/prebuild/older-glibc.cc, or build with an older compiler.`,
    );
  const tried = platform === here && (await load(built, libtorch));
  return { pair, libtorch, built, asks: newestAsked([elf]), limits, tried };
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
function write(platform, compiler, results) {
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
      sha256: createHash("sha256").update(bytes).digest("hex"),
      size: bytes.length,
      libtorch: { version, variant, git },
      asks,
      tried,
    };
  });
  const { version } = JSON.parse(readFileSync(join(packageFolder, "package.json"), "utf8"));
  const index = { version, platform, sources: sourcesHash(), compiler: compiler.version, binaries };
  writeFileSync(join(folder, "index.json"), `${JSON.stringify(index, null, 2)}\n`);
  return { folder, binaries };
}

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
  const { folder, binaries } = write(platform, { program, version }, results);
  for (const { file, size, asks, tried } of binaries)
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
