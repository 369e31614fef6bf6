/**
 * What the addon exports. Tensors are handles (numbers); arguments and results of operators travel through the Float64Array that `buffer` gives.
 * Only `@nbit/torch` speaks this language; everybody else uses tensors.
 * @internal
 */
export interface NativeAddon {
  // handles
  /** The Float64Array that arguments and results travel through, of at least this length: the present one, or a larger one with what is in it. */
  buffer(leastLength: number): Float64Array;
  /** `bufferHandler` gets a larger buffer where results need one. */
  setCallbacks(errorFactory: (code: string, message: string, op: string | null) => Error, warningHandler: (message: string) => void, bufferHandler: (buffer: Float64Array) => void): void;
  release(handle: number): void;
  /** buffer[0..n): handles. */
  releaseMany(n: number): void;
  guard(tensor: object, handle: number): void;
  /** → buffer: live, collected. */
  tensorCounts(): void;
  /** A line for each live tensor that the garbage collector will never free: those of open scopes and of lists, and those that are lost. */
  unguarded(): string;
  alive(handle: number): boolean;
  alias(handle: number): number;
  meta(handle: number): void;
  dtypeOf(handle: number): number;
  dataPointer(handle: number): number;
  storageInfo(handle: number): void;
  // dispatch
  call(): void;
  compileOp(name: string, overload: string): number;
  isDirect(id: number): boolean;
  setDirectCalls(on: boolean): void;
  setLinearNode(on: boolean): void;
  setLinearBranches(multiplyAdds: number): number;
  setMixedLinear(on: boolean): void;
  intern(text: string): number;
  schemas(name: string): string;
  operatorNames(): string;
  /** Operators that were called by name, latest first; a line each. */
  recentOperators(): string;
  // data
  fromBytes(bytes: ArrayBufferView | ArrayBuffer, dtype: number, device: number): number;
  toBytes(handle: number): ArrayBuffer;
  copyFromBytes(handle: number, bytes: ArrayBufferView | ArrayBuffer): void;
  item(handle: number): void;
  items(): void;
  // autograd
  setGradEnabled(on: boolean): boolean;
  isGradEnabled(): boolean;
  inferencePush(on: boolean): void;
  inferencePop(): void;
  isInferenceMode(): boolean;
  setRequiresGrad(handle: number, on: boolean): void;
  getGrad(handle: number): number;
  setGrad(handle: number, grad: number): void;
  gradsInto(n: number): void;
  countSteps(n: number): boolean;
  clearGrads(n: number): void;
  linkGrads(n: number, keepValues: boolean): number;
  gradFnName(handle: number): string | undefined;
  backward(retain: number, create: boolean): void;
  grad(retain: number, create: boolean, allowUnused: boolean): void;
  attachNode(backward: () => void, name: string, materialize: boolean): void;
  returnGradients(): void;
  registerHook(handle: number, fn: () => void): number;
  removeHook(handle: number, id: number): void;
  setPostAccumulateHook(handle: number, fn: (() => void) | null): void;
  setData(handle: number, source: number): void;
  retainGrad(handle: number): void;
  javascriptNodeCount(): number;
  // autocast
  autocastGet(deviceType: number): void;
  autocastSet(deviceType: number, enabled: boolean, dtype: number, cacheEnabled: boolean): void;
  autocastIncrementNesting(): number;
  autocastDecrementNesting(): number;
  autocastClearCache(): void;
  policyCreate(deviceType: number, rules: string): number;
  policyFree(id: number): void;
  policyPush(id: number): void;
  muteWarnings(on: boolean): boolean;
  policyPop(): void;
  weightCastsCreate(trainable: boolean): number;
  weightCastsFree(id: number): void;
  weightCastsPush(id: number): void;
  weightCastsPop(): void;
  weightCastsBytes(id: number): number;
  weightCast(weight: number, dtype: number): number;
  weightsChanged(byOptimizer: boolean): void;
  /** Calls an operator with samples under autocast; `narrow`: bfloat16 are 0 none of its tensors, 1 all, 2 the first. */
  autocastProbe(name: string, overload: string, deviceType: number, narrow: 0 | 1 | 2): void;
  dumpKernels(name: string, overload: string): string;
  // random
  generatorCreate(device: number, isDefault: boolean): number;
  generatorFree(id: number): void;
  generatorSetSeed(): void;
  generatorSeed(id: number): void;
  generatorReseed(id: number): void;
  generatorCopy(from: number, to: number): void;
  generatorGetState(id: number): number;
  generatorSetState(id: number, state: number): void;
  manualSeed(): void;
  // trace
  traceStart(checkValues?: boolean): void;
  traceMark(): number;
  traceStop(): string;
  // allocator
  allocatorInstall(): void;
  allocatorStats(): void;
  allocatorResetPeak(): void;
  allocatorSetCap(bytes: number): void;
  allocatorTrim(): number;
  /** For tests: the n-th allocation from now on and its followers fail, `count` of them; n = 0: none. Gives how many of the failures asked for before were still to come. */
  allocatorFail(n: number, count: number, badAlloc: boolean): number;
  // context
  setThreads(n: number): void;
  getThreads(): number;
  setInteropThreads(n: number): void;
  getInteropThreads(): number;
  info(): NativeInfo;
  setSwitch(name: string, on: boolean): void;
  getSwitch(name: string): boolean;
  setFloat32MatmulPrecision(name: string): void;
  getFloat32MatmulPrecision(): string;
  setDefaultDtype(dtype: number): void;
  getDefaultDtype(): number;
  /** The C library's pow. */
  pow(base: number, exponent: number): number;
  // cuda: present only when the addon was built for a CUDA libtorch
  cudaProperties?(index: number): CudaProperties;
  cudaVersions?(): void;
  cudaSynchronize?(index: number): void;
  cudaCurrentDevice?(): number;
  cudaSetDevice?(index: number): void;
  cudaMemory?(index: number): void;
  cudaResetPeak?(index: number): void;
  cudaEmptyCache?(): void;
  /** False while a graph that may have recorded them lives. */
  cudaClearWorkspaces?(): boolean;
  cudaSyncDebug?(mode: number): void;
  cudaMemoryFraction?(fraction: number, index: number): void;
  streamCreate?(index: number, high: boolean): number;
  streamCurrent?(index: number): number;
  streamSetCurrent?(id: number): void;
  streamSynchronize?(id: number): void;
  streamQuery?(id: number): boolean;
  streamUses?(handle: number, id: number): void;
  streamFree?(id: number): void;
  eventCreate?(timing: boolean): number;
  eventRecord?(id: number, stream: number): void;
  eventWait?(id: number, stream: number): void;
  eventSynchronize?(id: number): void;
  eventQuery?(id: number): boolean;
  eventElapsed?(from: number, to: number): number;
  eventFree?(id: number): void;
  graphCreate?(sharesWith: number): number;
  graphBegin?(id: number): void;
  graphEnd?(id: number): void;
  graphReplay?(id: number): void;
  graphFree?(id: number): void;
  graphSideStream?(id: number, enter: boolean): void;
  hasKernel(dispatchKey: string, name: string, overload: string): boolean;
  kernelsOf(dispatchKey: string): string;
}

export interface CudaProperties {
  readonly name: string;
  readonly major: number;
  readonly minor: number;
  readonly totalMemory: number;
  readonly multiprocessors: number;
  readonly l2CacheSize: number;
}

export interface NativeInfo {
  readonly version: string;
  readonly cpuCapability: string;
  readonly parallel: string;
  readonly config: string;
  readonly mkldnn: boolean;
  readonly mkl: boolean;
  readonly cuda: boolean;
  readonly cudaDevices: number;
  /** Device type names by code, separated by spaces. */
  readonly devices: string;
  /** Scalar type names by code, separated by spaces. */
  readonly dtypes: string;
}
