/**
 * Metrics of one batch: `functional.accuracy(preds, target, { task: "multiclass", numClasses: 10 })` is what a new
 * {@link Accuracy} comes to after one update. What follows the batch is what the class is made with, by position or by
 * name. They record no gradients: losses are in `nn.functional`.
 */
import * as classes from "./classification/index.js";
import * as regression from "./regression/index.js";
import * as text from "./text/index.js";
import type { Metric } from "./metric.js";

/** A function that makes a metric, gives it one batch and computes. */
function once<A extends readonly unknown[], M extends Metric>(
  metric: new (...given: A) => M,
): (...args: [...Parameters<M["update"]>, ...A]) => ReturnType<M["compute"]> {
  return (...args) => {
    const [preds, target, ...given] = args as readonly unknown[];
    const made = Reflect.construct(metric, given) as M;
    Reflect.apply(made.update, made, [preds, target]);
    const value = Reflect.apply(made.compute, made, []) as ReturnType<M["compute"]>;
    made.reset();
    return value;
  };
}

export const accuracy = once(classes.Accuracy);
export const binaryAccuracy = once(classes.BinaryAccuracy);
export const multiclassAccuracy = once(classes.MulticlassAccuracy);
export const multilabelAccuracy = once(classes.MultilabelAccuracy);
export const auroc = once(classes.AUROC);
export const binaryAUROC = once(classes.BinaryAUROC);
export const multiclassAUROC = once(classes.MulticlassAUROC);
export const multilabelAUROC = once(classes.MultilabelAUROC);
export const averagePrecision = once(classes.AveragePrecision);
export const binaryAveragePrecision = once(classes.BinaryAveragePrecision);
export const multiclassAveragePrecision = once(classes.MulticlassAveragePrecision);
export const multilabelAveragePrecision = once(classes.MultilabelAveragePrecision);
export const calibrationError = once(classes.CalibrationError);
export const binaryCalibrationError = once(classes.BinaryCalibrationError);
export const multiclassCalibrationError = once(classes.MulticlassCalibrationError);
export const cohenKappa = once(classes.CohenKappa);
export const binaryCohenKappa = once(classes.BinaryCohenKappa);
export const multiclassCohenKappa = once(classes.MulticlassCohenKappa);
export const confusionMatrix = once(classes.ConfusionMatrix);
export const binaryConfusionMatrix = once(classes.BinaryConfusionMatrix);
export const multiclassConfusionMatrix = once(classes.MulticlassConfusionMatrix);
export const multilabelConfusionMatrix = once(classes.MultilabelConfusionMatrix);
export const fbetaScore = once(classes.FBetaScore);
export const binaryFbetaScore = once(classes.BinaryFBetaScore);
export const multiclassFbetaScore = once(classes.MulticlassFBetaScore);
export const multilabelFbetaScore = once(classes.MultilabelFBetaScore);
export const f1Score = once(classes.F1Score);
export const binaryF1Score = once(classes.BinaryF1Score);
export const multiclassF1Score = once(classes.MulticlassF1Score);
export const multilabelF1Score = once(classes.MultilabelF1Score);
export const hammingDistance = once(classes.HammingDistance);
export const binaryHammingDistance = once(classes.BinaryHammingDistance);
export const multiclassHammingDistance = once(classes.MulticlassHammingDistance);
export const multilabelHammingDistance = once(classes.MultilabelHammingDistance);
export const jaccardIndex = once(classes.JaccardIndex);
export const binaryJaccardIndex = once(classes.BinaryJaccardIndex);
export const multiclassJaccardIndex = once(classes.MulticlassJaccardIndex);
export const multilabelJaccardIndex = once(classes.MultilabelJaccardIndex);
export const matthewsCorrcoef = once(classes.MatthewsCorrCoef);
export const binaryMatthewsCorrcoef = once(classes.BinaryMatthewsCorrCoef);
export const multiclassMatthewsCorrcoef = once(classes.MulticlassMatthewsCorrCoef);
export const multilabelMatthewsCorrcoef = once(classes.MultilabelMatthewsCorrCoef);
export const precision = once(classes.Precision);
export const binaryPrecision = once(classes.BinaryPrecision);
export const multiclassPrecision = once(classes.MulticlassPrecision);
export const multilabelPrecision = once(classes.MultilabelPrecision);
export const recall = once(classes.Recall);
export const binaryRecall = once(classes.BinaryRecall);
export const multiclassRecall = once(classes.MulticlassRecall);
export const multilabelRecall = once(classes.MultilabelRecall);
export const precisionRecallCurve = once(classes.PrecisionRecallCurve);
export const binaryPrecisionRecallCurve = once(classes.BinaryPrecisionRecallCurve);
export const multiclassPrecisionRecallCurve = once(classes.MulticlassPrecisionRecallCurve);
export const multilabelPrecisionRecallCurve = once(classes.MultilabelPrecisionRecallCurve);
export const roc = once(classes.ROC);
export const binaryROC = once(classes.BinaryROC);
export const multiclassROC = once(classes.MulticlassROC);
export const multilabelROC = once(classes.MultilabelROC);
export const specificity = once(classes.Specificity);
export const binarySpecificity = once(classes.BinarySpecificity);
export const multiclassSpecificity = once(classes.MulticlassSpecificity);
export const multilabelSpecificity = once(classes.MultilabelSpecificity);
export const statScores = once(classes.StatScores);
export const binaryStatScores = once(classes.BinaryStatScores);
export const multiclassStatScores = once(classes.MulticlassStatScores);
export const multilabelStatScores = once(classes.MultilabelStatScores);
export const meanSquaredError = once(regression.MeanSquaredError);
export const meanAbsoluteError = once(regression.MeanAbsoluteError);
export const meanAbsolutePercentageError = once(regression.MeanAbsolutePercentageError);
export const r2Score = once(regression.R2Score);
export const explainedVariance = once(regression.ExplainedVariance);
export const pearsonCorrcoef = once(regression.PearsonCorrCoef);
export const spearmanCorrcoef = once(regression.SpearmanCorrCoef);
export const cosineSimilarity = once(regression.CosineSimilarity);
export const klDivergence = once(regression.KLDivergence);
export const perplexity = once(text.Perplexity);
export const bleuScore = once(text.BLEUScore);
export const charErrorRate = once(text.CharErrorRate);
export const wordErrorRate = once(text.WordErrorRate);
