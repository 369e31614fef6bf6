/** The memory behind the tensors of one file: what shares memory is written once, and shares it again when it is read. */
import { isTensor, itemSize, type DType, type Tensor } from "../../tensor/index.js";
import { storageClass } from "./storage.js";

export interface SavedStorage {
  readonly key: string;
  /** A flat tensor of the bytes that are written. */
  readonly whole: () => Tensor;
  /** Of all tensors; null: of several dtypes, or of one whose storages have no class. */
  readonly dtype: DType | null;
  readonly device: string;
  readonly nbytes: number;
  /** Bytes of the memory that lie before what is written, which nobody uses. */
  readonly skipped: number;
}

interface Group {
  readonly tensors: Tensor[];
  /** In bytes, from the memory's beginning. */
  start: number;
  end: number;
}

/** Of all tensors that a file is to hold; each is one with strides, and detached. */
export class SavedStorages {
  readonly #groups = new Map<string, Group>();
  readonly #made = new Map<Group, SavedStorage>();

  add(tensor: Tensor): void {
    const address = addressOf(tensor);
    const { start, end } = extent(tensor);
    const group = this.#groups.get(address);
    if (group === undefined) this.#groups.set(address, { tensors: [tensor], start, end });
    else {
      group.tensors.push(tensor);
      group.start = Math.min(group.start, start);
      group.end = Math.max(group.end, end);
    }
  }

  /** Of a tensor that was added. Keys are in the order of first use. */
  of(tensor: Tensor): SavedStorage {
    const group = this.#groups.get(addressOf(tensor));
    if (group === undefined) throw new TypeError("a tensor that was not added");
    let made = this.#made.get(group);
    if (made === undefined) this.#made.set(group, (made = storageOf(group, String(this.#made.size))));
    return made;
  }
  get all(): readonly SavedStorage[] {
    return [...this.#made.values()];
  }
}

/** Which memory it is: where that begins. Tensors without elements have none, and each is by itself. */
function addressOf(tensor: Tensor): string {
  return tensor.numel() === 0
    ? `empty ${tensor.dtype} ${tensor.device.toString()}`
    : `${tensor.device.toString()} ${tensor.dataPtr() - tensor.storageOffset() * tensor.itemsize}`;
}
function extent(tensor: Tensor): { readonly start: number; readonly end: number } {
  if (tensor.numel() === 0) return { start: 0, end: 0 };
  const stride = tensor.stride();
  const first = tensor.storageOffset();
  const last = tensor.shape.reduce((n, s, d) => n + (s - 1) * (stride[d] as number), first);
  return { start: first * tensor.itemsize, end: (last + 1) * tensor.itemsize };
}

/** Whole elements of every dtype that is there: the widest has 16 bytes. */
const UNIT = 16;

function storageOf({ tensors, start, end }: Group, key: string): SavedStorage {
  const [first] = tensors;
  if (!isTensor(first)) throw new TypeError("a storage without tensors");
  const dtypes = new Set(tensors.map((t) => t.dtype));
  const dtype = dtypes.size === 1 && storageClass(first.dtype) !== undefined ? first.dtype : null;
  const unit = dtypes.size === 1 ? first.itemsize : UNIT;
  const skipped = start - (start % unit);
  const nbytes = end - skipped;
  return { key, dtype, device: first.device.toString(), nbytes, skipped, whole: () => flat(first, skipped, nbytes) };
}
/** The bytes, in elements of the tensor's dtype or, where they do not fill whole ones, of one byte. */
function flat(tensor: Tensor, from: number, nbytes: number): Tensor {
  if (nbytes === 0) return tensor.reshape([-1]).view("uint8");
  const size = itemSize(tensor.dtype);
  if (nbytes % size === 0) return tensor.asStrided([nbytes / size], [1], from / size);
  // Elements of another dtype end within one of this: those bytes belong to the memory all the same.
  const element = tensor.asStrided([1], [1], 0).view("uint8");
  return element.asStrided([nbytes], [1], from);
}
