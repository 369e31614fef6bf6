/** @nbit/xla: recorded steps as StableHLO, compiled and run through PJRT plugins. */
export { XlaError } from "./errors.js";
export { XlaPlugin, type PluginOptions } from "./plugin.js";
export { mayHaveTpu } from "./may-have-tpu.js";
export { findPlugins, pluginFor, type PluginPlace } from "./plugins.js";
export {
  XlaClient,
  type ClientCompileOptions,
  type FromHostOptions,
  type HostMemory,
  type XlaStats,
} from "./client.js";
export { XlaTopology } from "./topology.js";
export { XlaExecutable, type Analysis, type CompiledMemory, type ExecuteOptions } from "./executable.js";
export { XlaBuffer } from "./buffer.js";
export { ExecutableCache, type ExecutableCacheOptions } from "./cache.js";
export { XLA_DTYPES, type XlaDType } from "./dtypes.js";
export { type CompileOptions } from "./compile-options.js";
export { type XlaDevice } from "./devices.js";
export { type Argument } from "./signature.js";
export * from "./lower/index.js";
export type { Comparison, Emitter } from "./stablehlo/emitter.js";
export type { Element, Operand, Ssa } from "./stablehlo/types.js";
