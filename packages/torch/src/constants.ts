/** Numbers that PyTorch has names for, and its own version. */
import { info } from "./native.js";

export const pi = Math.PI;
export const e = Math.E;
export const inf = Infinity;
export const nan = NaN;
/** A new dimension in an index: `t.at(":", newaxis)`. */
export const newaxis = null;
/** The version of libtorch, which is PyTorch's: "2.13.0". */
export const __version__: string = info.version;
