/** What libtorch was built as. */
import { info } from "./native.js";

/** PyTorch's version. */
export const __version__: string = info.version;
/** Whether this libtorch has CUDA; its version is `cuda.cudaVersions()`. */
export const cuda: string | null = info.cuda ? "available" : null;
/** Whether libtorch was built with debugging. */
export const debug = false;
/** AMD's HIP: not in the libtorch that is used here. */
export const hip: string | null = null;
