/** @nbit/torch/distributed: training in several processes, on libtorch's c10d. Names are PyTorch's. */
export {
  destroyProcessGroup,
  flightRecorder,
  getBackend,
  getRank,
  getWorldSize,
  initFakeProcessGroup,
  initProcessGroup,
  isAvailable,
  isGlooAvailable,
  isInitialized,
  isNcclAvailable,
  newGroup,
  ProcessGroup,
  reportFailure,
  setStep,
  whereRanksAre,
  type Backend,
  type InitProcessGroupOptions,
  type NewGroupOptions,
} from "./group.js";
export {
  allGather,
  allGatherIntoTensor,
  allReduce,
  allToAllSingle,
  barrier,
  broadcast,
  broadcastCoalesced,
  gather,
  recv,
  reduce,
  ReduceOp,
  reduceScatter,
  reduceScatterTensor,
  scatter,
  send,
  Work,
  type CollectiveOptions,
  type DestinationOptions,
  type PointOptions,
  type ReduceOptions,
  type RootOptions,
} from "./collectives.js";
export { allGatherObject, broadcastObject, broadcastObjectList, gatherObject, scatterObject } from "./objects.js";
export { DeviceMesh, initDeviceMesh, type DeviceMeshOptions } from "./device-mesh.js";
export { DistributedDataParallel, type DistributedDataParallelArguments } from "./data-parallel.js";
export { Reducer, type CommHook, type ReducerOptions } from "./reducer.js";
export * from "./fsdp/index.js";
export { withoutCollectives, type CollectiveCount } from "./record.js";
export { simulateRanks, type SimulatedRank, type SimulatedStep, type SimulationOptions } from "./simulate.js";
export { globalRank } from "./global-rank.js";
export { clusterEnvironment, type ClusterEnvironment } from "./environment.js";
export { DistributedSampler, type DistributedSamplerOptions } from "../data/distributed-sampler.js";
