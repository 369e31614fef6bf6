/** A module called with other tensors in the places of its parameters and buffers. */
import { ArgumentError, NbitError } from "../../errors.js";
import { byDefault, flag, orNull, record, such } from "../../kinds.js";
import type { OptionNames } from "../../options.js";
import { plainText } from "../../plain-text.js";
import { isMap, isPlain } from "../../realm.js";
import { signature, type Call } from "../../signature.js";
import { isTensor } from "../../tensor/handle.js";
import type { Tensor } from "../../tensor/tensor.js";
import { Module } from "../module.js";
import { keyOf, moduleKind, tensorField } from "./fields.js";

/** Tensors by their names in the state dict. */
export type NamedTensors = ReadonlyMap<string, Tensor> | Readonly<Record<string, Tensor>>;
export interface FunctionalCallArguments {
  readonly module: Module;
  /** Under the names of `namedParameters` and `namedBuffers`; in one dict, or several without a name in common. */
  readonly parameterAndBufferDicts: NamedTensors | readonly NamedTensors[];
  /** What the module is called with: one argument, or an array of them. Default: none. */
  readonly args?: unknown;
  /** Options behind them, for a module whose last argument they are. */
  readonly kwargs?: object | null;
  /** A tensor that stands in several places is replaced in all of them. Default true. */
  readonly tieWeights?: boolean;
  /** Every name must be on both sides. Default false. */
  readonly strict?: boolean;
}
const isDict = (v: unknown): v is NamedTensors => isMap(v) || isPlain(v);
const dicts = such<FunctionalCallArguments["parameterAndBufferDicts"]>(
  "tensors by name, in an object or a Map, or an array of those",
  (v) => isDict(v) || (Array.isArray(v) && v.every(isDict)),
);
const read = signature(
  "functionalCall",
  {
    module: moduleKind,
    parameterAndBufferDicts: dicts,
    args: byDefault(
      () => [],
      such<unknown>("arguments", () => true),
    ),
    kwargs: byDefault(null, orNull(record)),
    tieWeights: byDefault(true, flag),
    strict: byDefault(false, flag),
  } satisfies OptionNames<FunctionalCallArguments>,
  4,
);

/**
 * Call a module as if its parameters and buffers were other tensors: for functions of weights, gradients through an
 * update, and ensembles. Nothing is copied; the module has its own tensors again when the call is over, also by an error.
 *
 * @param given - module, parameterAndBufferDicts, args, kwargs, { tieWeights, strict }; see {@link
 *   FunctionalCallArguments}.
 * @returns What the module's `call` returns.
 * @throws {ArgumentError} for two values of tied tensors, a name in two dicts, or what is no tensor.
 * @throws {NbitError} `STATE_DICT_MISMATCH`, under `strict`, listing missing and unexpected names.
 * @example
 * const weights = Object.fromEntries([...net.namedParameters()].map(([name, p]) => [name, p.sub(p.grad.mul(0.1))]));
 * functionalCall(net, weights, x);
 */
export function functionalCall(
  ...given: Call<
    FunctionalCallArguments,
    ["module", "parameterAndBufferDicts", "args", "kwargs"],
    [
      module: Module,
      parameterAndBufferDicts: FunctionalCallArguments["parameterAndBufferDicts"],
      args?: unknown,
      kwargs?: object | null,
    ]
  >
): unknown {
  const { module, parameterAndBufferDicts, args, kwargs, tieWeights, strict } = read(withNamed(given));
  const values = joined(Array.isArray(parameterAndBufferDicts) ? parameterAndBufferDicts : [parameterAndBufferDicts]);
  const places = placesOf(module);
  const replaced = tieWeights ? tied(values, places) : values;
  if (strict) checkNames(module, replaced, places);
  const undo: (() => void)[] = [];
  try {
    for (const [name, value] of replaced) {
      const place = places.get(name);
      if (place !== undefined) undo.push(stand(place, value));
    }
    const list: readonly unknown[] = Array.isArray(args) ? args : args === undefined ? [] : [args];
    return module.call(...((kwargs === null ? list : [...list, kwargs]) as never[]));
  } finally {
    for (const back of undo.reverse()) back();
  }
}

const NAMED = new Set(["kwargs", "tieWeights", "strict"]);
/** An object in the fourth place is `kwargs`, unless its names are those of the arguments behind. */
function withNamed(given: readonly unknown[]): readonly unknown[] {
  const last = given[3];
  if (given.length !== 4 || !isPlain(last)) return given;
  const names = Object.keys(last);
  return names.length > 0 && names.every((name) => NAMED.has(name)) ? [...given.slice(0, 3), undefined, last] : given;
}

interface Place {
  readonly module: Module;
  readonly field: string;
  readonly tensor: Tensor;
}
/** Every parameter and buffer by every name that it has. */
function placesOf(root: Module): Map<string, Place> {
  const places = new Map<string, Place>();
  const path = new Set<Module>();
  const walk = (module: Module, prefix: string): void => {
    if (path.has(module)) return;
    path.add(module);
    for (const [field, value] of Object.entries(module) as [string, unknown][])
      if (value instanceof Module) walk(value, `${prefix}${keyOf(module, field)}.`);
      else if (tensorField(module, field) !== null)
        places.set(prefix + keyOf(module, field), { module, field, tensor: value as Tensor });
    path.delete(module);
  };
  walk(root, "");
  return places;
}

function joined(given: readonly NamedTensors[]): Map<string, Tensor> {
  const values = new Map<string, Tensor>();
  for (const dict of given)
    for (const [name, value] of isMap(dict) ? dict : Object.entries(dict)) {
      if (typeof name !== "string" || !isTensor(value))
        throw new ArgumentError("functionalCall", `tensors by name, also for ${String(name)}`, value);
      if (values.has(name)) throw new ArgumentError("functionalCall", "names in one of the dicts only", name);
      values.set(name, value);
    }
  return values;
}
/** What is given for one name of a tensor is given for all of them. */
function tied(values: ReadonlyMap<string, Tensor>, places: ReadonlyMap<string, Place>): Map<string, Tensor> {
  const names = new Map<Tensor, string[]>();
  for (const [name, { tensor }] of places) names.set(tensor, [...(names.get(tensor) ?? []), name]);
  const all = new Map(values);
  for (const group of names.values()) {
    const given = new Set(group.flatMap((name) => values.get(name) ?? []));
    if (given.size > 1)
      throw new ArgumentError(
        "functionalCall",
        `one value for ${group.join(", ")}, which are one tensor`,
        [...given],
        "Pass { tieWeights: false } where they shall differ.",
      );
    for (const value of given) for (const name of group) all.set(name, value);
  }
  return all;
}
function checkNames(module: Module, values: ReadonlyMap<string, Tensor>, places: ReadonlyMap<string, Place>): void {
  const missing = [...places.keys()].filter((name) => !values.has(name));
  const unexpected = [...values.keys()].filter((name) => !places.has(name));
  if (missing.length + unexpected.length === 0) return;
  const what = [
    ...(missing.length > 0 ? [`missing: ${missing.join(", ")}`] : []),
    ...(unexpected.length > 0 ? [`unexpected: ${unexpected.join(", ")}`] : []),
  ];
  throw new NbitError(
    plainText(`functionalCall: expected every tensor of ${module.constructor.name}. Received: ${what.join("; ")}.`),
    "STATE_DICT_MISMATCH",
  );
}

/** Another tensor in a field, for a while; the tree does not see it. Returns what ends it. */
function stand({ module, field, tensor }: Place, value: Tensor): () => void {
  const property = { configurable: true, enumerable: true } as const;
  Object.defineProperty(module, field, { ...property, get: () => value });
  return () => Object.defineProperty(module, field, { ...property, value: tensor, writable: true });
}
