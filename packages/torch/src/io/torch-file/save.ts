/** `torch.save`: a file that `torch.load` reads, also with `weights_only=True`. */
import { Buffer } from "node:buffer";
import { anything, byDefault, filled, flag } from "../../kinds.js";
import type { OptionNames } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import { scope } from "../../tensor/index.js";
import { writeAtomically } from "../atomic.js";
import { eachChunk } from "../chunks.js";
import { ZipWriter } from "../zip/write.js";
import { Saver } from "./saver.js";

export interface SaveArguments {
  /** What to save. */
  readonly obj: unknown;
  /** The file; its directory must exist. */
  readonly f: string;
  /** False: do not wait until the file has reached the disk. Default true. */
  readonly sync?: boolean;
}
const ROWS = { obj: anything, f: filled, sync: byDefault(true, flag) } satisfies OptionNames<SaveArguments>;
const read = signature("save", ROWS, 2);
type SaveCall = Call<SaveArguments, ["obj", "f"], [obj: unknown, f: string]>;

/**
 * Save tensors and plain values as `torch.save` does, in one atomic step: a file that {@link load} reads, and
 * `torch.load` in Python, where it needs no more than `weights_only=True`.
 *
 * Maps of tensors by name, which state dicts are, become an `OrderedDict` of tensors without graphs; other Maps and
 * objects a `dict`, with ints for keys where all keys of an object are whole numbers, as PyTorch's optimizers have
 * them; arrays lists; Sets sets; null and undefined `None`; Uint8Arrays `bytes`; other typed arrays tensors. Numbers that
 * are whole become ints, the others floats. State dicts of optimizers and schedulers are written in PyTorch's names.
 * Tensors that share memory share it again when they are read, and strides are kept; of a memory only what its tensors
 * use is written. At most 4 MiB are copied at a time.
 *
 * @param obj - What to save: not a module or an optimizer itself, but its `stateDict()`.
 * @param f - The file. By custom, the name ends in `.pt` or `.pth`.
 * @throws {ArgumentError} `save: expected obj to be tensors and plain values. Received: an instance of Net. Write
 * save(model.stateDict(), path).`
 * @throws {FileError} when it cannot be written; what was there before is unchanged.
 * @example save({ epoch, model: model.stateDict(), optimizer: optimizer.stateDict() }, "last.pt");
 */
export function save(...given: SaveCall): void {
  const { obj, f, sync } = read(given);
  saveTorchFile("save", obj, f, { sync });
}

/** @internal Files of others in an archive, by name, which `torch.load` passes over. */
export type BesideThePickle = Readonly<Record<string, Uint8Array>>;

/** @internal As {@link save}. */
export function saveTorchFile(
  fn: string,
  obj: unknown,
  path: string,
  { sync = true, beside = {} }: { readonly sync?: boolean; readonly beside?: BesideThePickle } = {},
): void {
  scope(() => {
    const saver = new Saver();
    const pickle = saver.pickle(obj);
    const name = (path.split(/[\\/]/).at(-1) ?? "").replace(/\.[^.]*$/, "") || "archive";
    writeAtomically(
      path,
      (fd) => {
        const zip = new ZipWriter(fd);
        const bytes = (file: string, contents: Uint8Array): void =>
          zip.store(`${name}/${file}`, contents.length, (take) => take(contents), ALIGNMENT);
        bytes("data.pkl", pickle);
        bytes("byteorder", Buffer.from("little"));
        for (const { key, nbytes, whole } of saver.storages.all)
          zip.store(
            `${name}/data/${key}`,
            nbytes,
            (take) => nbytes > 0 && scope(() => eachChunk(whole(), take)),
            ALIGNMENT,
          );
        for (const [file, contents] of Object.entries(beside)) bytes(file, contents);
        bytes("version", Buffer.from("3\n"));
        zip.finish();
      },
      { sync, fn },
    );
  });
}
/** So that storages can be mapped. */
const ALIGNMENT = 64;
