/** Pruning as functions: of one parameter, and of many together. */
import { noGrad } from "../../../autograd/modes.js";
import { ArgumentError } from "../../../errors.js";
import { byDefault, filled, iterable, orNull, such, type Kind } from "../../../kinds.js";
import { onesLike } from "../../../ops/index.js";
import { atMost, checkArguments, type OptionNames } from "../../../options.js";
import { isPlain } from "../../../realm.js";
import { iterated } from "../../../read-once.js";
import { signature, type Call } from "../../../signature.js";
import { isTensor } from "../../../tensor/handle.js";
import { tensorKind } from "../../../tensor/kinds.js";
import { scope } from "../../../tensor/scope.js";
import type { Tensor } from "../../../tensor/tensor.js";
import { Module } from "../../module.js";
import { computationOf, computationsOf, fieldName, moduleKind } from "../fields.js";
import { parametersToVector } from "../vectors.js";
import { BasePruningMethod, begin, maskOf, PruningContainer } from "./method.js";
import {
  AMOUNT,
  CustomFromMask,
  Identity,
  L1Unstructured,
  LN_STRUCTURED,
  LnStructured,
  MASK,
  RandomStructured,
  RandomUnstructured,
  STRUCTURED,
  type AmountOptions,
  type LnStructuredOptions,
  type MaskOptions,
  type NormOrder,
  type StructuredOptions,
} from "./methods.js";

export interface PruneArguments {
  readonly module: Module;
  /** The field of a parameter. */
  readonly name: string;
}
const NAMED = { module: moduleKind, name: filled } satisfies OptionNames<PruneArguments>;
export interface ScoresOptions {
  /** What elements are chosen by, of the parameter's shape. Default: the parameter. */
  readonly importanceScores?: Tensor | null;
}
const SCORES = { importanceScores: byDefault(null, orNull(tensorKind)) } satisfies OptionNames<ScoresOptions>;

type Of<M extends Module, Rest extends object> = PruneArguments & Rest & { readonly module: M };
function pruned(
  fn: string,
  { module, name }: PruneArguments,
  method: BasePruningMethod,
  scores: Tensor | null = null,
): Module {
  begin(fn, method, module, fieldName(module, name), scores);
  return module;
}

const readIdentity = signature("identity", NAMED);
/** The fields of pruning, without pruning anything. Arguments: module, name. */
export function identity<M extends Module>(
  ...given: Call<Of<M, object>, ["module", "name"], [module: M, name: string]>
): M {
  return pruned("identity", readIdentity(given), new Identity()) as M;
}

const readRandom = signature("randomUnstructured", { ...NAMED, ...AMOUNT });
/** Prune elements at random. Arguments: module, name, amount; see {@link AmountOptions}. */
export function randomUnstructured<M extends Module>(
  ...given: Call<Of<M, AmountOptions>, ["module", "name", "amount"], [module: M, name: string, amount: number]>
): M {
  const a = readRandom(given);
  return pruned("randomUnstructured", a, new RandomUnstructured(a.amount)) as M;
}

const readL1 = signature("l1Unstructured", { ...NAMED, ...AMOUNT, ...SCORES });
/** Prune the elements nearest to zero. Arguments: module, name, amount, importanceScores. */
export function l1Unstructured<M extends Module>(
  ...given: Call<
    Of<M, AmountOptions & ScoresOptions>,
    ["module", "name", "amount", "importanceScores"],
    [module: M, name: string, amount: number, importanceScores?: Tensor | null]
  >
): M {
  const a = readL1(given);
  return pruned("l1Unstructured", a, new L1Unstructured(a.amount), a.importanceScores) as M;
}

const readStructured = signature("randomStructured", { ...NAMED, ...STRUCTURED });
/** Prune slices of a dimension at random. Arguments: module, name, amount, dim. */
export function randomStructured<M extends Module>(
  ...given: Call<
    Of<M, StructuredOptions>,
    ["module", "name", "amount", "dim"],
    [module: M, name: string, amount: number, dim?: number]
  >
): M {
  const a = readStructured(given);
  return pruned("randomStructured", a, new RandomStructured(a.amount, a.dim)) as M;
}

const readLn = signature("lnStructured", { ...NAMED, ...LN_STRUCTURED, ...SCORES });
/** Prune the slices of a dimension with the least n-norm. Arguments: module, name, amount, n, dim, importanceScores. */
export function lnStructured<M extends Module>(
  ...given: Call<
    Of<M, LnStructuredOptions & ScoresOptions>,
    ["module", "name", "amount", "n", "dim", "importanceScores"],
    [module: M, name: string, amount: number, n: NormOrder, dim?: number, importanceScores?: Tensor | null]
  >
): M {
  const a = readLn(given);
  return pruned("lnStructured", a, new LnStructured(a.amount, a.n, a.dim), a.importanceScores) as M;
}

const readMask = signature("customFromMask", { ...NAMED, ...MASK });
/** Prune where a mask has zeros. Arguments: module, name, mask. */
export function customFromMask<M extends Module>(
  ...given: Call<Of<M, MaskOptions>, ["module", "name", "mask"], [module: M, name: string, mask: Tensor]>
): M {
  const a = readMask(given);
  return pruned("customFromMask", a, new CustomFromMask(a.mask)) as M;
}

/** A parameter by its module and field. */
export type Place = readonly [module: Module, name: string];
/** A class of methods of type "unstructured". */
export type PruningMethodClass = new (...args: never[]) => BasePruningMethod;
export interface GlobalArguments {
  readonly parameters: Iterable<Place>;
  readonly pruningMethod: PruningMethodClass;
  /** For parameters that are not chosen by their own elements: `[module, name, scores]`. */
  readonly importanceScores?: Iterable<readonly [...Place, scores: Tensor]> | null;
}
const isPlace = (v: unknown, length: number): v is Place =>
  Array.isArray(v) && v.length === length && v[0] instanceof Module && typeof v[1] === "string";
const methodClass: Kind<PruningMethodClass> = such(
  "a class of pruning methods",
  (v) => typeof v === "function" && v.prototype instanceof BasePruningMethod,
);
const readGlobal = signature("globalUnstructured", {
  parameters: such<GlobalArguments["parameters"]>(iterable.words, iterable.accepts),
  pruningMethod: methodClass,
  importanceScores: byDefault(
    null,
    orNull(such<NonNullable<GlobalArguments["importanceScores"]>>(iterable.words, iterable.accepts)),
  ),
} satisfies OptionNames<GlobalArguments>);

/**
 * Prune elements of several parameters, chosen among all of them together.
 *
 * @param given - parameters, pruningMethod, importanceScores, and what the method's constructor takes, by name:
 *   `globalUnstructured([[conv, "weight"], [fc, "weight"]], { pruningMethod: L1Unstructured, amount: 0.2 })`.
 * @throws {ArgumentError} for a method that is not "unstructured".
 */
export function globalUnstructured(
  ...given: Call<
    GlobalArguments & Readonly<Record<string, unknown>>,
    ["parameters", "pruningMethod", "importanceScores"],
    [
      parameters: Iterable<Place>,
      pruningMethod: PruningMethodClass,
      importanceScores?: GlobalArguments["importanceScores"],
    ]
  >
): void {
  const fn = "globalUnstructured";
  const { own, others } = split(given);
  const { parameters, pruningMethod, importanceScores } = readGlobal(own);
  const places = iterated(fn, "parameters", parameters).map((each) => {
    if (!isPlace(each, 2)) throw new ArgumentError(fn, "parameters to be pairs [module, name]", each);
    return { module: each[0], field: fieldName(each[0], each[1]) };
  });
  const method = Reflect.construct(
    pruningMethod,
    Object.keys(others).length === 0 ? [] : [others],
  ) as BasePruningMethod;
  if (method.PRUNING_TYPE !== "unstructured")
    throw new ArgumentError(fn, 'pruningMethod to be of type "unstructured"', method.PRUNING_TYPE);
  const given_ = iterated(fn, "importanceScores", importanceScores ?? []).map((each) => {
    if (!isPlace(each, 3) || !isTensor((each as readonly unknown[])[2]))
      throw new ArgumentError(fn, "importanceScores to be [module, name, scores]", each);
    const [module, name, scores] = each as unknown as readonly [Module, string, Tensor];
    return { module, field: fieldName(module, name), scores };
  });
  noGrad(() =>
    scope(() => {
      const values = places.map(({ module, field }) => Reflect.get(module, field) as Tensor);
      values.forEach((value, i) => {
        if (!isTensor(value)) throw new ArgumentError(fn, "parameters that modules have", places[i]?.field);
      });
      const scores = places.map(
        (place, i) =>
          given_.find((each) => each.module === place.module && each.field === place.field)?.scores ??
          (values[i] as Tensor),
      );
      const masks = places.map(({ module, field }, i) => {
        const mask: unknown = Reflect.get(module, maskOf(field));
        return isTensor(mask) ? mask : onesLike(values[i] as Tensor);
      });
      const mask = new PruningContainer(method).computeMask(parametersToVector(scores), parametersToVector(masks));
      let start = 0;
      places.forEach(({ module, field }, i) => {
        const value = values[i] as Tensor;
        const part = mask
          .narrow(0, start, value.numel())
          .view([...value.shape])
          .clone();
        begin(fn, new CustomFromMask(part), module, field, null);
        start += value.numel();
      });
    }),
  );
}
/** The function's own arguments, and those of the method's constructor, which only that knows. */
function split(given: readonly unknown[]): {
  readonly own: readonly unknown[];
  readonly others: Readonly<Record<string, unknown>>;
} {
  const last = given[given.length - 1];
  if (!isPlain(last)) return { own: given, others: {} };
  const names = ["parameters", "pruningMethod", "importanceScores"];
  const [mine, others] = [true, false].map((isOwn) =>
    Object.fromEntries(Object.entries(last).filter(([name]) => names.includes(name) === isOwn)),
  ) as [Record<string, unknown>, Record<string, unknown>];
  return { own: [...given.slice(0, -1), mine], others };
}

const readRemove = signature("remove", NAMED);
/** Make a pruned parameter a plain one again, with zeros where it was pruned. Arguments: module, name. */
export function remove<M extends Module>(
  ...given: Call<Of<M, object>, ["module", "name"], [module: M, name: string]>
): M {
  const { module, name } = readRemove(given);
  const method = computationOf(module, fieldName(module, name));
  if (!(method instanceof BasePruningMethod)) throw new ArgumentError("prune.remove", "name to be pruned", name);
  method.remove(module);
  return module as M;
}

/** Whether anything of a module, or below it, is pruned. */
export function isPruned(module: Module): boolean {
  atMost("isPruned", arguments, 1);
  checkArguments("isPruned", { module }, { module: moduleKind });
  return [...module.modules()].some((each) => computationsOf(each).some((how) => how instanceof BasePruningMethod));
}
