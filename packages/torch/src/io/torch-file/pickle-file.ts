/** A pickle of plain values and NumPy's arrays, read by the same fixed list as files of `torch.save`. */
import { either, filled, such } from "../../kinds.js";
import { isUint8Array } from "../../realm.js";
import { signature, type Call } from "../../signature.js";
import { scope } from "../../tensor/index.js";
import { openSource } from "../source.js";
import { FileContext } from "./context.js";
import { TorchFileError, type FileFault } from "./errors.js";
import { toPlain } from "./plain.js";

export interface LoadPickleArguments {
  /** The file, or its bytes. */
  readonly f: string | Uint8Array;
}
const read = signature("loadPickle", { f: either(filled, such<Uint8Array>("bytes", isUint8Array)) });

/**
 * Read what Python's `pickle.dump` wrote, of any protocol and of Python 2 as well: plain values, and arrays of NumPy as
 * tensors. Nothing of the file is run: names are looked up in the list of `load`, and any other is an error. Data sets
 * come in such files.
 *
 * @typeParam T - What the file holds; nobody checks it. Values come as those of `load` do; a `str` of Python 2 as text,
 * or as a Uint8Array where it is none.
 * @throws {TorchFileError} `TORCH_FILE_GLOBAL` for what is not in the list, `TORCH_FILE_PICKLE` for a damaged pickle.
 * @throws {FileError} when the file cannot be read at all.
 * @example const { data, labels } = loadPickle<{ data: Tensor; labels: number[] }>("cifar-10-batches-py/test_batch");
 */
export function loadPickle<T = unknown>(...given: Call<LoadPickleArguments, ["f"], [f: string | Uint8Array]>): T {
  const { f } = read(given);
  const source = openSource("loadPickle", f);
  const fault: FileFault = (code, message) => new TorchFileError(code, message, source.path);
  try {
    return scope(() => {
      const context = new FileContext(
        source,
        fault,
        () => {
          throw fault("TORCH_FILE_PICKLE", "expected no storages.");
        },
        false,
      );
      context.checkPickle(source.size);
      const { value } = context.pickle(context.bytes(0, source.size), 0, context.nothing);
      return toPlain(value, fault);
    }) as T;
  } finally {
    source.close();
  }
}
