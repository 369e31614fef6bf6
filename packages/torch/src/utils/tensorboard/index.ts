/** As in torch.utils.tensorboard. */
export { SummaryWriter } from "./writer.js";
export type {
  AddAudioArguments,
  AddEmbeddingArguments,
  AddFigureArguments,
  AddHistogramArguments,
  AddHistogramRawArguments,
  AddHparamsArguments,
  AddImageArguments,
  AddImageWithBoxesArguments,
  AddMeshArguments,
  AddPrCurveArguments,
  AddPrCurveRawArguments,
  AddScalarArguments,
  AddScalarsArguments,
  AddTensorArguments,
  AddTextArguments,
  AddVideoArguments,
  CustomChartArguments,
  Figure,
  SummaryWriterArguments,
} from "./arguments.js";
export type { BinRule, Bins } from "./histogram.js";
export type { HparamValue } from "./hparams.js";
export type { CustomChart, CustomLayout } from "./layout.js";
export type { Numbers, Scalar } from "./numbers.js";
