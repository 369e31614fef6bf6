/**
 * What is to be compiled and linked, and the hashes by which the results are kept. Reads only; the same inputs give the
 * same plan on every clone.
 */
import { createHash } from "node:crypto";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { findCudaHeaders, findNcclHeader, findNodeHeaders } from "./compiler.mjs";
import { cacheFolder, packageFolder } from "./places.mjs";

/**
 * @typedef {object} Unit
 * @property {string} source Relative to the package.
 * @property {readonly string[]} flags
 * @property {string} hash Of the source, the local headers that it includes, the kernels that it embeds, the flags,
 * libtorch, the compiler and Node's headers.
 *
 * @typedef {object} Plan
 * @property {readonly Unit[]} units
 * @property {readonly string[]} link
 * @property {string} key Of all units and the link.
 * @property {string} folder Where the finished addon is kept.
 * @property {string | null} withoutCuda Why the CUDA part is left out although libtorch has CUDA.
 */

/**
 * @param {import("./libtorch.mjs").Libtorch} libtorch
 * @param {{ program: string, version: string }} compiler
 * @returns {Plan}
 */
export function planAddon(libtorch, compiler) {
  const node = findNodeHeaders();
  const cuda = libtorch.cuda ? findCudaHeaders(libtorch) : null;
  const include = [
    "src",
    "generated",
    node.path,
    join(libtorch.path, "include"),
    join(libtorch.path, "include", "torch", "csrc", "api", "include"),
  ];
  const common = [
    "-std=c++20",
    "-O2",
    "-fPIC",
    "-fvisibility=hidden",
    "-fopenmp",
    "-DNDEBUG", // else libtorch's headers assert on every recorded operator
    // Finalizers that run inside the garbage collection are an experimental mode, which a module asks for by this
    // version. The headers of the package node-api-headers do not derive it from NAPI_EXPERIMENTAL.
    "-DNAPI_EXPERIMENTAL",
    "-DNAPI_VERSION=2147483647",
    "-DNODE_API_EXPERIMENTAL_NOGC_ENV_OPT_OUT",
    "-D_GLIBCXX_USE_CXX11_ABI=1",
    ...(cuda ? ["-DNBIT_CUDA"] : []),
    ...flagsOf("CXXFLAGS"),
  ];
  const identity = [libtorch.version, libtorch.variant, libtorch.git, compiler.version, node.hash, process.arch].join(
    "\n",
  );
  const nccl = cuda ? findNcclHeader(libtorch) : null;
  const distributed = [
    "-DUSE_C10D_GLOO",
    `-I${join("src", "dist", "gloo_headers")}`,
    ...(nccl ? ["-DNBIT_NCCL", "-DUSE_C10D_NCCL", `-I${nccl}`, ...cuda.map((folder) => `-I${folder}`)] : []),
  ];
  const files = new Map();
  const units = sources()
    .filter((source) => cuda !== null || !source.endsWith(".cuda.cc"))
    .map((source) => {
      const extra = source.endsWith(".cuda.cc") ? cuda : [];
      const own = source.startsWith(join("src", "dist"))
        ? distributed
        : source.startsWith(join("src", "functorch"))
          ? [`-I${join("src", "functorch", "headers")}`]
          : [];
      return {
        source,
        flags: [...common, ...own, ...[...include, ...extra].map((folder) => `-I${folder}`)],
        hash: sha(
          [
            identity,
            ...common,
            ...(own.length > 0 ? [`nccl ${nccl !== null}`] : []),
            source,
            ...filesOf(source, files).flatMap((file) => [file, files.get(file).text]),
          ].join("\0"),
        ),
      };
    });
  const lib = join(libtorch.path, "lib");
  const libraries = ["torch", "torch_cpu", "c10", ...(cuda ? ["torch_cuda", "c10_cuda"] : [])];
  const cudaRuntime = cuda ? cudaRuntimeLibrary(libtorch, cuda) : [];
  // Node unloads an addon when the last thread that loaded it ends; this one's kernels stay registered with libtorch.
  const link = [
    "-shared",
    "-fPIC",
    `-L${lib}`,
    `-Wl,-rpath,${lib}`,
    "-Wl,-z,nodelete",
    "-Wl,--no-as-needed",
    ...libraries.map((name) => `-l${name}`),
    ...openMp(lib),
    ...cudaRuntime,
    ...flagsOf("LDFLAGS"),
  ];
  const key = sha([...units.map((unit) => unit.hash), ...link].join("\0"));
  return {
    units,
    link,
    key,
    folder: join(cacheFolder(), `addon-${key.slice(0, 16)}`),
    withoutCuda:
      libtorch.cuda && cuda === null
        ? "the headers of the CUDA toolkit were not found (CUDA_HOME, /usr/local/cuda)"
        : null,
  };
}

/** More flags for the compiler or the linker, as make reads them. */
function flagsOf(variable) {
  return process.env[variable]?.split(/\s+/).filter((flag) => flag !== "") ?? [];
}

function sources() {
  return ["src", "generated"]
    .flatMap((folder) =>
      existsSync(join(packageFolder, folder))
        ? readdirSync(join(packageFolder, folder), { recursive: true }).map((name) => join(folder, name))
        : [],
    )
    .filter((name) => name.endsWith(".cc"))
    .sort();
}

/** The files that a unit is made of: its source, every local header that it reaches, and the kernels that it embeds. */
export function filesOf(source, known = new Map(), seen = new Set()) {
  if (seen.has(source)) return [];
  seen.add(source);
  if (!known.has(source)) {
    const text = readFileSync(join(packageFolder, source), "utf8");
    // A header by its name; a kernel by its path from the package on, in generated/kernels.inc.
    const included = [...text.matchAll(/^\s*#\s*include\s*"([^"]+)"|"((?:src|generated)\/[^"]+\.(?:cuh?|h))"\)/gm)]
      .map(([, name, embedded]) =>
        (name === undefined
          ? [embedded]
          : [join(dirname(source), name), join("src", name), join("generated", name)]
        ).find((path) => existsSync(join(packageFolder, path))),
      )
      .filter((path) => path !== undefined)
      .map((path) => relative(packageFolder, join(packageFolder, path)));
    known.set(source, { text, included });
  }
  return [source, ...known.get(source).included.flatMap((name) => filesOf(name, known, seen))];
}

/** The OpenMP runtime that libtorch itself brings: a second one in the process would keep thread counts of its own. */
function openMp(lib) {
  const bundled = readdirSync(lib).find((name) => /^libgomp.*\.so/.test(name));
  return bundled === undefined ? ["-fopenmp"] : [join(lib, bundled)];
}

/**
 * The toolkit's runtime that libtorch was linked with: beside libtorch when it came from wheels, else the toolkit's.
 */
function cudaRuntimeLibrary(libtorch, include) {
  const nvidia = join(libtorch.path, "..", "nvidia");
  const folders = [
    join(nvidia, "cuda_runtime", "lib"),
    join(nvidia, "cu13", "lib"),
    join(nvidia, "cu12", "lib"),
    ...include.flatMap((folder) => [join(folder, "..", "lib64"), join(folder, "..", "lib")]),
  ];
  for (const folder of folders) {
    const name = existsSync(folder) ? readdirSync(folder).find((n) => /^libcudart\.so/.test(n)) : undefined;
    if (name !== undefined) return [join(folder, name), `-Wl,-rpath,${folder}`];
  }
  return [];
}

function sha(text) {
  return createHash("sha256").update(text).digest("hex");
}
