/** How to call loggers and what writes for TensorBoard. */
import * as lightning from "@nbit/lightning";
import { ones } from "@nbit/torch";

interface Row {
  readonly args: readonly unknown[];
  readonly self?: object;
}
const row = (...args: readonly unknown[]): Row => ({ args });
const image = ones([3, 2, 2]);

const WRITER: Readonly<Record<string, () => Row>> = {
  addScalar: () => row("a", 1),
  addScalars: () => row("a", {}),
  addTensor: () => row("a", image),
  addHistogram: () => row("a", [1]),
  addHistogramRaw: () => row("a", 0, 1, 1, 1, 1, [1], [1]),
  addImage: () => row("a", image),
  addImages: () => row("a", image),
  addImageWithBoxes: () => row("a", image, [0, 0, 1, 1]),
  addFigure: () => row("a", image),
  addVideo: () => row("a", image),
  addAudio: () => row("a", [0]),
  addText: () => row("a", "b"),
  addEmbedding: () => row(image),
  addPrCurve: () => row("a", [1], [1]),
  addPrCurveRaw: () => row("a", [1], [1], [1], [1], [1], [1]),
  addCustomScalarsMultilinechart: () => row(["a"]),
  addCustomScalarsMarginchart: () => row(["a", "b", "c"]),
  addMesh: () => row("a", image, null, null, null),
  addHparams: () => row({}, {}, null),
};

export const LOGGING: Readonly<Record<string, () => Row>> = {
  "torch.utils.tensorboard.SummaryWriter": () => row(),
  ...Object.fromEntries(
    Object.entries(WRITER).map(([name, make]) => [`torch.utils.tensorboard.SummaryWriter#${name}`, make]),
  ),
  "lightning.JSONLLogger": () => row("logs"),
  "lightning.MLFlowLogger": () => row("logs"),
  "lightning.TensorBoardLogger": () => row("logs"),
  "lightning.WandbLogger": () => row("logs"),
  ...Object.fromEntries(
    ["logImage", "logAudio", "logVideo"].map((name) => [
      `lightning.WandbLogger#${name}`,
      () => ({ self: new lightning.WandbLogger(), args: ["a", [], null] }),
    ]),
  ),
};

export const PLAIN_LOGGING: Readonly<Record<string, string>> = {
  "torch.utils.tensorboard.SummaryWriter#": "getLogdir addGraph addCustomScalars flush close",
  "lightning.JSONLLogger#": "save",
  "lightning.MLFlowLogger#": "save",
  "lightning.TensorBoardLogger#": "save",
  "lightning.WandbLogger#": "logTable logText",
  "lightning.WandbRun#": "log defineMetric finish",
  "lightning.MlflowClient#":
    "getExperimentByName createExperiment createRun getRun setTerminated logBatch logMetric logParam setTag logArtifact",
  "lightning.": "MlflowClient",
};
