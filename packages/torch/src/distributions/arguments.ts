/** What distributions are given: parameters, shapes, and whether they look at them. */
import { ArgumentError, NbitError } from "../errors.js";
import { byDefault, either, flag, listOf, oneOf, orNull, real, whole, type Kind } from "../kinds.js";
import { signature } from "../signature.js";
import { tensorKind } from "../tensor/kinds.js";
import type { Tensor } from "../tensor/tensor.js";

export type Shape = readonly number[];
/** A parameter of a distribution: a tensor, or a number, which takes the dtype and device of the others. */
export type ParameterLike = Tensor | number;

/** @internal */
export const parameter: Kind<ParameterLike> = either(tensorKind, real("[-∞, ∞]"));
/** @internal */
export const tensorOrNull = orNull(tensorKind);
/** @internal A parameter that stands for another one, of which one is given. */
export const oneOfTwo = byDefault(null, orNull(parameter));
/** @internal */
export const tensorOfTwo = byDefault(null, tensorOrNull);
/** @internal */
export const VALIDATE = byDefault(null, orNull(flag));
/** @internal */
export const shapeKind: Kind<Shape> = listOf(whole("[0, ∞)"));

/** A shape by position, or by name. */
export type SampleCall = readonly [sampleShape?: Shape] | readonly [options: { readonly sampleShape?: Shape }];
export type ExpandCall = readonly [batchShape: Shape] | readonly [options: { readonly batchShape: Shape }];
export type EnumerateCall = readonly [expand?: boolean] | readonly [options: { readonly expand?: boolean }];

const readSample = signature("sample", { sampleShape: byDefault([], shapeKind) });
const readExpand = signature("expand", { batchShape: listOf(whole("[0, ∞)")) });
const readEnumerate = signature("enumerateSupport", { expand: byDefault(true, flag) });

/** @internal */
export const sampleShapeOf = (given: SampleCall, fn = "sample"): Shape => readSample(given, fn).sampleShape;
/** @internal */
export const batchShapeOf = (given: ExpandCall): Shape => readExpand(given).batchShape;
/** @internal */
export const expandOf = (given: EnumerateCall): boolean => readEnumerate(given).expand;

/** How many pairs a transform remembers, 0 or 1, by position or by name. */
export type CacheCall = readonly [cacheSize?: number] | readonly [options: { readonly cacheSize?: number }];
/** @internal */
export const CACHE = byDefault(0, oneOf<number>(0, 1));
const readCache = signature("Transform", { cacheSize: CACHE });
const readWithCache = signature("withCache", { cacheSize: byDefault(1, oneOf<number>(0, 1)) });
/** @internal */
export const cacheSizeOf = (given: CacheCall, fn: string): number => readCache(given, fn).cacheSize;
/** @internal */
export const withCacheOf = (given: CacheCall): number => readWithCache(given).cacheSize;

/** @internal What a family, or a transform, does not have. */
export function lacking(of: object, what: string): NbitError {
  return new NbitError(`${of.constructor.name}: ${what} is not defined for it.`, "ERR_NOT_IMPLEMENTED");
}

/** @internal Either probs or logits, not both. */
export function checkOneGiven(fn: string, given: Readonly<Record<string, unknown>>): void {
  const named = Object.keys(given).filter((name) => given[name] !== null);
  if (named.length !== 1)
    throw new ArgumentError(fn, `one of ${Object.keys(given).join(", ")}`, named.length === 0 ? null : named);
}

/** @internal */
export const sameShape = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((size, i) => size === b[i]);
/** @internal */
export const count = (shape: Shape): number => shape.reduce((product, size) => product * size, 1);
