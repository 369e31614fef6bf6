"""Writes metrics.jsonl: what torchmetrics comes to, batch by batch, for the cases below. Needs torchmetrics and PyTorch.

A case is a class with its arguments, the recipe of its batches (sizes differ), the value of each batch by forward, and
the value over all. Inputs are made by formulas that the test repeats: no file of numbers is needed.
"""

import itertools
import json
import math
import os

import torch
import torchmetrics
from torchmetrics import classification, regression, text


def numbers(n, seed):
    """n numbers in [0, 1), equal in JavaScript: Weyl's sequence of seed, in float64, then rounded to float32."""
    return torch.tensor([math.modf((i + 1) * 0.6180339887498949 + seed * 0.7548776662466927)[0] for i in range(n)],
                        dtype=torch.float64)


def shaped(shape, seed):
    return numbers(math.prod(shape), seed).reshape(shape).float()


def ints(shape, high, seed):
    return (numbers(math.prod(shape), seed) * high).long().reshape(shape)


SIZES = [5, 1, 8, 3]


def batch(kind, i):
    n, seed = kind.get("sizes", SIZES)[i], 10 * i + 1
    extra = kind.get("extra", [])
    of = kind["of"]
    logits = kind.get("logits", False)
    scale = (lambda t: t * 8 - 4) if logits else (lambda t: t)
    if of == "binary":
        preds = scale(shaped([n, *extra], seed)) if not kind.get("labels") else ints([n, *extra], 2, seed)
        target = ints([n, *extra], 2, seed + 3)
    elif of == "multiclass":
        c = kind["classes"]
        if kind.get("labels"):
            preds = ints([n, *extra], c, seed)
        else:
            preds = scale(shaped([n, c, *extra], seed))
            if not logits:
                preds = preds / preds.sum(1, keepdim=True)
        target = ints([n, *extra], c, seed + 3)
    elif of == "multilabel":
        k = kind["classes"]
        preds = scale(shaped([n, k, *extra], seed)) if not kind.get("labels") else ints([n, k, *extra], 2, seed)
        target = ints([n, k, *extra], 2, seed + 3)
    elif of == "regression":
        preds = shaped([n + 2, *extra], seed) * 4 - 2
        target = preds * 0.5 + shaped([n + 2, *extra], seed + 3)
    elif of == "vectors":
        preds, target = shaped([n, 4], seed) + 0.1, shaped([n, 4], seed + 3) + 0.1
    elif of == "tokens":
        preds = shaped([n, 3, 7], seed) * 6 - 3
        target = ints([n, 3], 7, seed + 3)
    elif of == "values":
        return (shaped([n], seed),)
    elif of == "weighted":
        return (shaped([n], seed), shaped([n], seed + 3))
    else:
        words = ["the", "cat", "sat", "on", "a", "mat", "and", "slept"]
        said = [[words[j] for j in ints([4 + r % 3], 8, seed + r).tolist()] for r in range(n)]
        meant = [[w if j % 3 else words[(j + seed) % 8] for j, w in enumerate(s)] for s in said]
        join = lambda s: " ".join(s)
        if of == "bleu":
            return ([join(s) for s in said], [[join(m), join(m[1:] + ["too"])] for m in meant])
        return ([join(s) for s in said], [join(m) for m in meant])
    if kind.get("ignored") is not None:
        flat = target.flatten()
        flat[::3] = kind["ignored"]
        target = flat.reshape(target.shape)
    return preds, target


def plain(value):
    if isinstance(value, torch.Tensor):
        return value.double().tolist()
    return [plain(v) for v in value]


def camel(name):
    head, *rest = name.split("_")
    return head + "".join(w[0].upper() + w[1:] for w in rest)


def safe(value):
    """JSON has no NaN and no infinities."""
    if isinstance(value, list):
        return [safe(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


lines = []


def case(cls, kwargs, kind):
    metric = cls(**kwargs)
    try:
        forward = [plain(metric(*batch(kind, i))) for i in range(len(SIZES))]
        value = plain(metric.compute())
    except Exception as error:
        print("left out:", cls.__name__, kwargs, kind, str(error)[:80])
        return
    line = {"metric": cls.__name__, "options": {camel(k): v for k, v in kwargs.items()}, "kind": kind,
            "forward": safe(forward), "value": safe(value)}
    lines.append(json.dumps(line))


def main():
    averages = ["micro", "macro", "weighted", "none"]
    counted = ["Accuracy", "Precision", "Recall", "F1Score", "FBetaScore", "Specificity", "HammingDistance", "StatScores"]
    for name in counted:
        beta = {"beta": 2.0} if name == "FBetaScore" else {}
        of = lambda task: getattr(classification, task + name)
        binary = {"of": "binary"}
        case(of("Binary"), beta, binary)
        case(of("Binary"), {**beta, "threshold": 0.3}, {**binary, "logits": True})
        case(of("Binary"), {**beta, "ignore_index": -1}, {**binary, "ignored": -1})
        case(of("Binary"), {**beta, "multidim_average": "samplewise"}, {**binary, "extra": [6], "sizes": [5, 2, 8, 3]})
        for average in averages:
            case(of("Multiclass"), {**beta, "num_classes": 4, "average": average}, {"of": "multiclass", "classes": 4})
            case(of("Multilabel"), {**beta, "num_labels": 3, "average": average}, {"of": "multilabel", "classes": 3})
        case(of("Multiclass"), {**beta, "num_classes": 4, "average": "macro", "ignore_index": 1}, {"of": "multiclass", "classes": 4, "logits": True})
        case(of("Multiclass"), {**beta, "num_classes": 4, "average": "micro", "ignore_index": -100}, {"of": "multiclass", "classes": 4, "ignored": -100})
        case(of("Multiclass"), {**beta, "num_classes": 5, "average": "macro", "top_k": 2}, {"of": "multiclass", "classes": 5})
        case(of("Multiclass"), {**beta, "num_classes": 5, "average": "micro", "top_k": 3}, {"of": "multiclass", "classes": 5})
        case(of("Multiclass"), {**beta, "num_classes": 4, "average": "macro"}, {"of": "multiclass", "classes": 4, "labels": True})
        for average in ["micro", "macro"]:
            case(of("Multiclass"), {**beta, "num_classes": 3, "average": average, "multidim_average": "samplewise"}, {"of": "multiclass", "classes": 3, "extra": [5]})
            case(of("Multilabel"), {**beta, "num_labels": 3, "average": average, "multidim_average": "samplewise"}, {"of": "multilabel", "classes": 3, "extra": [5], "sizes": [5, 2, 8, 3]})
        case(of("Multiclass"), {**beta, "num_classes": 3}, {"of": "multiclass", "classes": 3, "extra": [4, 2]})
        case(of("Multilabel"), {**beta, "num_labels": 3, "ignore_index": 0}, {"of": "multilabel", "classes": 3, "logits": True})
    for name in ["ConfusionMatrix", "JaccardIndex", "MatthewsCorrCoef", "CohenKappa"]:
        of = lambda task: getattr(classification, task + name)
        options = {"ConfusionMatrix": [{}, {"normalize": "true"}, {"normalize": "pred"}, {"normalize": "all"}],
                   "JaccardIndex": [{}], "MatthewsCorrCoef": [{}],
                   "CohenKappa": [{}, {"weights": "linear"}, {"weights": "quadratic"}]}[name]
        for option in options:
            case(of("Binary"), option, {"of": "binary"})
            case(of("Multiclass"), {"num_classes": 4, **option}, {"of": "multiclass", "classes": 4})
            if name != "CohenKappa":
                case(of("Multilabel"), {"num_labels": 3, **option}, {"of": "multilabel", "classes": 3})
        case(of("Binary"), {"ignore_index": -1}, {"of": "binary", "ignored": -1})
        case(of("Multiclass"), {"num_classes": 4, "ignore_index": 2}, {"of": "multiclass", "classes": 4, "logits": True})
        if name == "JaccardIndex":
            for average in averages:
                case(of("Multiclass"), {"num_classes": 4, "average": average}, {"of": "multiclass", "classes": 4})
                case(of("Multiclass"), {"num_classes": 4, "average": average, "ignore_index": 0}, {"of": "multiclass", "classes": 4})
                case(of("Multilabel"), {"num_labels": 3, "average": average}, {"of": "multilabel", "classes": 3})
    for name in ["AUROC", "AveragePrecision", "PrecisionRecallCurve", "ROC"]:
        of = lambda task: getattr(classification, task + name)
        for thresholds in [None, 7, [0.1, 0.4, 0.6, 0.9]]:
            t = {"thresholds": thresholds}
            case(of("Binary"), t, {"of": "binary"})
            case(of("Binary"), {**t, "ignore_index": -1}, {"of": "binary", "ignored": -1, "logits": True, "sizes": [5, 2, 8, 4]})
            case(of("Multiclass"), {"num_classes": 4, **t}, {"of": "multiclass", "classes": 4})
            case(of("Multiclass"), {"num_classes": 4, "ignore_index": 1, **t}, {"of": "multiclass", "classes": 4, "logits": True})
            case(of("Multilabel"), {"num_labels": 3, **t}, {"of": "multilabel", "classes": 3})
            if name in ("AUROC", "AveragePrecision"):
                for average in ["weighted", "none"]:
                    case(of("Multiclass"), {"num_classes": 4, "average": average, **t}, {"of": "multiclass", "classes": 4})
                for average in averages:
                    case(of("Multilabel"), {"num_labels": 3, "average": average, **t}, {"of": "multilabel", "classes": 3})
        if name == "AUROC":
            case(of("Binary"), {"max_fpr": 0.4}, {"of": "binary"})
            case(of("Binary"), {"max_fpr": 0.5, "thresholds": 9}, {"of": "binary"})
    for norm, bins in itertools.product(["l1", "l2", "max"], [15, 4]):
        case(classification.BinaryCalibrationError, {"norm": norm, "n_bins": bins}, {"of": "binary"})
        case(classification.MulticlassCalibrationError, {"num_classes": 4, "norm": norm, "n_bins": bins}, {"of": "multiclass", "classes": 4, "logits": True})
    case(classification.MulticlassCalibrationError, {"num_classes": 4, "ignore_index": 0}, {"of": "multiclass", "classes": 4})
    plainly = {"of": "regression"}
    for kwargs in [{}, {"squared": False}]:
        case(regression.MeanSquaredError, kwargs, plainly)
        case(regression.MeanSquaredError, kwargs, {**plainly, "extra": [3]})
    case(regression.MeanSquaredError, {"num_outputs": 3}, {**plainly, "extra": [3]})
    case(regression.MeanAbsoluteError, {}, plainly)
    case(regression.MeanAbsoluteError, {"num_outputs": 3}, {**plainly, "extra": [3]})
    case(regression.MeanAbsolutePercentageError, {}, plainly)
    for multioutput in ["raw_values", "uniform_average", "variance_weighted"]:
        case(regression.R2Score, {"multioutput": multioutput}, {**plainly, "extra": [3]})
        case(regression.ExplainedVariance, {"multioutput": multioutput}, {**plainly, "extra": [3]})
    case(regression.R2Score, {}, plainly)
    case(regression.R2Score, {"adjusted": 1}, plainly)
    case(regression.ExplainedVariance, {}, plainly)
    for cls in [regression.PearsonCorrCoef, regression.SpearmanCorrCoef]:
        case(cls, {}, plainly)
        case(cls, {"num_outputs": 3}, {**plainly, "extra": [3]})
    for reduction in ["sum", "mean", "none"]:
        case(regression.CosineSimilarity, {"reduction": reduction}, {"of": "vectors"})
        case(regression.KLDivergence, {"reduction": reduction}, {"of": "vectors"})
    case(regression.KLDivergence, {"log_prob": True}, {"of": "vectors"})
    case(text.Perplexity, {}, {"of": "tokens"})
    case(text.Perplexity, {"ignore_index": -100}, {"of": "tokens", "ignored": -100})
    case(text.WordErrorRate, {}, {"of": "words"})
    case(text.CharErrorRate, {}, {"of": "words"})
    for kwargs in [{}, {"n_gram": 2}, {"smooth": True}, {"n_gram": 2, "weights": [0.3, 0.7]}]:
        case(text.BLEUScore, kwargs, {"of": "bleu"})
    for name in ["SumMetric", "MeanMetric", "MaxMetric", "MinMetric", "CatMetric", "RunningMean", "RunningSum"]:
        case(getattr(torchmetrics, name) if hasattr(torchmetrics, name) else getattr(torchmetrics.aggregation, name), {}, {"of": "values"})
    case(torchmetrics.MeanMetric, {}, {"of": "weighted"})
    case(torchmetrics.aggregation.RunningMean, {"window": 2}, {"of": "values"})
    case(torchmetrics.aggregation.RunningSum, {"window": 3}, {"of": "values"})
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "metrics.jsonl")
    with open(path, "w") as file:
        file.write("\n".join(lines) + "\n")
    print(len(lines), "cases, torchmetrics", torchmetrics.__version__)


main()
