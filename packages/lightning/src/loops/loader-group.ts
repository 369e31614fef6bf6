/** Loaders as they are given: one, or several in lists, objects and CombinedLoaders. */
import { CombinedLoader, Tensor, type CombinedMode, type Iterables } from "@nbit/torch";
import { isMap, isPlain } from "@nbit/torch/realm";
import { isLoader, type Loader } from "./fetch.js";

/** Loaders that are read together. */
export interface LoaderGroup {
  /** How; null: there is one, and its batches are the batches. */
  readonly mode: CombinedMode | null;
  /** The structure of batches: `loaders` stand in it, in the order of their numbers. */
  readonly like: unknown;
  readonly loaders: readonly Loader[];
}

/** The group with other loaders in the places of its own. */
export function withLoaders(group: LoaderGroup, loaders: readonly Loader[]): LoaderGroup {
  return { ...group, loaders };
}

/** How loaders of training are read unless a CombinedLoader says so: the longest once, shorter ones over and over. */
const TRAINING: CombinedMode = "max_size_cycle";

/** @returns null: it is no loader, nor several. */
export function trainingGroup(given: unknown): LoaderGroup | null {
  if (given instanceof CombinedLoader) return combined(given);
  const like = structureOf(given);
  if (like === null) return null;
  const loaders = loadersIn(like);
  if (loaders.length === 0) return null;
  return { mode: isLeaf(like) ? null : TRAINING, like: numbered(like), loaders };
}

/** A group for each number that an evaluation step is told; none: it is no loader, nor several. */
export function evaluationGroups(given: unknown): LoaderGroup[] {
  if (given instanceof CombinedLoader && given.mode !== "sequential") return [combined(given)];
  const loaders = given instanceof CombinedLoader ? given.flattened : loadersIn(structureOf(given));
  return loaders.map((loader) => ({ mode: null, like: 0, loaders: [loader] }));
}

function combined(given: CombinedLoader): LoaderGroup {
  return { mode: given.mode, like: numbered(given.iterables), loaders: given.flattened };
}

/** `values` in the places of a structure's numbers. */
export function filled(like: unknown, values: readonly unknown[]): unknown {
  if (typeof like === "number") return values[like];
  if (Array.isArray(like)) return like.map((each) => filled(each, values));
  return Object.fromEntries(Object.entries(like as object).map(([name, each]) => [name, filled(each, values)]));
}

/** A list of batches, which is a loader in an array. */
class Batches {
  constructor(readonly list: Loader) {}
}
type Structure = Loader | Batches | readonly Structure[] | { readonly [name: string]: Structure };

/**
 * What of arrays and objects holds loaders, and what is a list of batches: an array of loaders is several, any other is
 * one. An object is several where each of its values is a loader, a list of batches included.
 */
function structureOf(given: unknown): Structure | null {
  if (Array.isArray(given)) return severalIn(given) ?? new Batches(given);
  if (isPlain(given) && !isLoader(given)) return namedIn(given, true);
  return isLoader(given) ? given : null;
}

function severalIn(list: readonly unknown[]): Structure[] | null {
  const items: Structure[] = [];
  for (const item of list) {
    const structure = Array.isArray(item)
      ? severalIn(item)
      : isPlain(item)
        ? namedIn(item, false)
        : isOne(item)
          ? item
          : null;
    if (structure === null) return null;
    items.push(structure);
  }
  return items.length === 0 ? null : items;
}

function namedIn(of: Readonly<Record<string, unknown>>, lists: boolean): Record<string, Structure> | null {
  const items: Record<string, Structure> = {};
  for (const [name, item] of Object.entries(of)) {
    const structure = Array.isArray(item)
      ? (severalIn(item) ?? (lists ? new Batches(item) : null))
      : isPlain(item) && !isLoader(item)
        ? namedIn(item, lists)
        : isOne(item)
          ? item
          : null;
    if (structure === null) return null;
    items[name] = structure;
  }
  return Object.keys(items).length === 0 ? null : items;
}

/** A loader that is no batch: Maps and tensors are. */
function isOne(value: unknown): value is Loader {
  return isLoader(value) && !Array.isArray(value) && !isMap(value) && !(value instanceof Tensor);
}

const isLeaf = (of: unknown): boolean =>
  of instanceof Batches || (!Array.isArray(of) && (!isPlain(of) || isLoader(of)));

function loadersIn(of: Structure | Iterables | null): Loader[] {
  if (of === null) return [];
  if (of instanceof Batches) return [of.list];
  if (isLeaf(of)) return isLoader(of) ? [of] : [];
  return (Array.isArray(of) ? (of as Structure[]) : Object.values(of as Record<string, Structure>)).flatMap(loadersIn);
}

/** The same structure with the numbers of its loaders. */
function numbered(of: unknown): unknown {
  let n = 0;
  const walk = (each: unknown): unknown => {
    if (isLeaf(each)) return n++;
    if (Array.isArray(each)) return each.map(walk);
    return Object.fromEntries(Object.entries(each as object).map(([name, item]) => [name, walk(item)]));
  };
  return walk(of);
}
