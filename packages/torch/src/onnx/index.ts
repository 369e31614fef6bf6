/** Models for other runtimes: `onnx.export`, as `torch.onnx`. */
export { export, type DynamicAxes, type ExportArguments, type ExportInputs } from "./export.js";
export { OnnxError, type OnnxCode } from "./errors.js";
