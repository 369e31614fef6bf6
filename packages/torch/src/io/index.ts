export {
  saveSafetensors,
  serializeSafetensors,
  type NamedTensors,
  type SaveOptions,
  type SaveSafetensorsOptions,
} from "./safetensors-write.js";
export { shardSizeKind, type ShardSize } from "./safetensors-shards.js";
export { loadSafetensors, parseSafetensors, SafetensorsFile, type LoadOptions } from "./safetensors-read.js";
export type { TensorInfo } from "./safetensors-header.js";
export { packState, plainTensorNames, unpackState, type PackedState, type StateValue } from "./state.js";
export { BackgroundWriter } from "./background-writer.js";
export { copyOfCheckpoint, saveCheckpoint, loadCheckpoint, openCheckpoint, CHECKPOINT_VERSION } from "./checkpoint.js";
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
export { saveSharded } from "./save-sharded.js";
export { ShardedCheckpoint } from "./sharded-read.js";
export type { ManifestTensor, Part } from "./sharded-manifest.js";
export { consolidateCheckpoint, type ConsolidateOptions } from "./consolidate.js";
export { writeAtomically } from "./atomic.js";
export { writeAll, writeText } from "./replace.js";
export { loadIdx, parseIdx, readIdx, IdxError, type IdxArray } from "./idx.js";
export { load, loadBesideThePickle, type LoadArguments } from "./torch-file/load.js";
export { loadPickle, type LoadPickleArguments } from "./torch-file/pickle-file.js";
export { save, saveTorchFile, type SaveArguments } from "./torch-file/save.js";
export { LoadedStorage, type MapLocation } from "./torch-file/place.js";
export { TorchFileError, type TorchFileCode } from "./torch-file/errors.js";
export * as numpy from "./numpy/index.js";
export { NumpyError, type NumpyCode } from "./numpy/errors.js";
