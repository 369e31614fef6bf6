/** Frozen weights in few bits, and adapters beside them. */
export { fp4Map, nf4Map } from "./codebooks.js";
export {
  dequantizeWeight,
  quantizedBytes,
  quantizeWeight,
  WEIGHT_FORMATS,
  type QuantizedWeight,
  type WeightFormat,
} from "./quantize.js";
export { QuantizedLinear } from "./linear.js";
export { QUANTIZE_OPTIONS, quantizeWeights, type QuantizeWeightsOptions } from "./convert.js";
export { LoRALinear, type LoraBase, type LoraOptions } from "./lora.js";
export {
  addLora,
  loadLoraStateDict,
  loraParameters,
  loraStateDict,
  mergeLora,
  type AddLoraOptions,
} from "./adapters.js";
export { WeightMemory, weightMemory, type WeightMemoryRow } from "./memory.js";
