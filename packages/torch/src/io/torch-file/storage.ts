/** Memory that tensors of a file share, read when the first of them is made. */
import { empty, emptyStrided } from "../../ops/index.js";
import { itemSize } from "../../tensor/dtype.js";
import type { Device, DType, Tensor } from "../../tensor/index.js";
import { fillFrom } from "../safetensors-read.js";
import { swapBytes } from "../numpy/dtypes.js";
import type { FileFault } from "./errors.js";

/** Dtypes by the names of PyTorch's classes; what `torch.save` writes for the others has no class of its own. */
const TYPES: Readonly<Record<string, DType>> = {
  ByteStorage: "uint8",
  CharStorage: "int8",
  ShortStorage: "int16",
  IntStorage: "int32",
  LongStorage: "int64",
  HalfStorage: "float16",
  BFloat16Storage: "bfloat16",
  FloatStorage: "float32",
  DoubleStorage: "float64",
  BoolStorage: "bool",
  ComplexFloatStorage: "complex64",
  ComplexDoubleStorage: "complex128",
};
const CLASSES = new Map<DType, string>(Object.entries(TYPES).map(([name, dtype]) => [dtype, name]));
export const UNTYPED = "UntypedStorage";

/** The dtype of a class; undefined for one that is not known. */
export function storageDtype(name: string): DType | undefined {
  return name === UNTYPED ? "uint8" : TYPES[name];
}
/** The class of a dtype; undefined for one of those that are stored as bytes. */
export function storageClass(dtype: DType): string | undefined {
  return CLASSES.get(dtype);
}
/** Complex numbers are swapped by halves. */
function swappedWidth(dtype: DType): number {
  return dtype.startsWith("complex") ? itemSize(dtype) / 2 : itemSize(dtype);
}

/** Where the bytes of a storage come from. */
export interface StorageBytes {
  readonly length: number;
  readonly each: (take: (piece: Uint8Array) => void) => void;
  /** The same bytes as a tensor of uint8 that maps the file; null where that cannot be. */
  readonly mapped: () => Tensor | null;
}

/** One piece of memory. */
export class StorageRoot {
  #flat: Tensor | null = null;
  constructor(
    readonly dtype: DType,
    readonly count: number,
    readonly device: Device,
    readonly bytes: () => StorageBytes,
    readonly bigEndian: boolean,
  ) {}

  /** All elements, in one dimension, on their device. */
  get flat(): Tensor {
    return (this.#flat ??= this.#read());
  }
  #read(): Tensor {
    const bytes = this.bytes();
    const { dtype, count, device } = this;
    // Booleans are checked while they are read.
    const mapped = this.bigEndian || dtype === "bool" || device.type !== "cpu" ? null : bytes.mapped();
    if (mapped !== null) return mapped.view(dtype);
    const made = empty([count], { dtype, device: "cpu" });
    fillFrom(made, (take) =>
      bytes.each((piece) => {
        if (this.bigEndian) swapBytes(piece, swappedWidth(dtype));
        take(piece);
      }),
    );
    return device.type === "cpu" ? made : made.to({ device });
  }
}

/** What a pickle refers to: a root, or a part of one. */
export class TorchStorage {
  constructor(
    readonly root: StorageRoot,
    readonly dtype: DType,
    /** In bytes. */
    readonly start: number,
    readonly length: number,
  ) {}

  /**
   * A tensor of this memory, with strides of its own.
   * @param offset - In elements.
   */
  tensor(dtype: DType, offset: number, size: readonly number[], stride: readonly number[], fault: FileFault): Tensor {
    const width = itemSize(dtype);
    checkPlace(this, width, offset, size, stride, fault);
    const { device } = this.root;
    if (device.type === "meta") return emptyStrided([...size], [...stride], { dtype, device });
    const { flat } = this.root;
    // Bytes that are no booleans must not become some.
    if (dtype === "bool" && flat.dtype !== "bool") return this.tensor("uint8", offset, size, stride, fault).ne(0);
    const whole = flat.numel() * flat.itemsize;
    const typed =
      flat.dtype === dtype
        ? flat
        : flat
            .view("uint8")
            .narrow(0, 0, whole - (whole % width))
            .view(dtype);
    const first = this.start / width + offset;
    return empty([0], { dtype, device }).set_(typed, first, [...size], [...stride]);
  }
}

/** Dimensions that libtorch's operators can walk. */
const MAX_DIMS = 64;

/** That every element lies within the storage, so that nobody reads behind it. */
function checkPlace(
  storage: TorchStorage,
  width: number,
  offset: number,
  size: readonly number[],
  stride: readonly number[],
  fault: FileFault,
): void {
  const said = `[${size.slice(0, 8).join(", ")}] with strides [${stride.slice(0, 8).join(", ")}] at ${offset}`;
  if (size.length !== stride.length || size.length > MAX_DIMS)
    throw fault("TORCH_FILE_TENSOR", `expected a stride for each of at most ${MAX_DIMS} sizes. Received: ${said}.`);
  if (size.reduce((n, s) => n * Math.max(s, 1), 1) > Number.MAX_SAFE_INTEGER)
    throw fault("TORCH_FILE_TENSOR", `expected sizes whose product is below 2^53. Received: ${said}.`);
  const last = size.includes(0) ? offset - 1 : size.reduce((n, s, d) => n + (s - 1) * (stride[d] ?? 0), offset);
  const room = Math.floor(storage.length / width);
  if (!(last < room) || offset > room || storage.start % width !== 0)
    throw fault(
      "TORCH_FILE_TENSOR",
      `expected a tensor within the ${room} elements of its storage. Received: ${said}.`,
    );
}
