/** What reads and writes files, without tensors: for packages that load no native code. */
export { describe, NbitError, ArgumentError } from "./errors.js";
export { asFileError, checkPath, checkReadable, FileError, withFile } from "./io/errors.js";
export { WholeAppends } from "./io/whole-appends.js";
export { writeAll, writeText } from "./io/replace.js";
export { checkDepth } from "./limits.js";
export { elementsOf, iterated, MOST_ELEMENTS } from "./read-once.js";
export { plainText, quoted } from "./plain-text.js";
