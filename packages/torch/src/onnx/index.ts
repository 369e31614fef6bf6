/** Models for other runtimes: `onnx.export`, as `torch.onnx`. */
export { export, type ExportArguments, type ExportInputs } from "./export.js";
export type { DynamicAxes } from "./axes.js";
export { OnnxError, type OnnxCode } from "./errors.js";
