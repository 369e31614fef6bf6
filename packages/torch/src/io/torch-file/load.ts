/** `torch.load`, which runs nothing of the file. */
import { Buffer } from "node:buffer";
import { byDefault, either, filled, flag, orNull, such } from "../../kinds.js";
import { ArgumentError } from "../../errors.js";
import type { OptionNames } from "../../options.js";
import { quoted } from "../../plain-text.js";
import { isUint8Array } from "../../realm.js";
import { signature, type Call } from "../../signature.js";
import { scope } from "../../tensor/index.js";
import type { PyValue } from "../pickle/values.js";
import { openSource, readBytes, type Source } from "../source.js";
import { FileContext } from "./context.js";
import { TorchFileError, type FileFault } from "./errors.js";
import { readLegacyFile } from "./legacy-file.js";
import { LoadedStorage, mapLocationKind, placeOf, type MapLocation } from "./place.js";
import { toPlain } from "./plain.js";
import { isTar, readTarFile } from "./tar-file.js";
import { readBesideThePickle, readZipFile } from "./zip-file.js";

export interface LoadArguments {
  /** The file, or its bytes. */
  readonly f: string | Uint8Array;
  /** Where tensors go that were elsewhere. Default: where they were. */
  readonly mapLocation?: MapLocation | null;
  /** Nothing of a file is ever run, whatever this says: it is taken so that programs can keep it. Default true. */
  readonly weightsOnly?: boolean | null;
  /**
   * Map the file instead of reading it: memory is filled when it is touched, and shared with what else maps the file.
   * Tensors are private copies once they are written to; the file must not change. Needs a path, and the format of
   * PyTorch 1.6 or later. Default false.
   */
  readonly mmap?: boolean | null;
}
const ROWS = {
  f: either(filled, such<Uint8Array>("bytes", isUint8Array)),
  mapLocation: byDefault(null, orNull(mapLocationKind)),
  weightsOnly: byDefault(true, orNull(flag)),
  mmap: byDefault(false, orNull(flag)),
} satisfies OptionNames<LoadArguments>;
const read = signature("load", ROWS, 2);
type LoadCall = Call<LoadArguments, ["f", "mapLocation"], [f: string | Uint8Array, mapLocation?: MapLocation | null]>;

/**
 * Read a file that `torch.save` of Python, or {@link save}, wrote: a state dict, a checkpoint, or tensors and plain
 * values nested at will.
 *
 * A pickle names functions of Python and calls them. Here names are looked up in a fixed list (tensors, storages,
 * OrderedDict, sizes, dtypes, devices, NumPy's arrays and scalars, Lightning's AttributeDict, paths), whose meaning is
 * nbit's own; any other is an error, and nothing is run. All formats of PyTorch's are read: archives (1.6 and later),
 * pickles (before), and tar (2016).
 *
 * Lists and tuples come as arrays; an `OrderedDict`, which a state dict is, as a `Map`; other dicts as objects where
 * their keys are all texts or all whole numbers, and else as Maps; sets as Sets, bytes as Uint8Array, `None` as null,
 * ints beyond 2⁵³ as bigints, dtypes as texts, NumPy's arrays as tensors. Tensors keep their strides, and share memory
 * where they did.
 *
 * @typeParam T - What the file holds; nobody checks it.
 * @param f - The file, or its bytes.
 * @param options.mapLocation - A device for all tensors; devices by the names of earlier ones; or a function of each
 * storage and its device's name.
 * @throws {TorchFileError} with a code for each way in which a file can be wrong, before a tensor is made of it:
 * `model.pt: expected tensors and plain values. Received: "__main__.Net". A whole module was saved: …`
 * @throws {FileError} when the file cannot be read at all.
 * @example model.loadStateDict(load("resnet50.pth"));
 * @example
 * const checkpoint = load<{ model: nn.StateDict; epoch: number }>("last.ckpt", { mapLocation: "cpu" });
 */
// The caller says what is in the file, as of JSON: a type to assert, in one place.

export function load<T = unknown>(...given: LoadCall): T {
  const { f, mapLocation, mmap } = read(given);
  const source = openSource("load", f);
  const fault: FileFault = (code, message) => new TorchFileError(code, message, source.path);
  const fresh = (): FileContext =>
    new FileContext(
      source,
      fault,
      (dtype, nbytes, location) => placeOf(mapLocation, new LoadedStorage(dtype, nbytes), location, fault),
      mmap === true,
    );
  try {
    return scope(() => toPlain(valueOf(source, fault, fresh, mmap === true), fault)) as T;
  } finally {
    source.close();
  }
}

/** @internal Of what `saveTorchFile` put beside the pickle; null: nothing of that name. */
export function loadBesideThePickle(fn: string, path: string, file: string): Uint8Array | null {
  const source = openSource(fn, path);
  try {
    return readBesideThePickle(source, (code, message) => new TorchFileError(code, message, path), file);
  } finally {
    source.close();
  }
}

const FIRST = 512;

function valueOf(source: Source, fault: FileFault, fresh: () => FileContext, mmap: boolean): PyValue {
  const first = readBytes(source, 0, Math.min(source.size, FIRST), () => fault("TORCH_FILE_TRUNCATED", "cut off."));
  const text = Buffer.from(first).toString("latin1", 0, 16);
  const zipped = text.startsWith("PK\x03\x04");
  if (mmap && (!zipped || source.path === null))
    throw new ArgumentError(
      "load",
      "mmap to be false for bytes, and for files of before PyTorch 1.6",
      true,
      "Save it anew.",
    );
  if (zipped) return readZipFile(fresh());
  if (isTar(first)) return readTarFile(fresh());
  if (first[0] === 0x80) return readLegacyFile(fresh);
  if (source.size === 0) throw fault("TORCH_FILE_TRUNCATED", "expected a file of torch.save. Received: an empty one.");
  throw fault(
    "TORCH_FILE_FORMAT",
    text.startsWith("{", 8)
      ? "expected a file of torch.save. Received: what looks like safetensors. Read it with loadSafetensors."
      : `expected a file of torch.save. Received: one that begins with ${quoted(text.slice(0, 8))}.`,
  );
}
