/**
 * What addons are built for elsewhere than on users' machines: the compiler that `tools/prebuild.mjs` calls for each
 * platform, the flags of the linker, and the platforms that have to wait, with the reason.
 */
import { PLACE_OF_LIBTORCH } from "../../packages/native/lib/prebuilt.mjs";

const LINUX = {
  /**
   * libtorch, and nothing that lies beside it under names of its own (OpenMP's runtime, CUDA's): libtorch brings those.
   * @param {{ path: string, cuda: boolean }} libtorch
   */
  link: ({ path, cuda }) => [
    "-shared",
    "-fPIC",
    `-L${path}/lib`,
    `-Wl,-rpath,${PLACE_OF_LIBTORCH}`,
    "-Wl,--enable-new-dtags",
    "-Wl,-z,nodelete", // as packages/native/lib/addon-plan.mjs
    "-Wl,--strip-all",
    "-Wl,--no-as-needed",
    ...["torch", "torch_cpu", "c10", ...(cuda ? ["torch_cuda", "c10_cuda"] : [])].map((name) => `-l${name}`),
  ],
};

/** @type {Record<string, { compiler: string, link: (libtorch: { path: string, cuda: boolean }) => string[] }>} */
export const PLATFORMS = {
  "linux-x64": { compiler: "g++", ...LINUX },
  "linux-arm64": { compiler: process.arch === "arm64" ? "g++" : "aarch64-linux-gnu-g++", ...LINUX },
};
