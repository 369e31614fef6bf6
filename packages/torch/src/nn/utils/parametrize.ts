/**
 * Parameters that are computed from others whenever they are read: orthogonal, normalized, symmetric ones. The module's
 * field becomes an accessor of a class of its own, which extends the module's; what is learned lives below the child
 * `parametrizations`, so that optimizers, state dicts, `to` and checkpoints find it there, under PyTorch's names.
 */
import { noGrad } from "../../autograd/modes.js";
import { ArgumentError } from "../../errors.js";
import { byDefault, callable, filled, flag, orNull, such, text } from "../../kinds.js";
import { checkArguments, atMost, type OptionNames } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import { isTensor } from "../../tensor/handle.js";
import { outsideScopes, scope, track } from "../../tensor/scope.js";
import type { Tensor } from "../../tensor/tensor.js";
import { snakeCase } from "../keys.js";
import { ModuleDict } from "../module-dict.js";
import type { Module } from "../module.js";
import { Parameter } from "../parameter.js";
import { adopt, fieldName, moduleKind, printedAs, setField, setTensorField, tensorField } from "./fields.js";
import { append, checkAlike, ParametrizationList, type Parametrization } from "./parametrization-list.js";

export { ParametrizationList, type Parametrization } from "./parametrization-list.js";

/** The lists of a module's parametrized tensors, by their fields, or by their names in state dicts. */
export class Parametrizations extends ModuleDict<ParametrizationList> {
  constructor() {
    atMost("Parametrizations", arguments, 0);
    super();
  }
  /** As in PyTorch, where modules by name keep their names: those of the fields that they stand for. */
  override stateKey(name: string): string {
    atMost("Parametrizations.stateKey", arguments, 1);
    return snakeCase(name);
  }
  override has(key: string): boolean {
    atMost("Parametrizations.has", arguments, 1);
    checkArguments("Parametrizations.has", { key }, { key: text });
    return super.has(fieldName(this, key));
  }
  override get(key: string): ParametrizationList {
    atMost("Parametrizations.get", arguments, 1);
    checkArguments("Parametrizations.get", { key }, { key: text });
    return super.get(fieldName(this, key));
  }
}
printedAs(Parametrizations, "ModuleDict");
/** A module some of whose tensors are parametrized. */
export interface Parametrized {
  readonly parametrizations: Parametrizations & Readonly<Record<string, ParametrizationList>>;
}

function listsOf(module: Module): Parametrizations | null {
  const found: unknown = Object.getOwnPropertyDescriptor(module, "parametrizations")?.value;
  return found instanceof Parametrizations ? found : null;
}
function listOf(module: Module, name: string): ParametrizationList | null {
  const lists = listsOf(module);
  return lists?.has(name) === true ? lists.get(name) : null;
}

// ---------------------------------------------------------------- values that are kept for a while

let depth = 0;
/** By list, with whether it was made for this: parametrizations may return what they were given. */
const kept = new Map<ParametrizationList, { readonly value: Tensor; readonly isOurs: boolean }>();
/**
 * Inside of `fn` each parametrized tensor is computed once, however often it is read: for recurrent layers and shared
 * weights. Assigning to it, or a step of an optimizer, is not seen until the end.
 */
export function cached<T>(fn: () => T): T {
  atMost("cached", arguments, 1);
  checkArguments("cached", { fn }, { fn: callable });
  return scope(() => {
    depth++;
    try {
      return fn();
    } finally {
      depth--;
      if (depth === 0) {
        // Into the scope that ends now: what is returned leaves it, the rest is freed.
        for (const { value, isOurs } of kept.values()) if (isOurs && !value.disposed) track(value);
        kept.clear();
      }
    }
  });
}
function valueOf(list: ParametrizationList): Tensor {
  if (depth === 0) return list.call();
  let found = kept.get(list);
  if (found === undefined || found.value.disposed) {
    const value = outsideScopes(() => list.call());
    const isOurs = ![...list.parameters(), ...list.buffers()].includes(value);
    kept.set(list, (found = { value, isOurs }));
  }
  return found.value;
}

// ---------------------------------------------------------------- the class

type Constructor = new (...args: never[]) => Module;
/** Prototypes of classes that were made for parametrized modules. */
const injected = new WeakSet<object>();

/** A module of a class that extends its own, and is named for what it is. */
function inject(module: Module): void {
  const prototype = Object.getPrototypeOf(module) as { readonly constructor: Constructor };
  if (injected.has(prototype)) return;
  const Base = prototype.constructor;
  abstract class Injected extends Base {}
  printedAs(Injected, `Parametrized${Base.name}`);
  injected.add(Injected.prototype);
  Object.setPrototypeOf(module, Injected.prototype);
}
function eject(module: Module): void {
  const prototype = Object.getPrototypeOf(module) as object;
  if (injected.has(prototype)) Object.setPrototypeOf(module, Object.getPrototypeOf(prototype) as object);
}

// ---------------------------------------------------------------- the functions

export interface RegisterArguments {
  readonly module: Module;
  /** The field of a parameter or a buffer; PyTorch's spelling is taken too. */
  readonly tensorName: string;
  readonly parametrization: Parametrization;
  /** Do not check that dtype and shape stay as they are. Default false. */
  readonly unsafe?: boolean;
}
const readRegister = signature(
  "registerParametrization",
  {
    module: moduleKind,
    tensorName: filled,
    parametrization: such<Parametrization>(moduleKind.words, moduleKind.accepts),
    unsafe: byDefault(false, flag),
  } satisfies OptionNames<RegisterArguments>,
  3,
);
/**
 * Compute a parameter or a buffer by a module from now on, or by another behind those that do. What is learned is what
 * its `rightInverse` makes of the tensor, else the tensor itself: the same Parameter, so that an optimizer that has it
 * need not be told (unless the right inverse returns several).
 *
 * @param given - module, tensorName, parametrization, { unsafe }; see {@link RegisterArguments}.
 * @returns The module.
 * @throws {ArgumentError} for a name of neither, and for values that change their dtype or shape, unless `unsafe`.
 * @example
 * class Symmetric extends nn.Module {
 *   forward(x: Tensor): Tensor { return x.triu().add(x.triu(1).t()); }
 * }
 * nn.utils.parametrize.registerParametrization(layer, "weight", new Symmetric());
 * layer.stateDict().keys(); // bias, parametrizations.weight.original
 */
export function registerParametrization<M extends Module>(
  ...given: Call<
    RegisterArguments & { readonly module: M },
    ["module", "tensorName", "parametrization"],
    [module: M, tensorName: string, parametrization: Parametrization]
  >
): M & Parametrized {
  const { module, tensorName, parametrization, unsafe } = readRegister(given);
  parametrization.train(module.training);
  const there = listOf(module, tensorName);
  if (there !== null) {
    if (!unsafe) checkNext(module, fieldName(module, tensorName), there, parametrization);
    append(there, parametrization);
    there.unsafe ||= unsafe;
    return module as M & Parametrized;
  }
  const field = fieldName(module, tensorName);
  const original = tensorField(module, field);
  if (original === null)
    throw new ArgumentError(
      "registerParametrization",
      `tensorName to be a parameter or a buffer of ${module.constructor.name}`,
      tensorName,
    );
  const list = new ParametrizationList([parametrization], original, unsafe);
  Reflect.deleteProperty(module, field);
  inject(module);
  if (listsOf(module) === null) setField(module, "parametrizations", new Parametrizations());
  // By `this`: a copy of the module has the accessor too, and lists of its own.
  Object.defineProperty(module, field, {
    get(this: Module) {
      return valueOf(listOf(this, field) as ParametrizationList);
    },
    set(this: Module, value: Tensor) {
      (listOf(this, field) as ParametrizationList).rightInverse(value);
    },
    configurable: true,
    enumerable: false,
  });
  (listsOf(module) as Parametrizations).set(field, list);
  return module as M & Parametrized;
}
/** One behind others must keep what they return, and its right inverse too. */
function checkNext(module: Module, field: string, list: ParametrizationList, next: Parametrization): void {
  noGrad(() =>
    scope(() => {
      const before = list.forward();
      const after = next.forward(before);
      checkAlike(`what the parametrization of ${module.constructor.name}.${field} returns`, after, before);
      if (typeof next.rightInverse !== "function") return;
      checkAlike("what its rightInverse returns", next.rightInverse(after), before);
    }),
  );
}

export interface IsParametrizedArguments {
  readonly module: Module;
  /** Default: any. */
  readonly tensorName?: string | null;
}
const readIs = signature("isParametrized", {
  module: moduleKind,
  tensorName: byDefault(null, orNull(filled)),
} satisfies OptionNames<IsParametrizedArguments>);
/** Whether a tensor of a module, or any, is parametrized. Arguments: module, tensorName. */
export function isParametrized(
  ...given: Call<IsParametrizedArguments, ["module", "tensorName"], [module: Module, tensorName?: string | null]>
): boolean {
  const { module, tensorName } = readIs(given);
  return tensorName === null ? listsOf(module) !== null : listOf(module, tensorName) !== null;
}

export interface RemoveArguments {
  readonly module: Module;
  readonly tensorName: string;
  /** Leave the tensor as it is computed now; else what was learned. Default true. */
  readonly leaveParametrized?: boolean;
}
const readRemove = signature("removeParametrizations", {
  module: moduleKind,
  tensorName: filled,
  leaveParametrized: byDefault(true, flag),
} satisfies OptionNames<RemoveArguments>);
/**
 * Make a parametrized tensor a plain one again: the parameter that was learned, which keeps its identity where it was
 * one tensor. Arguments: module, tensorName, leaveParametrized; see {@link RemoveArguments}.
 * @throws {ArgumentError} for a tensor that is not parametrized, or is made of several and shall be left without.
 */
export function removeParametrizations<M extends Module>(
  ...given: Call<
    RemoveArguments & { readonly module: M },
    ["module", "tensorName", "leaveParametrized"],
    [module: M, tensorName: string, leaveParametrized?: boolean]
  >
): M {
  const { module, tensorName, leaveParametrized } = readRemove(given);
  const [list, lists] = [listOf(module, tensorName), listsOf(module)];
  if (list === null || lists === null)
    throw new ArgumentError("removeParametrizations", "tensorName to be parametrized", tensorName);
  const field = fieldName(lists, tensorName);
  const plain = unparametrized(list, leaveParametrized);
  Reflect.deleteProperty(module, field);
  lists.delete(field);
  setTensorField(module, field, plain);
  if (lists.length === 0) {
    Reflect.deleteProperty(module, "parametrizations");
    eject(module);
  }
  return module as M;
}
function unparametrized(list: ParametrizationList, leaveParametrized: boolean): Tensor {
  if (list.isTensor) {
    const { original } = list;
    if (leaveParametrized) noGrad(() => scope(() => adopt(original, list.call())));
    return original;
  }
  if (!leaveParametrized)
    throw new ArgumentError(
      "removeParametrizations",
      "leaveParametrized to be true where a tensor is computed from several",
      false,
    );
  const { requiresGrad } = list.originals()[0] as Tensor;
  return scope(() => {
    const value = noGrad(() => list.call());
    const isLearned = list.originals().some((each) => each instanceof Parameter);
    return isLearned ? new Parameter(value, { requiresGrad }) : value.clone();
  });
}

/** The class that a module had before any of its tensors was parametrized. */
export function typeBeforeParametrizations(module: Module): Constructor {
  atMost("typeBeforeParametrizations", arguments, 1);
  checkArguments("typeBeforeParametrizations", { module }, { module: moduleKind });
  const prototype = Object.getPrototypeOf(module) as { readonly constructor: Constructor };
  return injected.has(prototype)
    ? (Object.getPrototypeOf(prototype) as { readonly constructor: Constructor }).constructor
    : prototype.constructor;
}

export interface TransferArguments {
  readonly fromModule: Module;
  readonly toModule: Module;
  /** Default: all. */
  readonly tensorName?: string | null;
}
const readTransfer = signature("transferParametrizationsAndParams", {
  fromModule: moduleKind,
  toModule: moduleKind,
  tensorName: byDefault(null, orNull(filled)),
} satisfies OptionNames<TransferArguments>);
/**
 * Parametrize another module as one is, with the same parametrizations and the same learned tensors: they are shared.
 * Arguments: fromModule, toModule, tensorName.
 * @returns The other module.
 */
export function transferParametrizationsAndParams<M extends Module>(
  ...given: Call<
    TransferArguments & { readonly toModule: M },
    ["fromModule", "toModule", "tensorName"],
    [fromModule: Module, toModule: M, tensorName?: string | null]
  >
): M {
  const { fromModule, toModule, tensorName } = readTransfer(given);
  const lists = listsOf(fromModule);
  if (lists === null) return toModule as M;
  const names = tensorName === null ? lists.keys() : [fieldName(lists, tensorName)];
  for (const name of names) {
    const list = lists.get(name);
    if (!isTensor(Reflect.get(toModule, name)))
      setField(
        toModule,
        name,
        scope(() => new Parameter(list.call())),
      );
    for (const each of list) registerParametrization(toModule, name, each);
    const copy = listOf(toModule, name) as ParametrizationList;
    if (list.isTensor) setField(copy, "original", list.original);
    else list.originals().forEach((original, i) => setField(copy, `original${i}`, original));
  }
  return toModule as M;
}
