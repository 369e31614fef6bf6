/**
 * @nbit/lowbit: optimizer state in 8 and 4 bits and float8; training in float8; quantized frozen weights with adapters.
 */
export { dynamicMap, dynamicMap4, linearMap } from "./map.js";
export { dequantizeBlockwise, FORMATS, quantizeBlockwise, type QuantizeOptions } from "./format.js";
export type { FormatName, Quantized, StateFormat } from "./state-format.js";
export { FAMILIES, type Family, type Hyper } from "./families.js";
export type { StepScalar } from "./scalars.js";
export { LowBitOptimizer } from "./optimizer.js";
export { type LowBitOptions } from "./options.js";
export { fromBitsandbytes } from "./upstream.js";
export { keep32bit, StableEmbedding } from "./overrides.js";
export * from "./optimizers.js";
export * from "./float8/index.js";
export * from "./quantized/index.js";
