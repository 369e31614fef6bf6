/** Which fields of layers are for parameters: a plain tensor there would be in no checkpoint and no optimizer. */
import { declareParameters } from "./keys.js";
import * as layers from "./layers.js";
import * as recurrent from "./recurrent/index.js";
import * as transformer from "./transformer/index.js";

declareParameters(
  ["weight", "bias"],
  layers.Linear,
  layers.Bilinear,
  layers.Conv1d,
  layers.Conv2d,
  layers.Conv3d,
  layers.ConvTranspose1d,
  layers.ConvTranspose2d,
  layers.ConvTranspose3d,
  layers.BatchNorm1d,
  layers.BatchNorm2d,
  layers.BatchNorm3d,
  layers.SyncBatchNorm,
  layers.InstanceNorm1d,
  layers.InstanceNorm2d,
  layers.InstanceNorm3d,
  layers.LayerNorm,
  layers.GroupNorm,
  layers.RMSNorm,
  layers.Embedding,
  layers.EmbeddingBag,
  layers.PReLU,
);
declareParameters(["weightIh", "weightHh", "biasIh", "biasHh"], recurrent.RNNCellBase);
declareParameters(
  ["inProjWeight", "qProjWeight", "kProjWeight", "vProjWeight", "inProjBias", "biasK", "biasV"],
  transformer.MultiheadAttention,
);
