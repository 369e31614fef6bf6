/** What reading one file needs, whichever of PyTorch's formats it has. */
import { checkHeap } from "../../limits.js";
import { itemSize } from "../../tensor/dtype.js";
import type { Device, DType } from "../../tensor/index.js";
import { readPickle } from "../pickle/read.js";
import { Expect, PyMade, type PickleFault, type PyValue } from "../pickle/values.js";
import { readBytes, type Source } from "../source.js";
import type { FileFault } from "./errors.js";
import { TorchGlobals } from "./globals.js";
import { StorageRoot, storageDtype, TorchStorage, type StorageBytes } from "./storage.js";

/** Pickles hold what is no tensor; texts of them lie on JavaScript's heap. */
const LONGEST_PICKLE = 2 ** 28;

/** What stands in a pickle for a storage. */
export interface StorageId {
  readonly dtype: DType;
  readonly key: string;
  readonly location: string;
  readonly count: number;
  /** What follows, in older formats. */
  readonly rest: readonly PyValue[];
}

export class FileContext {
  readonly #globals: TorchGlobals;
  readonly #roots = new Map<string, StorageRoot>();
  /** Bytes of all storages together. */
  #claimed = 0;

  constructor(
    readonly source: Source,
    readonly fault: FileFault,
    /** The device of a storage, by its dtype, bytes and the device where it was. */
    readonly place: (dtype: DType, nbytes: number, location: string) => Device,
    readonly mapped: boolean,
  ) {
    this.#globals = new TorchGlobals(fault);
  }

  readonly pickleFault: PickleFault = (what, message) =>
    this.fault(what === "limit" ? "TORCH_FILE_LIMIT" : "TORCH_FILE_PICKLE", `the pickle: ${message}`);
  readonly truncated = (expected: number): Error =>
    this.fault("TORCH_FILE_TRUNCATED", `expected at least ${expected} bytes. Received: ${this.source.size}.`);

  bytes(at: number, length: number): Uint8Array<ArrayBuffer> {
    return readBytes(this.source, at, length, this.truncated);
  }

  checkPickle(length: number): void {
    if (length > LONGEST_PICKLE)
      throw this.fault(
        "TORCH_FILE_LIMIT",
        `expected at most ${LONGEST_PICKLE} bytes that are no tensors. Received: ${length}. Save tensors, not lists.`,
      );
    checkHeap("load", 4 * length, "Save tensors, not lists.");
  }

  pickle(bytes: Uint8Array, at: number, persistent: (id: PyValue) => PyValue): { value: PyValue; end: number } {
    return readPickle(bytes, at, {
      fault: this.pickleFault,
      global: (module, name) => this.#globals.get(module, name),
      persistent,
    });
  }
  /** Of pickles that refer to nothing outside. */
  readonly nothing = (): never => {
    throw this.pickleFault("damaged", "expected no values from outside.");
  };

  /** A storage's id: `("storage", type, key, location, count, …)`. */
  storageId(id: PyValue): StorageId {
    const expect = new Expect("a storage", this.pickleFault);
    const [kind, type, key, location, count, ...rest] = expect.tuple(id);
    if (expect.text(kind) !== "storage") throw this.pickleFault("damaged", "expected a storage from outside.");
    const { name } = expect.global(type);
    const dtype = storageDtype(name.split(".").at(-1) ?? "");
    if (dtype === undefined) throw this.pickleFault("damaged", `expected a type of storages. Received: ${name}.`);
    const n = expect.int(count);
    if (n < 0) throw this.pickleFault("damaged", "expected a storage of 0 elements or more.");
    return {
      dtype,
      key: typeof key === "number" ? String(key) : expect.text(key),
      location: expect.text(location),
      count: n,
      rest,
    };
  }

  /**
   * The memory of a key, the first time that it is met.
   * @param most - Bytes that there can be of all: no memory is taken for what the file does not have.
   */
  root(
    { dtype, key, location, count }: Omit<StorageId, "rest">,
    bytes: (nbytes: number) => StorageBytes,
    most: number,
    bigEndian = false,
  ): StorageRoot {
    let found = this.#roots.get(key);
    if (found === undefined) {
      const nbytes = count * itemSize(dtype);
      this.#claimed += nbytes;
      if (!(this.#claimed <= most)) throw this.truncated(this.#claimed);
      found = new StorageRoot(dtype, count, this.place(dtype, nbytes, location), () => bytes(nbytes), bigEndian);
      this.#roots.set(key, found);
    }
    return found;
  }
  knownRoot(key: string): StorageRoot | undefined {
    return this.#roots.get(key);
  }
}

/** As a value of a pickle. @param start - In elements. */
export function storageValue(root: StorageRoot, dtype: DType, start = 0, count?: number): PyMade {
  const length = count === undefined ? root.count * itemSize(root.dtype) : count * itemSize(dtype);
  const storage = new TorchStorage(root, dtype, start * itemSize(dtype), length);
  return new PyMade("a storage", () => storage);
}
