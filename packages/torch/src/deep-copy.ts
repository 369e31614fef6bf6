/** Copies of whole structures, in which what was one object is one again: PyTorch programs call `copy.deepcopy`. */
import { ArgumentError, NbitError, verbatim } from "./errors.js";
import { atMost } from "./options.js";
import { isBuffer, isMap, isPlain, isSet } from "./realm.js";
import { isTensor } from "./tensor/handle.js";
import type { Tensor } from "./tensor/tensor.js";

/** What stands for each object that was copied already. */
export type Copies = Map<object, unknown>;
/** @internal A method that copies its object, and puts the copy into the map before it copies what the object holds. */
export const COPY = Symbol("nbit.copy");

/**
 * A copy that shares nothing with `value`: tensors with their values, modules, state dicts, optimizers' states, arrays,
 * objects, Maps and Sets. What occurs twice in `value` is one object in the copy too: tied weights stay tied. Functions
 * are not copied, nor objects that a copy could not be made of, such as generators and devices: the copy refers to
 * them.
 *
 * Tensors keep dtype, device, layout in memory and `requiresGrad`; a plain tensor's gradient is copied too, a
 * parameter's is not, as in PyTorch. Parameters live outside every scope, other tensors belong to the scope that is open.
 *
 * @throws {ArgumentError} for a tensor that is the result of recorded operators: `deepcopy: expected tensors without a
 * graph. Received: … Take t.detach().`
 * @throws {NbitError} `DEEPCOPY` for a module with private fields (`#name`), which a copy cannot be given.
 * @example
 * const average = deepcopy(model);
 * const best = deepcopy(model.stateDict());
 */
export function deepcopy<T>(value: T): T {
  atMost("deepcopy", arguments, 1);
  return copyOf(value, new Map()) as T;
}

/** @internal One value of a structure. */
export function copyOf(value: unknown, copies: Copies): unknown {
  if (typeof value !== "object" || value === null) return value;
  const known = copies.get(value);
  if (known !== undefined) return known;
  if (COPY in value && typeof value[COPY] === "function")
    return (value[COPY] as (copies: Copies) => unknown).call(value, copies);
  if (isTensor(value)) return remember(copies, value, copyOfTensor(value, copies));
  if (Array.isArray(value)) {
    const copy = remember(copies, value, new Array<unknown>(value.length));
    for (const key of Object.keys(value)) Reflect.set(copy, key, copyOf(Reflect.get(value, key), copies));
    return copy;
  }
  if (isMap(value)) {
    const copy = remember(copies, value, new Map());
    for (const [key, each] of value) copy.set(copyOf(key, copies), copyOf(each, copies));
    return copy;
  }
  if (isSet(value)) {
    const copy = remember(copies, value, new Set());
    for (const each of value) copy.add(copyOf(each, copies));
    return copy;
  }
  if (ArrayBuffer.isView(value) || isBuffer(value) || value instanceof Date)
    return remember(copies, value, structuredClone(value));
  if (isPlain(value) || isOpen(value)) {
    const copy = remember(copies, value, Object.create(Reflect.getPrototypeOf(value)) as object);
    copyFields(value, copy, copies);
    return copy;
  }
  return value;
}

/** @internal Own fields, but for what is to stay the target's own. */
export function copyFields(
  from: object,
  to: object,
  copies: Copies,
  except: (name: PropertyKey) => boolean = () => false,
): void {
  for (const name of Reflect.ownKeys(from)) {
    if (except(name)) continue;
    const field = Object.getOwnPropertyDescriptor(from, name) as PropertyDescriptor;
    Object.defineProperty(to, name, "value" in field ? { ...field, value: copyOf(field.value, copies) } : field);
  }
}

function remember<T extends object>(copies: Copies, from: object, copy: T): T {
  copies.set(from, copy);
  return copy;
}

function copyOfTensor(t: Tensor, copies: Copies): Tensor {
  if (!t.isLeaf)
    throw new ArgumentError(
      "deepcopy",
      "tensors without a graph",
      t,
      "Take t.detach(), or noGrad(() => …) when it is made.",
    );
  const copy = t.detach().clone();
  if (t.requiresGrad) copy.requiresGrad_(true);
  const { grad } = t;
  if (grad !== null) copy.grad = copyOf(grad.detach(), copies) as Tensor;
  return copy;
}

/** Whether an object consists of its fields: an instance of classes in JavaScript without private ones. */
function isOpen(value: object): boolean {
  for (let at = Reflect.getPrototypeOf(value); at !== null && Reflect.getPrototypeOf(at) !== null;) {
    const { constructor } = at;
    if (typeof constructor !== "function" || isNative(constructor) || privateNameOf(constructor) !== null) return false;
    at = Reflect.getPrototypeOf(at);
  }
  return true;
}
const isNative = (type: object): boolean => Function.prototype.toString.call(type).includes("[native code]");

const known = new WeakMap<object, string | null>();
/** A private name of a class (`#name`), which only its constructor can give to an object; null: it has none. */
function privateNameOf(type: object): string | null {
  let name = known.get(type);
  if (name === undefined) {
    // What could be taken for a name is taken out: comments, then strings.
    const source = Function.prototype.toString
      .call(type)
      .replace(/\/\*[\s\S]*?\*\/|(?<![:"'`\\])\/\/.*$/gm, "")
      .replace(/"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`/g, '""');
    name = /(?:^|[\s.;{}(!*])(#[A-Za-z_$][\w$]*)/.exec(source)?.[1] ?? null;
    known.set(type, name);
  }
  return name;
}

type Class = new () => object;
const plainlyMade = new WeakSet<object>();
/**
 * @internal A class with private fields whose constructor, without arguments, makes them as a copy is to have them:
 * `Reflect.construct(type, [], subclass)` makes an instance of the subclass.
 */
export function copiedByConstruction(type: abstract new () => object): void {
  plainlyMade.add(type);
}

/** @internal An object of the class of `value` that has its private fields, and nothing of its own yet. */
export function emptyLike(fn: string, value: object): object {
  for (let at = Reflect.getPrototypeOf(value); at !== null; at = Reflect.getPrototypeOf(at)) {
    const { constructor } = at;
    if (plainlyMade.has(constructor)) return Reflect.construct(constructor as Class, [], value.constructor) as object;
    const name = privateNameOf(constructor);
    if (name !== null)
      throw new NbitError(
        `${fn}: expected classes without private fields (#name), which a copy cannot be given. ` +
          `Received: ${value.constructor.name} with ${name}. Make it an ordinary field (private ${name.slice(1)}), or override clone().`,
        "DEEPCOPY",
      );
  }
  throw new ArgumentError(fn, "a module", verbatim(value.constructor.name));
}
