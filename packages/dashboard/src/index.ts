/** Reports on training runs. Reads run logs and writes HTML; loads no native code. */
export { RunLogError } from "./errors.js";
export { baselineOf, figuresOf } from "./figures.js";
export type { Figures } from "./figures.js";
export { readStepPrecision } from "./precision/data.js";
export type { ModulePrecision, NumberRange, OperatorUse, StepPrecisionData } from "./precision/data.js";
export { renderPrecisionReport, writePrecisionReport } from "./precision/page.js";
export type { PrecisionPageOptions } from "./precision/page.js";
export { renderReport, writeReport } from "./report.js";
export type { ReportOptions } from "./report.js";
export { comparisonText } from "./comparison.js";
export type { ComparisonOptions } from "./comparison.js";
export { findRunLogs, parseRunLog, parseRunLogs, readRunLog, readRunLogs } from "./run.js";
export type {
  CheckpointRecord,
  EpochRecord,
  EvaluationRecord,
  MemoryRecord,
  Metrics,
  Run,
  RunEnd,
  ScaleRecord,
  SkipRecord,
  StepRecord,
  SystemRecord,
} from "./records.js";
