/** Writing files that `numpy.load` reads. */
import { Buffer } from "node:buffer";
import { ArgumentError } from "../../errors.js";
import { filled, isPlain } from "../../kinds.js";
import { atMost, checkArguments } from "../../options.js";
import { isTensor, type Tensor } from "../../tensor/index.js";
import { writeAtomically } from "../atomic.js";
import { writeAll } from "../replace.js";
import { eachChunk } from "../chunks.js";
import { ZipWriter } from "../zip/write.js";
import { numpyDtypes, numpyName } from "./dtypes.js";
import { writeNpyHeader } from "./npy.js";

/**
 * Write a tensor as a `.npy` file, as `numpy.save`, in one atomic step.
 *
 * @param file - `.npy` is put behind a name without it, as NumPy does. Its directory must exist.
 * @param arr - Any dtype that NumPy has: not bfloat16 or one of 8 bits (`arr.float()` first). Views, and tensors on a
 * GPU, are written as their values, the last index running fastest.
 * @throws {ArgumentError} `numpy.save: expected the dtype of arr to be one of bool, …. Received: "bfloat16".`
 * @example numpy.save("weight.npy", model.weight);
 */
export function save(file: string, arr: Tensor): void {
  const fn = "numpy.save";
  atMost(fn, arguments, 2);
  checkArguments(fn, { file }, { file: filled });
  checkArray(fn, "arr", arr);
  writeAtomically(withEnding(file, ".npy"), (fd) => eachByte(arr, (bytes) => writeAll(fd, bytes)), { fn });
}

/** Tensors one after the other, which are `arr_0`, `arr_1`, …, and others by name in a last object. */
export type NumpyArrays = readonly (Tensor | Readonly<Record<string, Tensor>>)[];

/**
 * Write tensors as one `.npz` file, as `numpy.savez`, in one atomic step.
 * @param file - `.npz` is put behind a name without it.
 * @param arrays - By name in an object, or by position.
 * @throws {ArgumentError} as {@link save}.
 * @example numpy.savez("mnist.npz", { images, labels });
 */
export function savez(file: string, ...arrays: NumpyArrays): void {
  archive("numpy.savez", file, arrays, (zip, name, arr) => {
    const header = writeNpyHeader(arr.dtype, arr.shape);
    zip.store(name, header.length + arr.nbytes, (take) => eachByte(arr, take), 64);
  });
}

/** The same, each tensor deflated, as `numpy.savez_compressed`. A tensor's bytes are in memory while it is written. */
export function savezCompressed(file: string, ...arrays: NumpyArrays): void {
  archive("numpy.savezCompressed", file, arrays, (zip, name, arr) => {
    const parts: Uint8Array[] = [];
    eachByte(arr, (bytes) => parts.push(bytes));
    zip.deflate(name, Buffer.concat(parts));
  });
}

function archive(
  fn: string,
  file: string,
  arrays: NumpyArrays,
  add: (zip: ZipWriter, name: string, arr: Tensor) => void,
): void {
  checkArguments(fn, { file }, { file: filled });
  const named = namedArrays(fn, arrays);
  // What stands by name first: a misplaced option is told by its name.
  for (const [name, arr] of named.toReversed()) checkArray(fn, name, arr);
  writeAtomically(
    withEnding(file, ".npz"),
    (fd) => {
      const zip = new ZipWriter(fd);
      for (const [name, arr] of named) add(zip, `${name}.npy`, arr as Tensor);
      zip.finish();
    },
    { fn },
  );
}

function namedArrays(fn: string, arrays: NumpyArrays): readonly (readonly [string, unknown])[] {
  const given = arrays as readonly unknown[];
  const named = given.filter((a) => isPlain(a));
  if (named.length > 1 || (named.length === 1 && given.at(-1) !== named[0]))
    throw new ArgumentError(fn, "arrays by name in the last argument alone", given);
  const entries = given.flatMap((a, i): (readonly [string, unknown])[] =>
    isPlain(a) ? Object.entries(a) : [[`arr_${i}`, a]],
  );
  const names = new Set(entries.map(([name]) => name));
  if (names.size < entries.length) throw new ArgumentError(fn, "every name once", [...names]);
  return entries;
}

function checkArray(fn: string, name: string, arr: unknown): asserts arr is Tensor {
  if (name.includes("\0") || Buffer.from(name).toString() !== name || name.length > 4096)
    throw new ArgumentError(fn, "names to be well-formed texts", name);
  if (!isTensor(arr)) throw new ArgumentError(fn, `${name} to be a tensor`, arr);
  if (numpyName(arr.dtype) === undefined)
    throw new ArgumentError(
      fn,
      `the dtype of ${name} to be one of ${numpyDtypes.join(", ")}`,
      arr.dtype,
      "NumPy has no other. Convert it first: float32 holds every value of a smaller floating point dtype.",
    );
  if (arr.layout !== "strided" || arr.device.type === "meta")
    throw new ArgumentError(fn, `${name} to have its values in strides`, arr, "Make it dense first.");
}

function eachByte(arr: Tensor, take: (bytes: Uint8Array) => void): void {
  take(writeNpyHeader(arr.dtype, arr.shape));
  eachChunk(arr, take);
}

function withEnding(file: string, ending: string): string {
  return file.endsWith(ending) ? file : `${file}${ending}`;
}
