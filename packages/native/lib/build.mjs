/** What packages above this one build their own native parts with. */
export { buildLibrary, proveAddon } from "./library.mjs";
export { installInto, readInstalled } from "./addon-build.mjs";
export { findCompiler, findNodeHeaders, noCompiler } from "./compiler.mjs";
export { SetupError, explainFileError } from "./errors.mjs";
export { withLock } from "./lock.mjs";
export { SETUP_COMMAND, cacheFolder, makeFolder } from "./places.mjs";
export { choosePrebuiltLibrary } from "./prebuilt.mjs";
export { Progress } from "./progress.mjs";
export { ask, inPath } from "./run.mjs";
export { corrupt, unpack } from "./unpack.mjs";
export { checkSpace, download, findPython, sizeOf } from "./wheel.mjs";
