/** NumPy's arrays and scalars within pickles: arrays as tensors, scalars as numbers, booleans and bigints. */
import { tensor, type Tensor } from "../../tensor/index.js";
import { swapBytes, numpyType, type NumpyType } from "../numpy/dtypes.js";
import { filledBy } from "../numpy/load.js";
import {
  Expect,
  kindOf,
  PyMade,
  PyStateful,
  type GlobalSpec,
  type PickleFault,
  type PyValue,
} from "../pickle/values.js";
import type { FileFault } from "./errors.js";

const MAX_DIMS = 64;

/** `numpy.dtype("f4")`, whose order of bytes comes as a state. */
class NumpyDtype extends PyStateful {
  type: NumpyType;
  constructor(
    readonly text: string,
    type: NumpyType,
  ) {
    super(`numpy.dtype(${text})`, () => this.type.dtype);
    this.type = type;
  }
  setState(state: PyValue, fault: PickleFault): void {
    const expect = new Expect("numpy.dtype", fault);
    const order = expect.text(expect.tuple(state)[1]);
    this.type = { ...this.type, bigEndian: order === ">" };
  }
}

/** An array, which is empty until its state comes. */
class NumpyArray extends PyStateful {
  #array: () => Tensor = () => tensor([]);
  constructor(readonly file: FileFault) {
    super("a NumPy array", () => this.#array());
  }
  setState(state: PyValue, fault: PickleFault): void {
    const expect = new Expect("numpy.ndarray", fault);
    const [, shape, dtype, fortran, data] = expect.tuple(state);
    this.#array = array(expect, this.file, shape, dtype, expect.flag(fortran), data);
  }
}

function array(
  expect: Expect,
  file: FileFault,
  shape: PyValue | undefined,
  dtype: PyValue | undefined,
  fortran: boolean,
  data: PyValue | undefined,
): () => Tensor {
  const type = typeIn(dtype, expect, file);
  const sizes = expect.sizes(shape);
  const bytes = expect.bytes(data);
  const length = sizes.reduce((n, s) => n * s, type.width);
  if (length !== bytes.length || sizes.length > MAX_DIMS || sizes.reduce((n, s) => n * Math.max(s, 1), 1) > 2 ** 53)
    throw expect.fault("damaged", `expected ${length} bytes for a NumPy array. Received: ${bytes.length}.`);
  return () => filledBy({ type, shape: sizes, fortran }, (take) => bytes.length > 0 && take(bytes.slice()));
}

function typeIn(dtype: PyValue | undefined, expect: Expect, file: FileFault): NumpyType {
  if (dtype instanceof NumpyDtype) return dtype.type;
  if (dtype instanceof PyMade) throw file("TORCH_FILE_DTYPE", `expected numbers or booleans. Received: ${dtype.what}.`);
  throw expect.fault("damaged", `expected a type for ${expect.name}. Received: ${kindOf(dtype)}.`);
}

/** @param file - Makes errors of this file. */
export function numpyGlobals(file: FileFault): Readonly<Record<string, GlobalSpec>> {
  const dtype: GlobalSpec = {
    call: ([text], fault) => {
      const name = new Expect("numpy.dtype", fault).text(text);
      const type = numpyType(name);
      // An error only where it is used: of texts and of records nothing can be made.
      return type === null
        ? new PyMade(`numpy.dtype(${JSON.stringify(name.slice(0, 20))})`, () => name)
        : new NumpyDtype(name, type);
    },
  };
  const scalar: GlobalSpec = {
    call: ([type, data], fault) => {
      const expect = new Expect("a NumPy scalar", fault);
      const of = typeIn(type, expect, file);
      const bytes = expect.bytes(data).slice();
      if (bytes.length !== of.width) throw fault("damaged", `expected ${of.width} bytes for a NumPy scalar.`);
      if (of.bigEndian) swapBytes(bytes, of.swapped);
      return scalarOf(of, bytes);
    },
  };
  const reconstruct: GlobalSpec = { call: () => new NumpyArray(file) };
  const fromBuffer: GlobalSpec = {
    call: ([data, type, shape, order], fault) => {
      const expect = new Expect("a NumPy array", fault);
      return new PyMade("a NumPy array", array(expect, file, shape, type, order === "F", data));
    },
  };
  const both = (module: string, name: string, spec: GlobalSpec): [string, GlobalSpec][] => [
    [`numpy.core.${module}.${name}`, spec],
    [`numpy._core.${module}.${name}`, spec],
  ];
  return Object.fromEntries([
    ["numpy.dtype", dtype],
    ["numpy.ndarray", {}],
    ...both("multiarray", "scalar", scalar),
    ...both("multiarray", "_reconstruct", reconstruct),
    ...both("numeric", "_frombuffer", fromBuffer),
  ]);
}

function scalarOf({ dtype }: NumpyType, bytes: Uint8Array): PyValue {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  switch (dtype) {
    case "bool":
      return bytes[0] !== 0;
    case "int64":
      return exact(view.getBigInt64(0, true));
    case "uint64":
      return exact(view.getBigUint64(0, true));
    case "float64":
      return view.getFloat64(0, true);
    case "float32":
      return view.getFloat32(0, true);
    default:
      // The rest are rare: whatever the tensor says.
      return new PyMade(`a NumPy ${dtype}`, () =>
        filledBy({ type: { dtype, width: 0, swapped: 1, bigEndian: false }, shape: [], fortran: false }, (take) =>
          take(bytes.slice()),
        ).tolist(),
      );
  }
}
function exact(value: bigint): number | bigint {
  return value >= -(2n ** 53n) && value <= 2n ** 53n ? Number(value) : value;
}
