/**
 * Compiles, links and loads the addon against a CUDA build of PyTorch; no GPU is needed.
 *
 *   node tools/check-cuda.mjs
 *
 * Fetches the wheel named by `NBIT_TORCH_SPEC` (default torch==2.14.1) and its NVIDIA libraries once, about 6 GB
 * unpacked, into a cache of its own (`XDG_CACHE_HOME`, default ~/.cache/nbit-cuda), or takes the build that `LIBTORCH`
 * names. Works on a copy of packages/native, so the addon that is installed here stays.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { filesBelow, root } from "./workspace.mjs";

process.env["XDG_CACHE_HOME"] ||= join(homedir(), ".cache", "nbit-cuda");
process.env["NBIT_TORCH_SPEC"] ||= "torch==2.14.1";

const copy = join(root, "build", "cuda-check", "native");
rmSync(copy, { recursive: true, force: true });
mkdirSync(copy, { recursive: true });
for (const name of ["src", "generated", "lib", "package.json"])
  cpSync(join(root, "packages", "native", name), join(copy, name), { recursive: true });

const { setupNative, SetupError } = await import(pathToFileURL(join(copy, "lib", "setup.mjs")).href);
let libtorch;
try {
  ({ libtorch } = await setupNative());
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(String(error.message));
  process.exit(1);
}
if (!libtorch.cuda) {
  console.error(
    `check-cuda: expected a libtorch built with CUDA. Received: ${libtorch.version} (${libtorch.variant}) at ${libtorch.path}. Unset LIBTORCH, or let it name a CUDA build.`,
  );
  process.exit(1);
}

// In a process of its own: the loader must find everything by itself, and a crash must be seen as one.
const program = `
const { native } = await import(${JSON.stringify(pathToFileURL(join(copy, "lib", "index.mjs")).href)});
const cuda = Object.keys(native).filter((name) => /^(cuda|stream|event|graph)[A-Z]/.test(name));
if (cuda.length < 30) throw new Error("expected the CUDA part of the addon. Received: " + (cuda.join(", ") || "nothing of it"));
const { version, cuda: usable, cudaDevices } = native.info();
if (!usable) {
  // Without a driver every call of it must be an error, never a crash.
  for (const name of ["cudaCurrentDevice", "cudaEmptyCache", "graphCreate"]) {
    let refused = "nothing";
    try { native[name](0); } catch (error) { refused = error.message; }
    console.log("  " + name + ": " + refused.split("\\n")[0].slice(0, 110));
  }
}
console.log("libtorch " + version + ": loaded, " + cuda.length + " functions of its CUDA part, " + (usable ? cudaDevices + " devices" : "no device here"));
`;
const { status, signal } = spawnSync(process.execPath, ["--input-type=module", "-e", program], { stdio: "inherit" });
if (status !== 0) {
  console.error(`check-cuda: the addon did not load${signal === null ? "" : ` (${signal})`}.`);
  process.exit(1);
}
const units = filesBelow(join(copy, "src"), (name) => name.endsWith(".cuda.cc"), []).length;
console.log(
  `check-cuda: ${units} CUDA units compiled, linked and loaded against ${libtorch.version} (${libtorch.variant}).`,
);
