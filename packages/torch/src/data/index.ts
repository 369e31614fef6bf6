export {
  Dataset,
  IterableDataset,
  TensorDataset,
  Subset,
  ConcatDataset,
  ChainDataset,
  type Source,
} from "./dataset.js";
export { randomSplit } from "./split.js";
export {
  Sampler,
  SequentialSampler,
  RandomSampler,
  SubsetRandomSampler,
  WeightedRandomSampler,
  type RandomSamplerOptions,
  type Sized,
} from "./sampler.js";
export { BatchSampler } from "./batch-sampler.js";
export { DistributedSampler, type DistributedSamplerOptions } from "./distributed-sampler.js";
export {
  DistributedSamplerWrapper,
  IterableDatasetShard,
  UnrepeatedDistributedSampler,
  type DistributedSamplerWrapperOptions,
  type IterableDatasetShardOptions,
  type OrderSplitOptions,
  type ReplicaOptions,
} from "./rank-split.js";
export { collate, defaultCollate, defaultConvert, type CollateOptions, type Collated } from "./collate.js";
export { StackDataset, type Stacked } from "./stack-dataset.js";
export { DataLoader } from "./loader.js";
export {
  CombinedLoader,
  type Combined,
  type CombinedLoaderArguments,
  type CombinedMode,
  type Iterables,
} from "./combined-loader.js";
export type { DataLoaderArguments, DataLoaderOptions } from "./loader-options.js";
export type { LoaderState, WorkersState } from "./loader-state.js";
export { getWorkerInfo, type WorkerInfo } from "./workers/worker-info.js";
export { DataWorkerError } from "./workers/failure.js";
export type { WorkerDataset } from "./workers/remote.js";
