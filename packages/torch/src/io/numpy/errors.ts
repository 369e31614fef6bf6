import { NbitError } from "../../errors.js";
import { plainText } from "../../plain-text.js";

/** What can be wrong with a file of NumPy's. */
export type NumpyCode =
  /** No file of `numpy.save` or `numpy.savez`, or a header that is not one. */
  | "NUMPY_FORMAT"
  | "NUMPY_TRUNCATED"
  /** Longer than its header says. */
  | "NUMPY_TRAILING"
  /** Elements that no tensor has: texts, records, Python's objects. */
  | "NUMPY_DTYPE"
  /** An archive that is damaged inside. */
  | "NUMPY_ARCHIVE"
  /** More than is read of one file. */
  | "NUMPY_LIMIT";

/** A file of NumPy's that cannot be read. Nothing was read of it. */
export class NumpyError extends NbitError {
  constructor(
    code: NumpyCode,
    message: string,
    readonly path: string | null = null,
  ) {
    super(plainText(path === null ? `numpy: ${message}` : `${path}: ${message}`), code);
  }
}
