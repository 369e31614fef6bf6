/** Reading files of `numpy.save` and `numpy.savez`. */
import { byDefault, either, filled, orNull, such } from "../../kinds.js";
import type { OptionNames } from "../../options.js";
import { isUint8Array } from "../../realm.js";
import { signature, type Call } from "../../signature.js";
import { empty } from "../../ops/index.js";
import { scope, type DeviceLike, type Tensor } from "../../tensor/index.js";
import { deviceKind } from "../../tensor/kinds.js";
import { fillFrom } from "../safetensors-read.js";
import { eachPiece, openSource, readBytes, type Source } from "../source.js";
import { ZipArchive, type ZipEntry } from "../zip/read.js";
import { swapBytes } from "./dtypes.js";
import { NumpyError, type NumpyCode } from "./errors.js";
import { NPY_PREFIX, npyStart, readNpyHeader, type NpyHeader } from "./npy.js";

export interface NumpyLoadArguments {
  /** The file, or its bytes. */
  readonly file: string | Uint8Array;
  /** Where the tensors shall be. Default: the CPU. */
  readonly device?: DeviceLike | null;
}
const read = signature(
  "numpy.load",
  {
    file: either(filled, such<Uint8Array>("bytes", isUint8Array)),
    device: byDefault(null, orNull(deviceKind)),
  } satisfies OptionNames<NumpyLoadArguments>,
  1,
);
type LoadCall = Call<NumpyLoadArguments, ["file"], [file: string | Uint8Array]>;
type Behind = [options?: Pick<NumpyLoadArguments, "device">];

/**
 * The tensor of a `.npy` file, or the tensors of a `.npz` file by their names, as `numpy.load`.
 *
 * Read: booleans, whole numbers of 8 to 64 bits, float16, float32, float64, complex64 and complex128, in either order of
 * bytes; of arrays whose first index runs fastest (Fortran's order) the strides are kept. Files are told apart by their
 * first bytes. Nothing is unpickled.
 *
 * @returns A tensor, or an object without prototype for an archive.
 * @throws {NumpyError} `x.npy: expected numbers or booleans. Received: "<U5", texts.`, with a code for each way in which
 * a file can be wrong.
 * @throws {FileError} when the file cannot be read at all.
 * @example const { images, labels } = numpy.load("mnist.npz");
 */
export function load(file: `${string}.npy`, ...rest: Behind): Tensor;
export function load(file: `${string}.npz`, ...rest: Behind): Record<string, Tensor>;
export function load(...given: LoadCall): Tensor | Record<string, Tensor>;
export function load(...given: readonly unknown[]): Tensor | Record<string, Tensor> {
  const { file, device } = read(given);
  const source = openSource("numpy.load", file);
  const place = (made: Tensor): Tensor => (device === null ? made : made.to({ device }));
  try {
    const first = readBytes(source, 0, Math.min(source.size, 4), () => faultOf(source)("NUMPY_TRUNCATED", "cut off."));
    const zipped = first[0] === 0x50 && first[1] === 0x4b && (first[2] === 3 || first[2] === 5);
    return scope((): Tensor | Record<string, Tensor> =>
      zipped ? tensorsOf(source, place) : place(tensorOf(source, faultOf(source))),
    );
  } finally {
    source.close();
  }
}

type Fault = (code: NumpyCode, message: string) => Error;
const faultOf =
  (source: Source, name?: string): Fault =>
  (code, message) =>
    new NumpyError(code, name === undefined ? message : `${name}: ${message}`, source.path);

function tensorOf(source: Source, fault: Fault): Tensor {
  const truncated = (expected: number): Error =>
    fault("NUMPY_TRUNCATED", `expected at least ${expected} bytes. Received: ${source.size}.`);
  const first = readBytes(source, 0, Math.min(source.size, NPY_PREFIX), truncated);
  const start = npyStart(first, source.size, fault);
  const header = readNpyHeader(readBytes(source, 0, start, truncated), source.size, fault);
  return filledBy(header, (take) => eachPiece(source, start, header.length, truncated, take));
}

function tensorsOf(source: Source, place: (made: Tensor) => Tensor): Record<string, Tensor> {
  const archive = new ZipArchive(source, (what, message) =>
    faultOf(source)(
      what === "truncated" ? "NUMPY_TRUNCATED" : what === "limit" ? "NUMPY_LIMIT" : "NUMPY_ARCHIVE",
      message,
    ),
  );
  const tensors = Object.create(null) as Record<string, Tensor>;
  for (const entry of archive.entries.values())
    tensors[entry.name.replace(/\.npy$/, "")] = place(tensorIn(archive, entry, faultOf(source, entry.name)));
  return tensors;
}

function tensorIn(archive: ZipArchive, entry: ZipEntry, fault: Fault): Tensor {
  if (!entry.deflated) return tensorOf(archive.within(entry, true), fault);
  const bytes = archive.bytes(entry, true);
  const start = npyStart(bytes.subarray(0, NPY_PREFIX), bytes.length, fault);
  const header = readNpyHeader(bytes.subarray(0, start), bytes.length, fault);
  return filledBy(header, (take) => take(bytes.subarray(start)));
}

/** A tensor of elements as they lie in a file. */
export function filledBy(
  { type, shape, fortran }: Pick<NpyHeader, "type" | "shape" | "fortran">,
  each: (take: (piece: Uint8Array) => void) => void,
): Tensor {
  const made = empty(fortran ? [...shape].reverse() : shape, { dtype: type.dtype, device: "cpu" });
  fillFrom(made, (take) =>
    each((piece) => {
      if (type.bigEndian) swapBytes(piece, type.swapped);
      take(piece);
    }),
  );
  return fortran && shape.length > 1 ? made.permute(shape.map((_, d) => shape.length - 1 - d)) : made;
}
