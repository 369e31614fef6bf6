/** Switches of the process by PyTorch's names: `backends.cudnn.benchmark = true`. `setSwitch` is what they are made of. */
import { cpuCapability, getSwitch, setSwitch, type Switch } from "./backend.js";
import { ArgumentError } from "./errors.js";
import { nearest } from "./names.js";
import { info } from "./native.js";
import { atMost } from "./options.js";

/** Only what is there can be set, and only to true or false. */
function strict<T extends object>(name: string, target: T): T {
  return new Proxy(target, {
    set(of, key, value): boolean {
      const path = `backends.${name}`;
      const settable = Object.entries(Object.getOwnPropertyDescriptors(of)).flatMap(([k, d]) =>
        d.set === undefined ? [] : [k],
      );
      if (typeof key !== "string" || !settable.includes(key)) {
        const near = nearest(String(key), settable);
        throw new ArgumentError(
          path,
          near !== null
            ? `the setting ${near}`
            : settable.length === 0
              ? "no settings"
              : `settings among ${settable.join(", ")}`,
          String(key),
        );
      }
      return Reflect.set(of, key, value);
    },
    defineProperty(_, key): boolean {
      throw new ArgumentError(`backends.${name}`, "settings to be assigned", String(key));
    },
  });
}
function flagOf(name: string, value: unknown): boolean {
  if (typeof value !== "boolean") throw new ArgumentError(`backends.${name}`, "true or false", value);
  return value;
}
type Readable = Parameters<typeof getSwitch>[0];
const toggle = (name: string, of: Readable): PropertyDescriptor & ThisType<unknown> => ({
  get: () => getSwitch(of),
  set: (value: unknown) => setSwitch(of, flagOf(name, value)),
  enumerable: true,
});
const never = (name: string, is: boolean, why: string): PropertyDescriptor => ({
  get: () => is,
  set: (value: unknown) => {
    if (flagOf(name, value) !== is) throw new ArgumentError(`backends.${name}`, `${is}: ${why}`, value);
  },
  enumerable: true,
});
const made = <T extends object>(name: string, properties: Record<string, PropertyDescriptor>, methods: object): T =>
  strict(name, Object.defineProperties(methods, properties) as T);
const asks =
  (name: string, ask: () => boolean): (() => boolean) =>
  (...given: readonly unknown[]) => {
    atMost(`backends.${name}`, given, 0);
    return ask();
  };

export interface CudnnBackend {
  /** Try several algorithms of a convolution at first, and keep the fastest. Default false. */
  benchmark: boolean;
  /** Only algorithms that give the same result every time. Default false. */
  deterministic: boolean;
  /** TF32 in convolutions of float32. Default true. */
  allowTf32: boolean;
  /** Always true: convolutions on a GPU are cuDNN's where it has one. */
  enabled: boolean;
  isAvailable(): boolean;
}
export const cudnn = made<CudnnBackend>(
  "cudnn",
  {
    benchmark: toggle("cudnn.benchmark", "cudnnBenchmark"),
    deterministic: toggle("cudnn.deterministic", "cudnnDeterministic"),
    allowTf32: toggle("cudnn.allowTf32", "tf32Cudnn"),
    enabled: never("cudnn.enabled", true, "cuDNN cannot be left out here"),
  },
  { isAvailable: asks("cudnn.isAvailable", () => info.cuda) },
);

export interface MatmulBackend {
  /** TF32 in matrix products of float32. Default false; `setFloat32MatmulPrecision("high")` is the same. */
  allowTf32: boolean;
  /** Sums of float16 products may be kept in float16. Default true. */
  allowFp16ReducedPrecisionReduction: boolean;
}
let fp16Reduction = true;
const SWITCH: Switch = "fp16ReducedReduction";
const matmul = made<MatmulBackend>(
  "cuda.matmul",
  {
    allowTf32: toggle("cuda.matmul.allowTf32", "tf32Matmul"),
    allowFp16ReducedPrecisionReduction: {
      get: () => fp16Reduction,
      set: (value: unknown) => {
        const on = flagOf("cuda.matmul.allowFp16ReducedPrecisionReduction", value);
        setSwitch(SWITCH, on);
        fp16Reduction = on;
      },
      enumerable: true,
    },
  },
  {},
);
export interface CudaBackend {
  readonly matmul: MatmulBackend;
  isBuilt(): boolean;
}
export const cuda = made<CudaBackend>("cuda", {}, { matmul, isBuilt: asks("cuda.isBuilt", () => info.cuda) });

export interface Availability {
  isAvailable(): boolean;
}
export const mkldnn = made<Availability & { enabled: boolean }>(
  "mkldnn",
  { enabled: never("mkldnn.enabled", info.mkldnn, "oneDNN is there or not; setCpuKernels chooses kernels") },
  { isAvailable: asks("mkldnn.isAvailable", () => info.mkldnn) },
);
export const mkl = made<Availability>("mkl", {}, { isAvailable: asks("mkl.isAvailable", () => info.mkl) });
export const openmp = made<Availability>(
  "openmp",
  {},
  { isAvailable: asks("openmp.isAvailable", () => info.parallel.includes("OpenMP")) },
);
/** Apple's GPUs: libtorch for them is not used here. */
export const mps = made<Availability & { isBuilt(): boolean }>(
  "mps",
  {},
  { isAvailable: asks("mps.isAvailable", () => false), isBuilt: asks("mps.isBuilt", () => false) },
);
export const cpu = made<{ getCpuCapability(): string }>("cpu", {}, { getCpuCapability: cpuCapability });
