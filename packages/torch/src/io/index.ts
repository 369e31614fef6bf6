export { saveSafetensors, serializeSafetensors, type NamedTensors, type SaveOptions } from "./safetensors-write.js";
export { loadSafetensors, parseSafetensors, SafetensorsFile, type LoadOptions } from "./safetensors-read.js";
export type { TensorInfo } from "./safetensors-header.js";
export { packState, plainTensorNames, unpackState, type PackedState, type StateValue } from "./state.js";
export { saveCheckpoint, loadCheckpoint, openCheckpoint, CHECKPOINT_VERSION } from "./checkpoint.js";
export {
  SafetensorsError,
  CheckpointError,
  FileError,
  asFileError,
  checkPath,
  checkReadable,
  withFile,
  type SafetensorsCode,
} from "./errors.js";
export {
  removeSharded,
  writeManifest,
  writeShard,
  type Shard,
  type ShardedState,
  type TensorPart,
} from "./sharded-write.js";
export { ShardedCheckpoint } from "./sharded-read.js";
export type { ManifestTensor, Part } from "./sharded-manifest.js";
export { consolidateCheckpoint, type ConsolidateOptions } from "./consolidate.js";
export { writeAtomically } from "./atomic.js";
export { writeAll, writeText } from "./replace.js";
export { loadIdx, parseIdx, readIdx, IdxError, type IdxArray } from "./idx.js";
