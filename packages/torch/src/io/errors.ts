/** Files that are not what they should be. */
import { NbitError } from "../errors.js";

/** What can be wrong with a safetensors file. */
export type SafetensorsCode =
  /** Shorter than its header says. */
  | "SAFETENSORS_TRUNCATED"
  /** Longer than its header says. */
  | "SAFETENSORS_TRAILING"
  /** A header of more than 100 MB. */
  | "SAFETENSORS_HEADER_TOO_LARGE"
  /** A file of torch.save. */
  | "SAFETENSORS_PICKLE"
  /** A header that is not a JSON object of tensors. */
  | "SAFETENSORS_HEADER"
  | "SAFETENSORS_DUPLICATE_KEY"
  | "SAFETENSORS_METADATA"
  | "SAFETENSORS_DTYPE"
  | "SAFETENSORS_SHAPE"
  /** Data that overlaps, has holes, or does not fit the shape. */
  | "SAFETENSORS_OFFSETS"
  /** A tensor was asked for that the file does not have. */
  | "SAFETENSORS_MISSING"
  | "SAFETENSORS_CLOSED";

/** A safetensors file that cannot be read. `code` says what is wrong; nothing was read of it. */
export class SafetensorsError extends NbitError {
  readonly path: string | null;
  constructor(code: SafetensorsCode, message: string, path: string | null = null) {
    super(path === null ? `safetensors: ${message}` : `${path}: ${message}`, code);
    this.path = path;
  }
}

/** A checkpoint whose contents this version cannot read. */
export class CheckpointError extends NbitError {
  constructor(code: "CHECKPOINT_FORMAT" | "CHECKPOINT_VERSION" | "CHECKPOINT_STATE", message: string) {
    super(message, code);
  }
}
