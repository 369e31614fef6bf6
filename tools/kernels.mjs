/**
 * Compiles what only a GPU can run, without a GPU: every kernel that is compiled at run time, for each architecture and variant that its file names, and the CUDA translation units of the
 * addon where a libtorch with CUDA is found.
 *
 *   node tools/kernels.mjs [--arch=80,90] [--only=norm] [--kernels | --units] [--verbose]
 *
 * NVRTC is looked for at NBIT_NVRTC, beside CUDA libtorches and in Python's packages, and in /usr/local/cuda*; the libtorch as set-up does (LIBTORCH names one). Says what it skipped and why.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { planAddon } from "../packages/native/lib/addon-plan.mjs";
import { findCompiler } from "../packages/native/lib/compiler.mjs";
import { findLibtorch } from "../packages/native/lib/libtorch.mjs";
import { cacheFolder, packageFolder } from "../packages/native/lib/places.mjs";

const SOURCES = join(packageFolder, "src");

/** Sources of kernels: file, text as NVRTC gets it, names of kernels, sets of options. */
export function kernelSources() {
  const common = literals(readFileSync(join(SOURCES, "kernel_common.h"), "utf8"))[0] ?? "";
  return readdirSync(SOURCES).filter((n) => n !== "kernel_common.h").flatMap((file) => {
    const text = readFileSync(join(SOURCES, file), "utf8");
    return literals(text).map((literal) => {
      const kernels = [...literal.matchAll(/__global__[^;{]*?\b(\w+)\s*\(const|__global__[^;{]*?\b(\w+)\s*\((?!THREADS|\d)/g)].map((m) => m[1] ?? m[2]);
      const variants = [...text.matchAll(/^\/\/ variant: (.*)$/gm)].map((m) => (m[1] ?? "").trim().split(/\s+/).filter((o) => o !== ""));
      const named = /^\/\/ kernels: (.*)$/m.exec(text)?.[1]?.trim().split(/\s+/) ?? kernels;
      return { file, source: (/kKernelCommon\) \+ R"cuda\(/.test(text) ? common : "") + literal, kernels: named, variants: variants.length > 0 ? variants : [[]] };
    });
  });
}
const literals = (text) => [...text.matchAll(/R"cuda\(([\s\S]*?)\)cuda"/g)].map((m) => m[1] ?? "");

/** A libnvrtc, or null with the places looked at. */
export function findNvrtc() {
  const given = process.env["NBIT_NVRTC"];
  if (given) return { path: existsSync(given) ? given : null, looked: [given] };
  const looked = [];
  const at = (folder) => {
    looked.push(folder);
    const name = existsSync(folder) ? readdirSync(folder).find((n) => /^libnvrtc\.so\.\d+$/.test(n)) : undefined;
    return name === undefined ? null : join(folder, name);
  };
  const site = spawnSync("python3", ["-c", "import sysconfig, site; print(sysconfig.get_paths()['purelib']); print(site.getusersitepackages())"], { encoding: "utf8" }).stdout?.split("\n").filter((l) => l !== "") ?? [];
  const cache = cacheFolder();
  const torches = existsSync(cache) ? readdirSync(cache).filter((n) => n.startsWith("libtorch-")).map((n) => join(cache, n)) : [];
  const toolkits = existsSync("/usr/local") ? readdirSync("/usr/local").filter((n) => n.startsWith("cuda")).map((n) => join("/usr/local", n, "lib64")) : [];
  for (const folder of [...[...torches, ...site].flatMap((p) => ["cu13", "cuda_nvrtc", "cu12"].map((n) => join(p, "nvidia", n, "lib"))), ...toolkits]) {
    const found = at(folder);
    if (found !== null) return { path: found, looked };
  }
  return { path: null, looked };
}

/** Compiles every variant; a result for each. */
export function compileKernels(library, architectures, only = "", more = []) {
  const jobs = kernelSources().filter((k) => k.file.includes(only)).flatMap((k) => architectures.flatMap((a) => k.variants.map((v) => ({ name: basename(k.file), source: k.source, kernels: k.kernels, options: [...v, ...more, `--gpu-architecture=sm_${a}`, "--std=c++17"] }))));
  const run = spawnSync("python3", [fileURLToPath(new URL("./nvrtc_compile.py", import.meta.url))], { // NVRTC opens its built-in functions by name.
    env: { ...process.env, LD_LIBRARY_PATH: [dirname(library), process.env["LD_LIBRARY_PATH"] ?? ""].join(":") }, input: JSON.stringify({ library, jobs }), encoding: "utf8", maxBuffer: 1 << 28 });
  const results = run.stdout.split("\n").filter((l) => l.startsWith("{")).map((l) => JSON.parse(l));
  if (results.length !== jobs.length) throw new Error(`NVRTC ended after ${results.length} of ${jobs.length} compilations: ${run.stderr.slice(-1000)}`);
  return results;
}

async function compileUnits(only) {
  const { libtorch } = findLibtorch();
  if (libtorch === null || !libtorch.cuda) return `skipped: ${libtorch === null ? "no libtorch" : `the libtorch at ${libtorch.path} has no CUDA`} (LIBTORCH names another)`;
  const compiler = findCompiler();
  const plan = planAddon(libtorch, compiler);
  if (plan.withoutCuda !== null) return `skipped: ${plan.withoutCuda}`;
  const folder = mkdtempSync(join(tmpdir(), "nbit-units-"));
  try {
    for (const unit of plan.units.filter((u) => u.source.endsWith(".cuda.cc") && u.source.includes(only))) {
      const status = await new Promise((resolve) => spawn(compiler.program, [...unit.flags, "-Wall", "-Wextra", "-Wno-unused-parameter", "-c", unit.source, "-o", join(folder, "unit.o")], { cwd: packageFolder, stdio: "inherit" }).on("close", resolve));
      console.log(`${status === 0 ? "✓" : "✗"} ${unit.source}`);
      if (status !== 0) process.exitCode = 1;
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return null;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const flag = (name) => process.argv.find((a) => a.startsWith(`--${name}`))?.split("=")[1];
  const has = (name) => process.argv.includes(`--${name}`);
  const only = flag("only") ?? "";
  if (!has("units")) {
    const { path, looked } = findNvrtc();
    if (path === null) console.log(`kernels skipped: no libnvrtc at ${looked.join(", ")} (NBIT_NVRTC names one)`);
    else
      for (const r of compileKernels(path, (flag("arch") ?? "80,90").split(","), only, has("verbose") ? ["--ptxas-options=-v"] : [])) {
        console.log(`${r.ok ? "✓" : "✗"} ${r.name} ${r.options.join(" ")} ${(r.bytes / 1024).toFixed(0)} KiB`);
        if (r.missing.length > 0 && r.bytes > 0) console.log(`  not in the machine code: ${r.missing.join(", ")}`);
        if (!r.ok || has("verbose")) console.log(r.log);
        if (!r.ok) process.exitCode = 1;
      }
  }
  if (!has("kernels")) {
    const skipped = await compileUnits(only);
    if (skipped !== null) console.log(`CUDA units ${skipped}`);
  }
}
