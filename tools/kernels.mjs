/**
 * Compiles what only a GPU can run, without a GPU: every kernel that NVRTC compiles at run time, for each architecture
 * and variant of manifest/kernels.json, and the CUDA translation units of the addon where a libtorch with CUDA is
 * found.
 *
 *   node tools/kernels.mjs [--arch=80,90] [--only=norm] [--kernels | --units] [--verbose]
 *
 * NVRTC is looked for at NBIT_NVRTC, beside CUDA libtorches, in Python's packages and in /usr/local/cuda*, else fetched
 * from pip's indexes into the cache; only where they lack it is this part skipped. The libtorch is found as by set-up
 * (LIBTORCH names one).
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { planAddon } from "../packages/native/lib/addon-plan.mjs";
import { findCompiler } from "../packages/native/lib/compiler.mjs";
import { findLibtorch } from "../packages/native/lib/libtorch.mjs";
import { cacheFolder, makeFolder, packageFolder } from "../packages/native/lib/places.mjs";
import { isWanted, unpack } from "../packages/native/lib/unpack.mjs";

/**
 * The kernels of manifest/kernels.json: for each file its text, the texts that it includes, its kernels, and for each
 * of its variants NVRTC's options.
 */
export function kernelSources() {
  const { headers, sources } = JSON.parse(readFileSync(join(packageFolder, "manifest", "kernels.json"), "utf8"));
  const text = (file) => readFileSync(join(packageFolder, file), "utf8");
  const included = Object.fromEntries(headers.map((file) => [file.replace(/^(src|generated)\//, ""), text(file)]));
  return sources.map(({ name, file, kernels, macros, options = [], variants }) => ({
    name,
    file,
    kernels,
    macros,
    headers: included,
    source: text(file),
    variants: variants.map((values) => [...values.split(" ").map((value) => `-D${value}`), ...options]),
  }));
}

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
  const site =
    spawnSync(
      "python3",
      ["-c", "import sysconfig, site; print(sysconfig.get_paths()['purelib']); print(site.getusersitepackages())"],
      { encoding: "utf8" },
    )
      .stdout?.split("\n")
      .filter((l) => l !== "") ?? [];
  const cache = cacheFolder();
  const torches = existsSync(cache)
    ? readdirSync(cache)
        .filter((n) => n.startsWith("libtorch-"))
        .map((n) => join(cache, n))
    : [];
  const toolkits = existsSync("/usr/local")
    ? readdirSync("/usr/local")
        .filter((n) => n.startsWith("cuda"))
        .map((n) => join("/usr/local", n, "lib64"))
    : [];
  for (const folder of [
    ...[join(cache, "nvrtc"), ...torches, ...site].flatMap((p) =>
      ["cu13", "cuda_nvrtc", "cu12"].map((n) => join(p, "nvidia", n, "lib")),
    ),
    ...toolkits,
  ]) {
    const found = at(folder);
    if (found !== null) return { path: found, looked };
  }
  return { path: null, looked };
}

const NVRTC_SPEC = "nvidia-cuda-nvrtc>=13,<14";

/** NVRTC from pip's indexes, into the cache; null, and why, where they do not have it. */
export async function fetchNvrtc() {
  const target = join(cacheFolder(), "nvrtc");
  const library = join(target, "nvidia", "cu13", "lib", "libnvrtc.so.13");
  if (existsSync(library)) return { path: library, why: null };
  const work = mkdtempSync(join(makeFolder(cacheFolder()), "nvrtc-"));
  try {
    const args = [
      "-m",
      "pip",
      "download",
      "--no-deps",
      "--only-binary=:all:",
      "--no-input",
      "--disable-pip-version-check",
      "--progress-bar=off",
      "--retries=0",
      "--dest",
      work,
      NVRTC_SPEC,
    ];
    const pip = spawnSync("python3", args, { encoding: "utf8" });
    const wheel = readdirSync(work).find((name) => name.endsWith(".whl"));
    if (pip.status !== 0 || wheel === undefined)
      return { path: null, why: `pip has no ${NVRTC_SPEC}: ${(pip.stderr ?? "").trim().split("\n").at(-1)}` };
    await unpack(
      join(work, wheel),
      join(work, "unpacked"),
      work,
      () => {},
      (name) => isWanted(name, true),
    );
    rmSync(target, { recursive: true, force: true });
    renameSync(join(work, "unpacked"), target);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  if (!existsSync(library)) throw new Error(`expected ${library} in ${NVRTC_SPEC}`);
  return { path: library, why: null };
}

/** Compiles every variant; a result for each. */
export function compileKernels(library, architectures, only = "", more = []) {
  const jobs = kernelSources()
    .filter((k) => k.file.includes(only))
    .flatMap((k) =>
      architectures.flatMap((a) =>
        k.variants.map((v) => ({
          name: k.file,
          source: k.source,
          headers: k.headers,
          kernels: k.kernels,
          options: [...v, ...more, `--gpu-architecture=sm_${a}`, "--std=c++17"],
        })),
      ),
    );
  const run = spawnSync("python3", [fileURLToPath(new URL("./nvrtc_compile.py", import.meta.url))], {
    // NVRTC opens its built-in functions by name.
    env: { ...process.env, LD_LIBRARY_PATH: [dirname(library), process.env["LD_LIBRARY_PATH"] ?? ""].join(":") },
    input: JSON.stringify({ library, jobs }),
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  const results = run.stdout
    .split("\n")
    .filter((l) => l.startsWith("{"))
    .map((l) => JSON.parse(l));
  if (results.length !== jobs.length)
    throw new Error(`NVRTC ended after ${results.length} of ${jobs.length} compilations: ${run.stderr.slice(-1000)}`);
  return results;
}

async function compileUnits(only) {
  const { libtorch } = findLibtorch();
  if (libtorch === null || !libtorch.cuda)
    return `skipped: ${libtorch === null ? "no libtorch" : `the libtorch at ${libtorch.path} has no CUDA`} (LIBTORCH names another)`;
  const compiler = findCompiler();
  const plan = planAddon(libtorch, compiler);
  if (plan.withoutCuda !== null) return `skipped: ${plan.withoutCuda}`;
  const folder = mkdtempSync(join(tmpdir(), "nbit-units-"));
  try {
    for (const unit of plan.units.filter((u) => u.source.endsWith(".cuda.cc") && u.source.includes(only))) {
      const status = await new Promise((resolve) =>
        spawn(
          compiler.program,
          [...unit.flags, "-Wall", "-Wextra", "-Wno-unused-parameter", "-c", unit.source, "-o", join(folder, "unit.o")],
          { cwd: packageFolder, stdio: "inherit" },
        ).on("close", resolve),
      );
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
    const found = findNvrtc();
    const { path, why } = found.path === null && !process.env["NBIT_NVRTC"] ? await fetchNvrtc() : found;
    if (path === null)
      console.log(
        `kernels skipped: no libnvrtc at ${found.looked.join(", ")} (NBIT_NVRTC names one)${why ? `; ${why}` : ""}`,
      );
    else {
      const results = compileKernels(
        path,
        (flag("arch") ?? "80,90").split(","),
        only,
        has("verbose") ? ["--ptxas-options=-v"] : [],
      );
      for (const r of results) {
        if (r.ok && !has("verbose")) continue;
        console.log(`${r.ok ? "✓" : "✗"} ${r.name} ${r.options.join(" ")} ${(r.bytes / 1024).toFixed(0)} KiB`);
        if (r.missing.length > 0 && r.bytes > 0) console.log(`  not in the machine code: ${r.missing.join(", ")}`);
        console.log(r.log);
      }
      const failed = results.filter((r) => !r.ok).length;
      console.log(`kernels: ${results.length} compiled with ${path}, ${failed} failed`);
      if (failed > 0 || results.length === 0) process.exitCode = 1;
    }
  }
  if (!has("kernels")) {
    const skipped = await compileUnits(only);
    if (skipped !== null) console.log(`CUDA units ${skipped}`);
  }
}
