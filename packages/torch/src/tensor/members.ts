/** Members of tensors that are no operators of their own: PyTorch's names for what stands elsewhere, too. */
import { ArgumentError } from "../errors.js";
import { orNull } from "../kinds.js";
import { atMost } from "../options.js";
import { invoke } from "../ops/invoke.js";
import { Operator } from "../ops/operator.js";
import { signature, type Call } from "../signature.js";
import { anything, byDefault, flag, whole, type Kind } from "../kinds.js";
import type { DeviceLike } from "./device.js";
import type { DType } from "./dtype.js";
import { isTensor, liveHandle } from "./handle.js";
import { deviceKind, dtypeKind } from "./kinds.js";
import { Tensor } from "./tensor.js";
import { tensor, type TensorData } from "./values.js";

export interface NewTensorArguments {
  readonly data: TensorData | Tensor;
  /** Default: this tensor's. */
  readonly dtype?: DType | null;
  /** Default: this tensor's. */
  readonly device?: DeviceLike | null;
  readonly requiresGrad?: boolean;
}
const DATA: Kind<TensorData | Tensor> = anything;
const readNewTensor = signature(
  "newTensor",
  {
    data: DATA,
    dtype: byDefault(null, orNull(dtypeKind)),
    device: byDefault(null, orNull(deviceKind)),
    requiresGrad: byDefault(false, flag),
  },
  1,
);
export type NewTensorCall = Call<NewTensorArguments, ["data"], [data: TensorData | Tensor]>;

export interface Members {
  /** The dimensions turned round; of a matrix its transpose. A view. */
  readonly T: Tensor;
  /** Of a matrix, its conjugate transpose; the tensor itself without dimensions. */
  readonly H: Tensor;
  /** The last two dimensions transposed. A view. */
  readonly mT: Tensor;
  /** The same of the conjugate. */
  readonly mH: Tensor;
  /** The real part, a view; assigning writes it. A real tensor is its own. */
  get real(): Tensor;
  set real(value: Tensor | number);
  /** The imaginary part of a complex tensor, a view; assigning writes it. */
  get imag(): Tensor;
  set imag(value: Tensor | number);
  readonly isCpu: boolean;
  readonly isMeta: boolean;
  readonly isSparseCsr: boolean;
  /** Always false: nested tensors are not made here. */
  readonly isNested: boolean;
  /** Always false: PyTorch's quantized tensors are not made here. */
  readonly isQuantized: boolean;
  /** Whether a tensor that is no leaf keeps its gradient. */
  readonly retainsGrad: boolean;
  cfloat(): Tensor;
  cdouble(): Tensor;
  /** The complex conjugate: a view that remembers to conjugate. A real tensor itself. */
  conj(): Tensor;
  /** Bytes of one element. */
  elementSize(): number;
  ndimension(): number;
  nelement(): number;
  /** The index of the GPU; -1 on the CPU. */
  getDevice(): number;
  isConj(): boolean;
  isNeg(): boolean;
  /** Whether the dtype has negative numbers. */
  isSigned(): boolean;
  isSameSize(other: Tensor): boolean;
  /** A copy of data, of this tensor's dtype and device unless told otherwise. */
  newTensor(...given: NewTensorCall): Tensor;
  /** The same in coordinate format. */
  toSparseCoo(): Tensor;
  /** The different elements, or slices along `dim`: see the function `unique`. */
  unique(...given: UniqueCall): Tensor | Tensor[];
  /** The same of neighbours only. */
  uniqueConsecutive(...given: UniqueConsecutiveCall): Tensor | Tensor[];
}

/** What `unique` is asked for. */
export interface UniqueOptions {
  /** In ascending order; false may be faster. Default true. */
  readonly sorted?: boolean;
  /** Also where each element of the input is among them. Default false. */
  readonly returnInverse?: boolean;
  /** Also how often each of them is there. Default false. */
  readonly returnCounts?: boolean;
  /** Compare slices along a dimension, not elements. Default null. */
  readonly dim?: number | null;
}
export type UniqueCall = Call<
  UniqueOptions,
  ["sorted", "returnInverse", "returnCounts", "dim"],
  [sorted?: boolean, returnInverse?: boolean, returnCounts?: boolean, dim?: number | null]
>;
export type UniqueConsecutiveCall = Call<
  Omit<UniqueOptions, "sorted">,
  ["returnInverse", "returnCounts", "dim"],
  [returnInverse?: boolean, returnCounts?: boolean, dim?: number | null]
>;
const ASKED = {
  returnInverse: byDefault(false, flag),
  returnCounts: byDefault(false, flag),
  dim: byDefault(null, orNull(whole())),
};
const readUnique = signature("unique", { sorted: byDefault(true, flag), ...ASKED });
const readConsecutive = signature("uniqueConsecutive", ASKED);

function answer(
  all: unknown,
  asked: { readonly returnInverse: boolean; readonly returnCounts: boolean },
): Tensor | Tensor[] {
  const [values, inverse, counts] = all as readonly [Tensor, Tensor, Tensor];
  const list = [values];
  if (asked.returnInverse) list.push(inverse);
  else inverse.dispose();
  if (asked.returnCounts) list.push(counts);
  else counts.dispose();
  return list.length === 1 ? values : list;
}
/** @internal */
export function uniqueOf(input: Tensor, given: readonly unknown[]): Tensor | Tensor[] {
  const a = readUnique(given);
  return a.dim === null
    ? answer(unique2(input, a.sorted, a.returnInverse, a.returnCounts), a)
    : answer(uniqueDim(input, a.dim, a.sorted, a.returnInverse, a.returnCounts), a);
}
/** @internal */
export function uniqueConsecutiveOf(input: Tensor, given: readonly unknown[]): Tensor | Tensor[] {
  const a = readConsecutive(given);
  return answer(consecutive(input, a.returnInverse, a.returnCounts, a.dim), a);
}

const op = (name: string): ((...args: readonly unknown[]) => unknown) => {
  const operator = new Operator(`aten::${name}`);
  return (...args) => invoke(operator, [...args]);
};
const [transpose, conjugate, real, imag, conj] = ["mT", "mH", "real", "imag", "conj"].map((name) => {
  const call = op(name);
  return (t: Tensor): Tensor => call(t) as Tensor;
}) as [Unary, Unary, Unary, Unary, Unary];
type Unary = (t: Tensor) => Tensor;
const [isConj, isNeg, isSigned, retainsGrad] = ["is_conj", "is_neg", "is_signed", "retains_grad"].map((name) => {
  const call = op(name);
  return (t: Tensor): boolean => {
    liveHandle(t, name);
    return call(t) as boolean;
  };
}) as [Ask, Ask, Ask, Ask];
type Ask = (t: Tensor) => boolean;
const sameSize = op("is_same_size");
const [unique2, uniqueDim, consecutive] = [op("_unique2"), op("unique_dim"), op("unique_consecutive")];

/** As assignments of PyTorch write a part. */
function writePart(part: Tensor, value: unknown): void {
  if (typeof value === "number") part.fill_(value);
  else if (isTensor(value)) part.copy_(value);
  else throw new ArgumentError("Tensor", "a tensor or a number to be assigned", value);
}

const GETTERS: Readonly<Record<string, (t: Tensor) => unknown>> = {
  T: (t) => (t.ndim < 2 ? t.view(t.shape) : t.permute(t.shape.map((_, i) => -1 - i))),
  H: (t) => {
    if (t.ndim !== 0 && t.ndim !== 2)
      throw new ArgumentError("H", "a matrix, or a tensor without dimensions", t, "Use .mH.");
    return t.ndim === 0 ? conj(t) : conjugate(t);
  },
  mT: transpose,
  mH: conjugate,
  isCpu: (t) => t.device.type === "cpu",
  isMeta: (t) => t.device.type === "meta",
  isSparseCsr: (t) => t.layout === "sparseCsr",
  isNested: (t) => (liveHandle(t, "isNested"), false),
  isQuantized: (t) => (liveHandle(t, "isQuantized"), false),
  retainsGrad,
};
const PARTS: Readonly<Record<string, Unary>> = { real, imag };

type Methods = {
  readonly [K in keyof Members as Members[K] extends (...args: never[]) => unknown ? K : never]: Members[K];
};
const methods: Methods & ThisType<Tensor> = {
  cfloat() {
    atMost("cfloat", arguments, 0);
    return this.to("complex64");
  },
  cdouble() {
    atMost("cdouble", arguments, 0);
    return this.to("complex128");
  },
  conj() {
    atMost("conj", arguments, 0);
    liveHandle(this, "conj");
    return conj(this);
  },
  elementSize() {
    atMost("elementSize", arguments, 0);
    return this.itemsize;
  },
  ndimension() {
    atMost("ndimension", arguments, 0);
    return this.ndim;
  },
  nelement() {
    atMost("nelement", arguments, 0);
    return this.numel();
  },
  getDevice() {
    atMost("getDevice", arguments, 0);
    const { type, index } = this.device;
    return type === "cpu" ? -1 : (index ?? 0);
  },
  isConj() {
    atMost("isConj", arguments, 0);
    return isConj(this);
  },
  isNeg() {
    atMost("isNeg", arguments, 0);
    return isNeg(this);
  },
  isSigned() {
    atMost("isSigned", arguments, 0);
    return isSigned(this);
  },
  isSameSize(other) {
    atMost("isSameSize", arguments, 1);
    liveHandle(this, "isSameSize");
    return sameSize(this, other) as boolean;
  },
  newTensor(...given) {
    const { data, dtype, device, requiresGrad } = readNewTensor(given);
    return tensor(data, { dtype: dtype ?? this.dtype, device: device ?? this.device, requiresGrad });
  },
  toSparseCoo() {
    atMost("toSparseCoo", arguments, 0);
    return this.toSparse();
  },
  unique(...given) {
    readUnique(given);
    liveHandle(this, "unique");
    return uniqueOf(this, given);
  },
  uniqueConsecutive(...given) {
    readConsecutive(given);
    liveHandle(this, "uniqueConsecutive");
    return uniqueConsecutiveOf(this, given);
  },
};

/** @internal */
export function attachMembers(): void {
  for (const [name, value] of Object.entries(methods))
    Object.defineProperty(Tensor.prototype, name, { value, writable: true, configurable: true });
  for (const [name, get] of Object.entries(GETTERS))
    Object.defineProperty(Tensor.prototype, name, {
      get(this: Tensor) {
        liveHandle(this, name);
        return get(this);
      },
      configurable: true,
    });
  for (const [name, part] of Object.entries(PARTS))
    Object.defineProperty(Tensor.prototype, name, {
      get(this: Tensor) {
        liveHandle(this, name);
        return part(this);
      },
      set(this: Tensor, value: unknown) {
        liveHandle(this, name);
        writePart(part(this), value);
      },
      configurable: true,
    });
}
