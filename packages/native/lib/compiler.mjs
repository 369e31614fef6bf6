/** The C++ compiler and the Node-API headers that the addon is built with. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync, realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { SetupError, installCommand } from "./errors.mjs";
import { ask, inPath } from "./run.mjs";

const OLDEST = { gcc: 11, clang: 14 }; // C++20 as libtorch's headers use it

/**
 * The compiler named by `CXX`, else the first of g++, c++, clang++.
 *
 * @returns {{ program: string, version: string } | null} `version` is the first line of `--version`: part of what a
 * built object is keyed by.
 * @throws {SetupError} NBIT_NO_COMPILER when `CXX` is set and does not run, NBIT_OLD_COMPILER.
 */
export function findCompiler() {
  const named = process.env["CXX"]?.trim();
  for (const program of named ? [named] : ["g++", "c++", "clang++"]) {
    if (inPath(program) === null) continue;
    const version = ask(program, ["--version"])?.split("\n")[0];
    if (!version) continue;
    checkAge(program, version);
    return { program, version };
  }
  if (named) throw noCompiler(`CXX=${named}`, "not a program in PATH");
  return null;
}

function checkAge(program, version) {
  const family = /clang/.test(version) ? "clang" : "gcc";
  const major = Number(/\b(\d+)\.\d+(\.\d+)?/.exec(version.replace(/\([^)]*\)/g, ""))?.[1]);
  if (major < OLDEST[family]) {
    throw new SetupError("NBIT_OLD_COMPILER", {
      problem: `a compiler with C++20 is needed: g++ ${OLDEST.gcc} or clang++ ${OLDEST.clang} at least.`,
      looked: [{ place: program, found: version }],
      fix: "export CXX=g++-12   # the name of a newer one; install it if need be",
    });
  }
}

/** @param {string} [why] Why there is no binary that would spare one. */
export function noCompiler(place = "g++, c++, clang++", found = "none in PATH", why = undefined) {
  return new SetupError("NBIT_NO_COMPILER", {
    problem: `a C++20 compiler is needed to build the addon${why === undefined ? "" : `: ${why}`}.`,
    looked: [
      { place: "CXX", found: process.env["CXX"] || "not set" },
      { place, found },
    ],
    fix:
      process.env["CXX"] && inPath("g++") !== null
        ? "unset CXX   # g++ is there; then run the same command again"
        : installCommand({ apt: "g++", dnf: "gcc-c++", pacman: "gcc" }),
  });
}

/**
 * Node's own headers beside its binary (or in `NODE_INCLUDE`), else those of the package node-api-headers: Node-API is
 * stable, so either will do.
 *
 * @returns {{ path: string, hash: string }}
 */
export function findNodeHeaders() {
  const beside = [
    join(dirname(process.execPath), "..", "include", "node"),
    join(dirname(realpathSync(process.execPath)), "..", "include", "node"),
  ];
  const candidates = [
    ...(process.env["NODE_INCLUDE"] ? [process.env["NODE_INCLUDE"]] : []),
    ...beside,
    ...fromPackage(),
  ];
  const path = candidates.find((folder) => existsSync(join(folder, "node_api.h")));
  if (path === undefined) {
    throw new SetupError("NBIT_NO_NODE_HEADERS", {
      problem: "the headers of Node-API are needed to build the addon.",
      looked: candidates.map((place) => ({ place, found: "no node_api.h" })),
      fix: "npm install",
    });
  }
  const hash = createHash("sha256");
  for (const name of ["node_api.h", "node_api_types.h", "js_native_api.h", "js_native_api_types.h"])
    hash.update(readFileSync(join(path, name)));
  return { path, hash: hash.digest("hex") };
}

function fromPackage() {
  try {
    return [createRequire(import.meta.url)("node-api-headers").include_dir];
  } catch {
    return [];
  }
}

/**
 * Include folders of the CUDA toolkit, for a libtorch with CUDA: the toolkit's own, else those of the wheels beside
 * libtorch. Null when there are none.
 */
export function findCudaHeaders(libtorch) {
  const wheels = join(libtorch.path, "..", "nvidia");
  const toolkit = [process.env["CUDA_HOME"], process.env["CUDA_PATH"], "/usr/local/cuda"]
    .filter((p) => p)
    .map((p) => join(p, "include"));
  const whole = [...toolkit, join(wheels, "cu13", "include"), join(wheels, "cu12", "include")].find((folder) =>
    CUDA_HEADERS.every((h) => existsSync(join(folder, h))),
  );
  if (whole !== undefined) return [whole];
  const parts = ["cuda_runtime", "cublas", "cusparse", "cusolver", "cuda_cccl", "cuda_nvrtc", "cudnn"]
    .map((name) => join(wheels, name, "include"))
    .filter(existsSync);
  return CUDA_HEADERS.every((h) => parts.some((folder) => existsSync(join(folder, h)))) ? parts : null;
}

const CUDA_HEADERS = ["cuda_runtime_api.h", "crt/host_defines.h", "cublas_v2.h", "cusparse.h"];

/** The folder of NCCL's header, of the very NCCL that libtorch loads: beside it in its wheels, or the system's. */
export function findNcclHeader(libtorch) {
  const wheels = join(libtorch.path, "..", "nvidia");
  return (
    [join(wheels, "nccl", "include"), join(wheels, "cu13", "include"), "/usr/include"].find((folder) =>
      existsSync(join(folder, "nccl.h")),
    ) ?? null
  );
}
