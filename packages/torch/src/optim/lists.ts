/** Formulas over lists of tensors, one native call for each operator and all tensors. */
import { full } from "../ops/index.js";
import { isTensorList, type TensorList } from "../tensor/list.js";
import type { Tensor } from "../tensor/tensor.js";
import { factorOver, operator } from "./operators.js";

/** Tensors of all parameters. */
export type List = TensorList | readonly Tensor[];
/** A number, one for each tensor, a tensor of one element, or a list. */
export type Operand = number | readonly number[] | Tensor | List;

/** Over lists; what works in place returns nothing. */
type Op = (...args: unknown[]) => readonly Tensor[];
type OneOp = (...args: unknown[]) => Tensor;
interface Pair {
  readonly made: Op;
  readonly inPlace: Op;
}
const pair = (name: string): Pair => ({ made: overLists(name), inPlace: overLists(`${name}_`) });

/** While autograd looks on: operators over lists keep more of their arguments than single ones do, or have no derivative. */
let isRecording = false;
/** An operator over lists; tensor by tensor while autograd looks on. */
function overLists(name: string): Op {
  const many = operator(`_foreach_${name}`);
  const one = name === "maximum_" ? largest_ : operator(name);
  return (...args) => (isRecording ? eachOf(name, one, args) : many(...args));
}
function eachOf(name: string, one: OneOp, args: readonly unknown[]): readonly Tensor[] {
  const arrays = args.map((arg) => (isTensorList(arg) ? arg.toArray() : arg));
  const first = arrays.find((arg) => Array.isArray(arg)) as readonly Tensor[];
  const takesValue = /^addc(mul|div)_?$/.test(name);
  return first.map((_, i) =>
    one(
      ...arrays.map((arg, at): unknown => {
        const own: unknown = Array.isArray(arg) ? (arg as readonly unknown[])[i] : arg;
        return takesValue && at === 3 ? { value: own } : own;
      }),
    ),
  );
}
const larger = operator("maximum");
const largest_: OneOp = (x, y) => (x as Tensor).copy_(larger((x as Tensor).clone(), y));
const ADD = pair("add");
const SUB = pair("sub");
const MUL = pair("mul");
const DIV = pair("div");
const NEG = pair("neg");
const ABS = pair("abs");
const SQRT = pair("sqrt");
const RSQRT = pair("rsqrt");
const RECIPROCAL = pair("reciprocal");
const SIGN = pair("sign");
const POW = pair("pow");
const MAXIMUM = pair("maximum");
const LEAST = pair("clamp_min");
const MOST = pair("clamp_max");
const LERP = pair("lerp");
const ADDCMUL = pair("addcmul");

/** Operators that write into what lasts: parameters and state. */
export const inPlace = {
  add: ADD.inPlace,
  mul: MUL.inPlace,
  maximum: MAXIMUM.inPlace,
  lerp: LERP.inPlace,
  addcmul: ADDCMUL.inPlace,
  addcdiv: overLists("addcdiv_"),
  copy: overLists("copy_"),
  clampMin: LEAST.inPlace,
  clampMax: MOST.inPlace,
} as const;

/**
 * What one step computes and forgets. Results of its operators are written over by the next one, and freed at the end;
 * where autograd looks on, each operator makes new tensors. What it is given is never written to.
 */
export class Temporaries {
  readonly #own = new Set<List>();

  readonly #narrow: readonly Tensor[];

  /**
   * @param recording - Whether autograd looks on.
   * @param narrow - Tensors of the lists' dtypes: where some are of 16 bits, numbers that lists are multiplied by are not
   * rounded to them first, as in PyTorch's arithmetic of single tensors. None: they are, as in that over lists.
   */
  constructor(
    readonly recording: boolean,
    narrow: readonly Tensor[],
  ) {
    this.#narrow = narrow;
    isRecording = recording;
  }

  #factor(y: Operand): Operand {
    if (typeof y === "number") return factorOver(this.#narrow, y);
    if (!isNumbers(y)) return y;
    const [first] = y;
    if (first === undefined || y.every((each) => each === first)) return factorOver(this.#narrow, first ?? 1);
    // Each differs: not worth keeping from step to step.
    return typeof factorOver(this.#narrow, first) === "number"
      ? y
      : this.keep(y.map((each) => full([], each, { dtype: "float64" })));
  }
  /** Multiply what lasts. */
  scale(list: List, factor: Operand): void {
    MUL.inPlace(list, this.#factor(factor));
  }

  #apply(op: Pair, x: List, ...rest: unknown[]): List {
    if (!this.recording && this.#own.has(x)) {
      op.inPlace(x, ...rest);
      return x;
    }
    return this.keep(op.made(x, ...rest));
  }
  /** Take over a list that is free to be written to. */
  keep(made: readonly Tensor[]): List {
    this.#own.add(made);
    return made;
  }
  add(x: List, y: Operand, alpha = 1): List {
    return alpha === 1 ? this.#apply(ADD, x, y) : this.#apply(ADD, x, y, { alpha });
  }
  sub(x: List, y: Operand): List {
    return this.#apply(SUB, x, y);
  }
  mul(x: List, y: Operand): List {
    return this.#apply(MUL, x, this.#factor(y));
  }
  div(x: List, y: Operand): List {
    return this.#apply(DIV, x, y);
  }
  neg(x: List): List {
    return this.#apply(NEG, x);
  }
  abs(x: List): List {
    return this.#apply(ABS, x);
  }
  sqrt(x: List): List {
    return this.#apply(SQRT, x);
  }
  rsqrt(x: List): List {
    return this.#apply(RSQRT, x);
  }
  reciprocal(x: List): List {
    return this.#apply(RECIPROCAL, x);
  }
  sign(x: List): List {
    return this.#apply(SIGN, x);
  }
  pow(x: List, exponent: number): List {
    return this.#apply(POW, x, exponent);
  }
  maximum(x: List, y: Operand): List {
    return this.#apply(MAXIMUM, x, y);
  }
  /** New lists, also of what is free to be written to. */
  difference(x: List, y: Operand): List {
    return this.keep(SUB.made(x, y));
  }
  product(x: List, y: Operand): List {
    return this.keep(MUL.made(x, y));
  }
  atLeast(x: List, least: number): List {
    return this.keep(LEAST.made(x, least));
  }
  atMost(x: List, most: number): List {
    return this.keep(MOST.made(x, most));
  }
  /** Nowhere below a number. */
  least(x: List, bound: number): List {
    return this.#apply(LEAST, x, bound);
  }
  lerp(x: List, y: List, weight: number): List {
    return this.#apply(LERP, x, y, weight);
  }
  addcmul(x: List, y: List, z: List, value: number): List {
    return this.#apply(ADDCMUL, x, y, z, value);
  }
  /** base ^ x. */
  power(base: number, x: List): List {
    return this.keep(POW.made(base, x));
  }

  /** The gradients that a step follows: turned round where it maximizes, with the decay of weights in them. */
  gradients(grads: List, params: List, { maximize, weightDecay }: { maximize: boolean; weightDecay: number }): List {
    const turned = maximize ? this.neg(grads) : grads;
    return weightDecay === 0 ? turned : this.add(turned, params, weightDecay);
  }

  dispose(): void {
    isRecording = false;
    for (const list of this.#own) for (const t of list as readonly Tensor[]) t.dispose();
    this.#own.clear();
  }
}

/** p ← p + numerator / denominator times a number of each. */
export function addQuotients_(params: List, numerator: List, denominator: List, values: readonly number[]): void {
  inPlace.addcdiv(params, numerator, denominator, values);
}

function isNumbers(value: Operand): value is readonly number[] {
  return Array.isArray(value) && typeof value[0] === "number";
}
