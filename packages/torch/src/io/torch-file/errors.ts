import { NbitError } from "../../errors.js";
import { plainText } from "../../plain-text.js";

/** What can be wrong with a file of `torch.save`. */
export type TorchFileCode =
  /** No file of `torch.save`. */
  | "TORCH_FILE_FORMAT"
  | "TORCH_FILE_TRUNCATED"
  /** An archive, or a pickle, that is damaged inside. */
  | "TORCH_FILE_ARCHIVE"
  | "TORCH_FILE_PICKLE"
  /** A function or class of Python's that is not read: the message names it. */
  | "TORCH_FILE_GLOBAL"
  /** A tensor that its storage does not hold. */
  | "TORCH_FILE_TENSOR"
  /** Elements that are not read: quantized ones. */
  | "TORCH_FILE_DTYPE"
  /** A tensor of a device that is not here. */
  | "TORCH_FILE_DEVICE"
  /** A program of TorchScript. */
  | "TORCH_FILE_SCRIPT"
  /** More than is read of one file. */
  | "TORCH_FILE_LIMIT";

/** A file of `torch.save` that cannot be read. Nothing was read of it. */
export class TorchFileError extends NbitError {
  constructor(
    code: TorchFileCode,
    message: string,
    readonly path: string | null = null,
  ) {
    super(plainText(path === null ? `load: ${message}` : `${path}: ${message}`), code);
  }
}

/** @internal Makes the errors of one file. */
export type FileFault = (code: TorchFileCode, message: string) => TorchFileError;
