/** The format of PyTorch before 1.6, and of `_use_new_zipfile_serialization=False`: pickles, then the storages. */
import { itemSize } from "../../tensor/dtype.js";
import { NbitError } from "../../errors.js";
import { Expect, PyTuple, type PyValue } from "../pickle/values.js";
import { eachPiece } from "../source.js";
import { storageValue, type FileContext } from "./context.js";
import type { StorageBytes } from "./storage.js";

const MAGIC = 0x1950a86a20f9469cfc6cn;
const VERSION = 1001;
/** The pickles lie before the storages, nobody says where they end: so many bytes are tried first. */
const FIRST_TRY = 1 << 20;

/** @param fresh - A context that has seen nothing yet, for each try. */
export function readLegacyFile(fresh: () => FileContext): PyValue {
  for (let length = FIRST_TRY; ; length *= 8) {
    const context = fresh();
    const { size } = context.source;
    const part = Math.min(length, size);
    context.checkPickle(part);
    const attempt = new Attempt(context);
    try {
      return attempt.read(context.bytes(0, part));
    } catch (error) {
      const cutOff = error instanceof NbitError && error.code === "TORCH_FILE_PICKLE" && part < size;
      if (!cutOff) throw error;
    }
  }
}

class Attempt {
  readonly #context: FileContext;
  readonly #starts = new Map<string, number>();

  constructor(context: FileContext) {
    this.#context = context;
  }

  read(bytes: Uint8Array): PyValue {
    const context = this.#context;
    const magic = context.pickle(bytes, 0, context.nothing);
    if (magic.value !== MAGIC)
      throw context.fault(
        "TORCH_FILE_FORMAT",
        "expected a file of torch.save. Received: a pickle that it did not write.",
      );
    const version = context.pickle(bytes, magic.end, context.nothing);
    if (version.value !== VERSION)
      throw context.fault("TORCH_FILE_FORMAT", `expected version ${VERSION}. Received: another one.`);
    const system = context.pickle(bytes, version.end, context.nothing);
    const main = context.pickle(bytes, system.end, (id) => this.#storage(id));
    const list = context.pickle(bytes, main.end, context.nothing);
    const expect = new Expect("the storages", context.pickleFault);
    this.#findStorages(
      expect.tuple(list.value).map((key) => expect.text(key)),
      list.end,
    );
    return main.value;
  }

  #storage(id: PyValue): PyValue {
    const context = this.#context;
    const found = context.storageId(id);
    const root = context.root(found, (nbytes) => this.#bytes(found.key, nbytes), context.source.size);
    const [view] = found.rest;
    if (view === undefined || view === null) return storageValue(root, found.dtype);
    const expect = new Expect("a part of a storage", context.pickleFault);
    const [, start, count] = view instanceof PyTuple ? view.items : [];
    const [from, n] = expect.sizes(new PyTuple([start ?? null, count ?? null]));
    if (!((from ?? 0) + (n ?? 0) <= root.count))
      throw context.fault("TORCH_FILE_TENSOR", "expected a part of a storage to lie within it.");
    return storageValue(root, found.dtype, from, n);
  }

  /** Where each begins: one behind the other, each with the number of its elements before it. */
  #findStorages(keys: readonly string[], from: number): void {
    const context = this.#context;
    let at = from;
    for (const key of keys) {
      const root = context.knownRoot(key);
      if (root === undefined)
        throw context.fault("TORCH_FILE_ARCHIVE", "expected storages that tensors use. Received: another.");
      const count = new DataView(context.bytes(at, 8).buffer).getBigInt64(0, true);
      if (count !== BigInt(root.count))
        throw context.fault("TORCH_FILE_ARCHIVE", `expected a storage of ${root.count} elements. Received: ${count}.`);
      this.#starts.set(key, at + 8);
      at += 8 + root.count * itemSize(root.dtype);
      if (at > context.source.size) throw context.truncated(at);
    }
  }

  #bytes(key: string, length: number): StorageBytes {
    const { source, truncated, fault } = this.#context;
    const start = this.#starts.get(key);
    if (start === undefined) throw fault("TORCH_FILE_ARCHIVE", "expected every storage behind the pickles.");
    return { length, each: (take) => eachPiece(source, start, length, truncated, take), mapped: () => null };
  }
}
