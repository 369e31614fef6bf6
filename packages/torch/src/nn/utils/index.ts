/** `nn.utils`: what is done to gradients, parameters, modules and sequences. */
export {
  clipGradNorm_,
  clipGradNorm_ as clipGradNorm,
  clipGradsWithNorm_,
  clipGradValue_,
  getTotalNorm,
} from "../../optim/clip.js";
export { fuseConvBnEval, fuseConvBnWeights, fuseLinearBnEval, fuseLinearBnWeights } from "./fusion.js";
export { convertConv2dWeightMemoryFormat, convertConv3dWeightMemoryFormat } from "./memory-format.js";
export * as parametrizations from "./parametrizations.js";
export * as parametrize from "./parametrize.js";
export * as prune from "./prune/index.js";
export * as rnn from "./rnn.js";
export { skipInit } from "./skip-init.js";
export { removeSpectralNorm, spectralNorm } from "./spectral-norm.js";
export * as stateless from "./stateless.js";
export { parametersToVector, vectorToParameters } from "./vectors.js";
export { removeWeightNorm, weightNorm } from "./weight-norm.js";
