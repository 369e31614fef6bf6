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
