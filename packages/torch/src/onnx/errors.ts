import { NbitError } from "../errors.js";
import { plainText } from "../plain-text.js";

/** Why a model cannot be exported. */
export type OnnxCode =
  /** An operator for which there is none in ONNX, or no translation here: the message names it and its line. */
  | "ONNX_OPERATOR"
  /** What the model does depends on values, or on sizes in a way that a graph cannot say. */
  | "ONNX_TRACE"
  /** More than one file can hold. */
  | "ONNX_TOO_LARGE";

/** A model that cannot be exported to ONNX. No file is written. */
export class OnnxError extends NbitError {
  constructor(code: OnnxCode, message: string) {
    super(plainText(`onnx.export: ${message}`), code);
  }
}
