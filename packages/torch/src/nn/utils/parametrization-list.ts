/** What a parametrized tensor is computed from: the tensors themselves, and the modules that lead from them to it. */
import { noGrad } from "../../autograd/modes.js";
import { ArgumentError, NbitError } from "../../errors.js";
import { flag, such } from "../../kinds.js";
import { atMost, checkArguments } from "../../options.js";
import { isTensor } from "../../tensor/handle.js";
import { tensorKind } from "../../tensor/kinds.js";
import { scope } from "../../tensor/scope.js";
import type { Tensor } from "../../tensor/tensor.js";
import { Module } from "../module.js";
import { Parameter } from "../parameter.js";
import { adopt, setField, setTensorField } from "./fields.js";

/**
 * A module that computes a parameter or a buffer: the first of several is given the tensors that `rightInverse` made,
 * the others what the one before returned.
 */
export type Parametrization = Module & {
  forward(...originals: Tensor[]): Tensor;
  /**
   * Tensors that `forward` makes the value of (or the nearest that it can make). Where it throws an error whose code is
   * `NOT_IMPLEMENTED`, or is not there, the value itself is what is learned, and nothing can be assigned to it.
   */
  rightInverse?(value: Tensor): Tensor | readonly Tensor[];
};

/** What a `rightInverse` throws that does not exist under the options that its class was given. */
export function notImplemented(message: string): NbitError {
  return new NbitError(message, "NOT_IMPLEMENTED");
}
function inverted(parametrization: Parametrization, value: Tensor): Tensor | readonly Tensor[] | null {
  if (typeof parametrization.rightInverse !== "function") return null;
  try {
    return parametrization.rightInverse(value);
  } catch (error) {
    if (error instanceof NbitError && error.code === "NOT_IMPLEMENTED") return null;
    throw error;
  }
}

/** One more behind those of a list. */
export function append(list: ParametrizationList, parametrization: Parametrization): void {
  setField(list, String(list.length), parametrization);
}

const OWN = {
  modules: such<readonly Parametrization[]>(
    "an array of Modules",
    (v) => Array.isArray(v) && v.length > 0 && v.every((each) => each instanceof Module),
  ),
  original: tensorKind,
  unsafe: flag,
};
const FN = "registerParametrization";
const LATER = "Pass { unsafe: true } where that is meant.";

/** @throws {ArgumentError} unless one tensor has the other's dtype and shape. */
export function checkAlike(
  what: string,
  value: unknown,
  like: { readonly dtype: string; readonly shape: readonly number[] },
): void {
  if (!isTensor(value)) throw new ArgumentError(FN, `${what} to be a tensor`, value);
  if (value.dtype !== like.dtype)
    throw new ArgumentError(FN, `${what} to keep its dtype (${like.dtype})`, value, LATER);
  if (String(value.shape) !== String(like.shape))
    throw new ArgumentError(FN, `${what} to keep its shape ([${like.shape.join(", ")}])`, value, LATER);
}

/**
 * Parametrizations of one tensor, numbered fields, and what is learned in its place: `original`, or `original0`,
 * `original1`, … where the right inverse of the last returned several. `list[0]` and `list.length` as of an array.
 */
export class ParametrizationList extends Module {
  readonly [index: number]: Parametrization;
  /** What is learned (a parameter, where the tensor was one), if that is one tensor. */
  declare readonly original: Tensor;
  unsafe: boolean;
  readonly isTensor: boolean;
  readonly ntensors: number;

  /**
   * @param modules - At least one, in the order in which they compute.
   * @param original - What is computed from now on; it becomes `original` where it is learned itself.
   */
  constructor(modules: readonly Parametrization[], original: Tensor, unsafe = false) {
    super();
    atMost("ParametrizationList", arguments, 3);
    checkArguments("ParametrizationList", { modules, original, unsafe }, OWN);
    this.unsafe = unsafe;
    for (const each of modules) append(this, each);
    const like = { dtype: original.dtype, shape: [...original.shape] };
    const found = scope(() =>
      noGrad(() => {
        let value: Tensor | readonly Tensor[] = original;
        for (const each of [...modules].reverse()) value = isTensor(value) ? (inverted(each, value) ?? value) : value;
        return value;
      }),
    );
    this.isTensor = isTensor(found);
    if (isTensor(found)) {
      if (found.dtype !== original.dtype || found.device.toString() !== original.device.toString())
        throw new ArgumentError(FN, `rightInverse to keep the dtype (${original.dtype}) and the device`, found);
      this.ntensors = 1;
      noGrad(() => adopt(original, found));
      setTensorField(this, "original", original);
    } else {
      if (!Array.isArray(found)) throw new ArgumentError(FN, "rightInverse to return tensors", found);
      this.ntensors = found.length;
      found.forEach((each: unknown, i) => {
        if (!isTensor(each)) throw new ArgumentError(FN, "rightInverse to return tensors", found);
        const { requiresGrad } = original;
        setTensorField(
          this,
          `original${i}`,
          original instanceof Parameter ? new Parameter(each, { requiresGrad }) : each,
        );
      });
    }
    if (!unsafe) scope(() => checkAlike("what a parametrization returns", this.forward(), like));
  }

  get length(): number {
    let n = 0;
    while (Object.hasOwn(this, String(n))) n++;
    return n;
  }
  *[Symbol.iterator](): IterableIterator<Parametrization> {
    for (let i = 0; i < this.length; i++) yield this[i] as Parametrization;
  }
  /** The tensors that are learned. */
  originals(): Tensor[] {
    atMost("ParametrizationList.originals", arguments, 0);
    if (this.isTensor) return [this.original];
    return Array.from({ length: this.ntensors }, (_, i) => Reflect.get(this, `original${i}`) as Tensor);
  }

  /** The parametrized tensor. */
  forward(): Tensor {
    atMost("ParametrizationList.forward", arguments, 0);
    const [first, ...others] = this;
    if (first === undefined) throw new ArgumentError("ParametrizationList", "at least one parametrization", []);
    let value: Tensor = first.call(...this.originals());
    for (const each of others) value = each.call(value);
    return value;
  }

  /**
   * Learn from what makes this value: the right inverses, from the last to the first, into the originals.
   * @throws {ArgumentError} for a parametrization without a right inverse, or one whose result is of other dtypes.
   */
  rightInverse(value: Tensor): void {
    atMost("ParametrizationList.rightInverse", arguments, 1);
    if (!isTensor(value)) throw new ArgumentError("rightInverse", "value to be a tensor", value);
    noGrad(() =>
      scope(() => {
        let found: Tensor | readonly Tensor[] = value;
        for (const each of [...this].reverse()) {
          if (typeof each.rightInverse !== "function" || !isTensor(found))
            throw new ArgumentError("rightInverse", "parametrizations that have a rightInverse", each);
          found = each.rightInverse(found);
        }
        const made: readonly Tensor[] = isTensor(found) ? [found] : found;
        const originals = this.originals();
        if (isTensor(found) !== this.isTensor || made.length !== originals.length)
          throw new ArgumentError("rightInverse", `${originals.length} tensors`, found);
        originals.forEach((original, i) => {
          const each = made[i] as Tensor;
          if (each.dtype !== original.dtype)
            throw new ArgumentError("rightInverse", `tensors of the originals' dtype (${original.dtype})`, each);
          adopt(original, each);
        });
      }),
    );
  }
}
