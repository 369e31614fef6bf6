/** Fields of modules that hold tensors, for functions that put something else in their place. */
import { ArgumentError } from "../../errors.js";
import { instanceOf, type Kind } from "../../kinds.js";
import { isTensor } from "../../tensor/handle.js";
import type { Tensor } from "../../tensor/tensor.js";
import { Module } from "../module.js";
import { Parameter } from "../parameter.js";

export const moduleKind: Kind<Module> = instanceOf("a Module", Module);

/** The part of a field in names of parameters and state dicts. */
export function keyOf(module: Module, field: string): string {
  return module.stateKey(field);
}
/** The field of a name, which may be PyTorch's own spelling of it (`in_proj_weight` for `inProjWeight`). */
export function fieldName(module: Module, name: string): string {
  if (Object.hasOwn(module, name)) return name;
  return Object.keys(module).find((field) => keyOf(module, field) === name) ?? name;
}

/** The tensor in a field of the module's own that is a parameter or a buffer; null: there is none. */
export function tensorField(module: Module, field: string): Tensor | null {
  const value: unknown = Object.getOwnPropertyDescriptor(module, field)?.value;
  if (!isTensor(value)) return null;
  if (value instanceof Parameter) return value;
  for (const [, buffer] of module.namedBuffers({ recurse: false })) if (buffer === value) return value;
  return null;
}

/** @throws {ArgumentError} `weightNorm: expected name to be a parameter of Linear (weight, bias). Received: "w".` */
export function parameterField(fn: string, module: Module, field: string): Parameter {
  const value = tensorField(module, field);
  if (value instanceof Parameter) return value;
  const names = Object.keys(module).filter((each) => tensorField(module, each) instanceof Parameter);
  throw new ArgumentError(fn, `name to be a parameter of ${module.constructor.name} (${names.join(", ")})`, field);
}

/** A field with a parameter, or a buffer; behind the others, where there was none. */
export function setTensorField(module: Module, field: string, value: Tensor): void {
  if (value instanceof Parameter) setField(module, field, value);
  else module.registerBuffer(field, value);
}
export function setField(module: Module, field: string, value: unknown): void {
  Object.defineProperty(module, field, { value, writable: true, configurable: true, enumerable: true });
}

/** Other values for a tensor, in the memory that they are in: an optimizer that has it keeps it. */
export function adopt(tensor: Tensor, values: Tensor): void {
  if (tensor !== values) tensor.setData(values.detach());
}

export const valueFor = Symbol("valueFor");
/** How the value of a field is computed whenever it is read. */
export interface Computation {
  [valueFor](module: Module): Tensor;
}
/** By their getters, which a copy of a module has, too. */
const computations = new WeakMap<object, Computation>();

/** A field whose value is computed whenever it is read; the tree does not see it. */
export function computeField(module: Module, field: string, how: Computation): void {
  const get = function (this: Module): Tensor {
    return how[valueFor](this);
  };
  computations.set(get, how);
  Object.defineProperty(module, field, { get, configurable: true, enumerable: false });
}
/** How a field is computed; null: it is none of those. */
export function computationOf(module: Module, field: string): Computation | null {
  const get: unknown = Object.getOwnPropertyDescriptor(module, field)?.get;
  return typeof get === "function" ? (computations.get(get) ?? null) : null;
}
/** All of a module's. */
export function computationsOf(module: Module): Computation[] {
  return Object.getOwnPropertyNames(module)
    .map((field) => computationOf(module, field))
    .filter((how) => how !== null);
}

/** The tensor of a field such as `weightOrig`. */
export function tensorOf(module: Module, field: string): Tensor {
  return Reflect.get(module, field) as Tensor;
}
export function removeFields(module: Module, ...fields: readonly string[]): void {
  for (const field of fields) Reflect.deleteProperty(module, field);
}

/** The name that a class goes by in what is printed of its instances: PyTorch's. */
export function printedAs(type: abstract new (...args: never) => Module, name: string): void {
  Object.defineProperty(type, "name", { value: name });
}
