/** Metrics of classes. */
export * from "./accuracy.js";
export * from "./auroc.js";
export * from "./average-precision.js";
export * from "./calibration-error.js";
export * from "./cohen-kappa.js";
export * from "./confusion-matrix.js";
export * from "./f-beta.js";
export * from "./hamming-distance.js";
export * from "./jaccard-index.js";
export * from "./matthews-corr-coef.js";
export * from "./precision-recall.js";
export {
  BinaryPrecisionRecallCurve,
  MulticlassPrecisionRecallCurve,
  MultilabelPrecisionRecallCurve,
  PrecisionRecallCurve,
  type Curve,
} from "./precision-recall-curve.js";
export { BinaryROC, MulticlassROC, MultilabelROC, ROC, type RocCurve } from "./roc.js";
export * from "./specificity.js";
export * from "./stat-scores.js";
export type {
  Average,
  BinaryArguments,
  BinaryCall,
  CommonArguments,
  MulticlassArguments,
  MulticlassCall,
  MultidimAverage,
  MultilabelArguments,
  MultilabelCall,
  Task,
  TaskArguments,
  TaskCall,
  ZeroDivision,
} from "./task.js";
export type { CurveOptions, Curves } from "./curve-metric.js";
