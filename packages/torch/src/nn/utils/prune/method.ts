/** What methods of pruning share: a mask of ones and zeros beside the parameter, which the module sees masked. */
import { noGrad } from "../../../autograd/modes.js";
import { ArgumentError } from "../../../errors.js";
import { orNull, whole } from "../../../kinds.js";
import { onesLike } from "../../../ops/index.js";
import { atMost, checkArguments } from "../../../options.js";
import { isPlain } from "../../../realm.js";
import { isTensor } from "../../../tensor/handle.js";
import { tensorKind } from "../../../tensor/kinds.js";
import { scope } from "../../../tensor/scope.js";
import type { Tensor } from "../../../tensor/tensor.js";
import { Module } from "../../module.js";
import {
  adopt,
  computationOf,
  computeField,
  fieldName,
  moduleKind,
  parameterField,
  removeFields,
  setField,
  tensorOf,
  valueFor,
  type Computation,
} from "../fields.js";

/** Which elements a method may take when others have been taken: of all that are left, or of the slices that are. */
export type PruningType = "unstructured" | "structured" | "global";
type MethodClass = new (...args: never[]) => BasePruningMethod;

/** @internal The checks of a method's `computeMask`. */
export function checkMasked(fn: string, given: ArrayLike<unknown>): void {
  atMost(fn, given, 2);
  const [t, defaultMask] = [given[0] as Tensor, given[1] as Tensor];
  checkArguments(fn, { t, defaultMask }, { t: tensorKind, defaultMask: tensorKind });
}

export const original = (field: string): string => `${field}Orig`;
export const maskOf = (field: string): string => `${field}Mask`;

/**
 * Base of methods: a class of one's own says its {@link PRUNING_TYPE} and computes a mask.
 *
 * @example
 * class EveryOther extends nn.utils.prune.BasePruningMethod {
 *   readonly PRUNING_TYPE = "unstructured";
 *   computeMask(t: Tensor, defaultMask: Tensor): Tensor {
 *     const mask = defaultMask.clone();
 *     mask.view([-1]).slice(0, 0, null, 2).fill_(0);
 *     return mask;
 *   }
 * }
 * EveryOther.apply(layer, "weight");
 */
export abstract class BasePruningMethod implements Computation {
  abstract readonly PRUNING_TYPE: PruningType;
  /** The dimension of slices, for structured methods. */
  readonly dim?: number;
  /** The field that is pruned. */
  tensorName: string | null = null;

  constructor() {
    atMost("BasePruningMethod", arguments, 0);
  }

  /**
   * Ones where elements stay, of the shape of both arguments.
   * @param t - What is pruned, or how important each of its elements is.
   * @param defaultMask - What has been pruned before; the result must not have ones where it has zeros.
   */
  abstract computeMask(t: Tensor, defaultMask: Tensor): Tensor;

  /** The parameter times its mask. */
  applyMask(module: Module): Tensor {
    atMost("applyMask", arguments, 1);
    checkArguments("applyMask", { module }, { module: moduleKind });
    const { tensorName } = this;
    if (tensorName === null) throw new ArgumentError("applyMask", "a module that has been pruned", module);
    const [mask, orig] = [tensorOf(module, maskOf(tensorName)), tensorOf(module, original(tensorName))];
    return scope(() => mask.to(orig.dtype).mul(orig));
  }
  /** @internal */
  [valueFor](module: Module): Tensor {
    return this.applyMask(module);
  }

  /** A pruned copy of a tensor. `importanceScores`: what to go by instead of its elements. */
  prune(t: Tensor, defaultMask: Tensor | null = null, importanceScores: Tensor | null = null): Tensor {
    atMost("prune", arguments, 3);
    checkArguments("prune", { t, defaultMask }, { t: tensorKind, defaultMask: orNull(tensorKind) });
    if (typeof (this.computeMask as unknown) !== "function")
      throw new ArgumentError("prune", "a method that has computeMask", this);
    const scores = importanceScores ?? t;
    checkScores("prune", scores, t);
    return scope(() => t.mul(noGrad(() => this.computeMask(scores, defaultMask ?? onesLike(t)))));
  }

  /** Make the parameter a plain one again, with zeros where it was pruned. */
  remove(module: Module): void {
    atMost("BasePruningMethod.remove", arguments, 1);
    checkArguments("prune.remove", { module }, { module: moduleKind });
    const field = this.tensorName;
    if (field === null || computationOf(module, field) !== this)
      throw new ArgumentError("prune.remove", "a module that was pruned by this", module);
    const parameter = tensorOf(module, original(field));
    noGrad(() => adopt(parameter, this.applyMask(module)));
    removeFields(module, field, original(field), maskOf(field));
    setField(module, field, parameter);
  }

  /**
   * Prune a parameter: it becomes the field `weightOrig`, beside the buffer `weightMask`, and `weight` is their product
   * whenever it is read. What has been pruned stays so: the method then chooses among what is left.
   *
   * @param args - What the class's constructor takes; `{ importanceScores }`, a tensor of the parameter's shape, may be
   *   among its options.
   * @throws {ArgumentError} for a name that is no parameter.
   */
  static apply(module: Module, name: string, ...args: readonly unknown[]): BasePruningMethod {
    const fn = `${this.name}.apply`;
    if (!(module instanceof Module)) throw new ArgumentError(fn, "module to be a Module", module);
    if (typeof name !== "string") throw new ArgumentError(fn, "name to be a string", name);
    const { scores, rest } = withoutScores(args);
    const method = Reflect.construct(this as unknown as MethodClass, rest) as BasePruningMethod;
    return begin(fn, method, module, fieldName(module, name), scores);
  }
}

/** The importance scores among options; the others are the constructor's. */
function withoutScores(args: readonly unknown[]): { readonly scores: unknown; readonly rest: readonly unknown[] } {
  const last = args[args.length - 1];
  if (!isPlain(last) || !Object.hasOwn(last, "importanceScores")) return { scores: null, rest: args };
  const { importanceScores, ...options } = last;
  const rest = args.slice(0, -1);
  return { scores: importanceScores ?? null, rest: Object.keys(options).length === 0 ? rest : [...rest, options] };
}

/** @internal Put a method to work on a field. */
export function begin(
  fn: string,
  next: BasePruningMethod,
  module: Module,
  field: string,
  scores: unknown,
): BasePruningMethod {
  const there = computationOf(module, field);
  const before = there instanceof BasePruningMethod ? there : null;
  const parameter = before === null ? parameterField(fn, module, field) : tensorOf(module, original(field));
  next.tensorName = field;
  if (scores !== null) checkScores(fn, scores, parameter);
  const method = before === null ? next : behind(before, next);
  const mask = scope(() =>
    noGrad(() => {
      // As the module sees it: what has been pruned is zero.
      const seen = before === null ? parameter : before.applyMask(module);
      const pruned = before === null ? onesLike(parameter) : tensorOf(module, maskOf(field)).clone();
      return method.computeMask((scores ?? seen) as Tensor, pruned);
    }),
  );
  if (!isTensor(mask) || String(mask.shape) !== String(parameter.shape))
    throw new ArgumentError(fn, `computeMask to return a mask of shape [${parameter.shape.join(", ")}]`, mask);
  if (before === null) {
    removeFields(module, field);
    setField(module, original(field), parameter);
  }
  module.registerBuffer(maskOf(field), mask);
  computeField(module, field, method);
  return method;
}
function checkScores(fn: string, scores: unknown, like: Tensor): void {
  if (!isTensor(scores) || String(scores.shape) !== String(like.shape))
    throw new ArgumentError(fn, `importanceScores of the shape of what is pruned ([${like.shape.join(", ")}])`, scores);
}

/**
 * Methods that pruned one parameter, one after the other: the last one's mask is of what the others left. A parameter
 * that is pruned again has one.
 */
export class PruningContainer extends BasePruningMethod {
  readonly PRUNING_TYPE = "global";
  #methods: readonly BasePruningMethod[] = [];
  constructor(...methods: readonly BasePruningMethod[]) {
    super();
    this.tensorName = methods[0]?.tensorName ?? null;
    for (const each of methods) if ((each as unknown) !== undefined) this.addPruningMethod(each);
  }
  /** @throws {ArgumentError} for one that prunes another field. */
  addPruningMethod(method: BasePruningMethod): void {
    atMost("addPruningMethod", arguments, 1);
    if (!(method instanceof BasePruningMethod))
      throw new ArgumentError("addPruningMethod", "method to be a BasePruningMethod", method);
    if (method.tensorName !== this.tensorName)
      throw new ArgumentError("addPruningMethod", `a method that prunes ${this.tensorName}`, method.tensorName);
    this.#methods = [...this.#methods, method];
  }
  get length(): number {
    return this.#methods.length;
  }
  [Symbol.iterator](): IterableIterator<BasePruningMethod> {
    return this.#methods[Symbol.iterator]();
  }
  /** The method of an index, which may be counted from the end. */
  at(index: number): BasePruningMethod | undefined {
    atMost("PruningContainer.at", arguments, 1);
    checkArguments("PruningContainer.at", { index }, { index: whole() });
    return this.#methods.at(index);
  }

  computeMask(t: Tensor, defaultMask: Tensor): Tensor {
    checkMasked("PruningContainer.computeMask", arguments);
    const method = this.#methods.at(-1);
    if (method === undefined) throw new ArgumentError("PruningContainer", "at least one method", []);
    const mask = defaultMask.to(t.dtype).clone();
    switch (method.PRUNING_TYPE) {
      case "unstructured": {
        const left = defaultMask.eq(1);
        const partial = method.computeMask(t.maskedSelect(left), defaultMask.maskedSelect(left));
        return mask.maskedScatter_(left, partial.to(mask.dtype));
      }
      case "structured": {
        const dim = dimOf(method, t);
        const others = t.shape.map((_, i) => i).filter((i) => i !== dim);
        const left = defaultMask.sum(others).ne(0).nonzero().squeeze(1);
        const partial = method.computeMask(t.indexSelect(dim, left), defaultMask.indexSelect(dim, left));
        return mask.indexCopy_(dim, left, partial.to(mask.dtype));
      }
      default:
        return mask.copy_(method.computeMask(t, defaultMask));
    }
  }
}
function dimOf(method: BasePruningMethod, t: Tensor): number {
  const { dim } = method;
  if (dim === undefined) throw new ArgumentError("prune", 'methods of type "structured" to have a dim', method);
  if (dim >= t.ndim || dim < -t.ndim) throw new ArgumentError("prune", `dim from ${-t.ndim} to ${t.ndim - 1}`, dim);
  return dim < 0 ? dim + t.ndim : dim;
}
function behind(there: BasePruningMethod, next: BasePruningMethod): PruningContainer {
  return new PruningContainer(...(there instanceof PruningContainer ? there : [there]), next);
}
