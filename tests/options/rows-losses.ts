/** How to call the losses, as functions and as modules, and the initialisers. */
import { ones } from "@nbit/torch";

interface Row {
  readonly args: readonly unknown[];
}
const x = ones([2, 2]);
const row = (...args: readonly unknown[]): Row => ({ args });
const rows = (before: string, names: string, make: () => Row): Readonly<Record<string, () => Row>> =>
  Object.fromEntries(names.split(" ").map((name) => [before + name, make]));

export const LOSSES: Readonly<Record<string, () => Row>> = {
  ...rows(
    "torch.nn.",
    "BCELoss BCEWithLogitsLoss CTCLoss CosineEmbeddingLoss CrossEntropyLoss GaussianNLLLoss HingeEmbeddingLoss HuberLoss KLDivLoss L1Loss MSELoss MarginRankingLoss " +
      "MultiLabelMarginLoss MultiLabelSoftMarginLoss MultiMarginLoss NLLLoss NLLLoss2d PoissonNLLLoss SmoothL1Loss SoftMarginLoss TripletMarginLoss TripletMarginWithDistanceLoss",
    () => row(),
  ),
  ...rows(
    "torch.",
    "binaryCrossEntropy binaryCrossEntropyWithLogits crossEntropyLoss hingeEmbeddingLoss huberLoss klDiv l1Loss mseLoss multilabelMarginLoss nllLoss nn.functional.poissonNllLoss " +
      "multiMarginLoss nn.functional.smoothL1Loss nn.functional.softMarginLoss nn.functional.multilabelSoftMarginLoss",
    () => row(x, x),
  ),
  ...rows(
    "torch.",
    "cosineEmbeddingLoss marginRankingLoss nn.functional.tripletMarginLoss nn.functional.gaussianNllLoss nn.functional.tripletMarginWithDistanceLoss",
    () => row(x, x, x),
  ),
  ...rows(
    "torch.nn.init.",
    "dirac dirac_ eye eye_ kaimingNormal kaimingNormal_ kaimingUniform kaimingUniform_ normal normal_ ones_ orthogonal orthogonal_ truncNormal_ uniform uniform_ " +
      "xavierNormal xavierNormal_ xavierUniform xavierUniform_ zeros_",
    () => row(x),
  ),
  ...rows("torch.nn.init.", "constant constant_ sparse sparse_", () => row(x, 0.5)),
  "torch.nn.init.calculateGain": () => row("relu"),
  "torch.nn.LinearCrossEntropyLoss": () => row(4, 4),
  "torch.nn.functional.linearCrossEntropy": () => row(x, x, ones([2])),
  "torch.nn.AdaptiveLogSoftmaxWithLoss": () => row(4, 4, [2]),
  "torch.ctcLoss": () => row(x, x, [1], [1]),
};

/** Their methods count their arguments. */
export const LOSS_METHODS: readonly string[] = [
  ...["resetParameters", "logProb", "predict"].map((name) => `torch.nn.AdaptiveLogSoftmaxWithLoss#${name}`),
  ...Object.keys(LOSSES)
    .filter((path) => /^torch\.nn\.[A-Z]/.test(path) && path !== "torch.nn.NLLLoss2d")
    .map((path) => `${path}#forward`),
];
