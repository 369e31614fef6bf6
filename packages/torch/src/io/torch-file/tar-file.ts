/** PyTorch's first format, of 2016: an archive of tar with the storages, the tensors and a pickle that names them. */
import { Buffer } from "node:buffer";
import { itemSize } from "../../tensor/dtype.js";
import { Expect, PyMade, type PyValue } from "../pickle/values.js";
import { eachPiece } from "../source.js";
import { storageValue, type FileContext } from "./context.js";
import { storageDtype, TorchStorage } from "./storage.js";

const BLOCK = 512;
/** A description of a storage or a tensor is no longer. */
const WINDOW = 1 << 16;

interface Region {
  readonly start: number;
  readonly end: number;
}

/** Whether a file begins as an archive of tar does. */
export function isTar(first: Uint8Array): boolean {
  return Buffer.from(first.subarray(257, 262)).toString("latin1") === "ustar";
}

export function readTarFile(context: FileContext): PyValue {
  const files = filesOf(context);
  const region = (name: string): Region => {
    const found = files.get(name);
    if (found === undefined)
      throw context.fault("TORCH_FILE_FORMAT", `expected a file of torch.save. Received: an archive without ${name}.`);
    return found;
  };
  const storages = readStorages(context, region("storages"));
  const tensors = readTensors(context, region("tensors"), storages);
  const { start, end } = region("pickle");
  context.checkPickle(end - start);
  return context.pickle(context.bytes(start, end - start), 0, (id) => {
    const found = tensors.get(String(id)) ?? storages.get(String(id));
    if (found === undefined) throw context.pickleFault("damaged", "expected a tensor of the file.");
    return found;
  }).value;
}

function filesOf(context: FileContext): Map<string, Region> {
  const files = new Map<string, Region>();
  const { size } = context.source;
  for (let at = 0; at + BLOCK <= size;) {
    const header = Buffer.from(context.bytes(at, BLOCK));
    if (header[0] === 0) break;
    const name = header.toString("latin1", 0, 100).replace(/\0.*$/s, "").replace(/^\.\//, "");
    const digits = header.toString("latin1", 124, 136).replace(/[\0 ]+$/, "");
    if (!/^[0-7]{1,12}$/.test(digits)) throw context.fault("TORCH_FILE_ARCHIVE", "expected the size of a file in tar.");
    const start = at + BLOCK;
    const end = start + Number.parseInt(digits, 8);
    if (end > size) throw context.truncated(end);
    files.set(name, { start, end });
    at = start + Math.ceil((end - start) / BLOCK) * BLOCK;
  }
  return files;
}

/** Reads pickles and numbers, one behind the other. */
class Reader {
  constructor(
    readonly context: FileContext,
    readonly region: Region,
    public at = region.start,
  ) {}
  pickle(): PyValue {
    const length = Math.min(WINDOW, this.region.end - this.at);
    const { value, end } = this.context.pickle(this.context.bytes(this.at, length), 0, this.context.nothing);
    this.at += end;
    return value;
  }
  int32(): number {
    return new DataView(this.#take(4).buffer).getInt32(0, true);
  }
  int64(): number {
    return Number(new DataView(this.#take(8).buffer).getBigInt64(0, true));
  }
  #take(length: number): Uint8Array<ArrayBuffer> {
    if (!(this.at + length <= this.region.end)) throw this.context.truncated(this.at + length);
    const bytes = this.context.bytes(this.at, length);
    this.at += length;
    return bytes;
  }
  skip(length: number): void {
    if (!(length >= 0 && this.at + length <= this.region.end)) throw this.context.truncated(this.at + length);
    this.at += length;
  }
}

function readStorages(context: FileContext, region: Region): Map<string, PyMade> {
  const reader = new Reader(context, region);
  const expect = new Expect("a storage", context.pickleFault);
  const storages = new Map<string, PyMade>();
  const { source, truncated } = context;
  for (let n = expect.int(reader.pickle()); n > 0; n--) {
    const [key, location, type] = expect.tuple(reader.pickle());
    const dtype = storageDtype(expect.global(type).name.split(".").at(-1) ?? "");
    if (dtype === undefined) throw context.pickleFault("damaged", "expected a type of storages.");
    const count = reader.int64();
    const start = reader.at;
    reader.skip(count * itemSize(dtype));
    const id = { dtype, key: String(key), location: expect.text(location), count };
    const each = (length: number) => (take: (piece: Uint8Array) => void) =>
      eachPiece(source, start, length, truncated, take);
    const root = context.root(id, (length) => ({ length, each: each(length), mapped: () => null }), source.size);
    storages.set(id.key, storageValue(root, dtype));
  }
  for (const view of expect.tuple(reader.pickle())) {
    const [target, root, offset, count] = expect.tuple(view);
    const [of, from, n] = [storages.get(String(root))?.value, expect.int(offset), expect.int(count)];
    if (!(of instanceof TorchStorage) || from < 0 || n < 0 || from + n > of.root.count)
      throw context.fault("TORCH_FILE_TENSOR", "expected a part of a storage to lie within it.");
    storages.set(String(target), storageValue(of.root, of.dtype, from, n));
  }
  return storages;
}

function readTensors(context: FileContext, region: Region, storages: ReadonlyMap<string, PyMade>): Map<string, PyMade> {
  const reader = new Reader(context, region);
  const expect = new Expect("a tensor", context.pickleFault);
  const tensors = new Map<string, PyMade>();
  for (let n = expect.int(reader.pickle()); n > 0; n--) {
    const [key, id] = expect.tuple(reader.pickle());
    const storage: unknown = storages.get(String(id))?.value;
    if (!(storage instanceof TorchStorage))
      throw context.fault("TORCH_FILE_ARCHIVE", "expected the storage of every tensor.");
    const ndim = reader.int32();
    reader.skip(4);
    if (ndim < 0 || ndim > 64) throw context.fault("TORCH_FILE_TENSOR", "expected at most 64 dimensions.");
    const [size, stride] = [0, 1].map(() => Array.from({ length: ndim }, () => reader.int64())) as [number[], number[]];
    const offset = reader.int64();
    if ([...size, ...stride, offset].some((v) => !Number.isSafeInteger(v) || v < 0))
      throw context.fault("TORCH_FILE_TENSOR", "expected sizes and strides ≥ 0.");
    const make = (): unknown => storage.tensor(storage.dtype, offset, size, stride, context.fault);
    tensors.set(String(key), new PyMade("a tensor", make));
  }
  return tensors;
}
