/** Arguments and results of transformed functions: tensors in arrays and plain objects, however deep. */
import { ArgumentError } from "../errors.js";
import { isPlain } from "../kinds.js";
import { elementsOf } from "../read-once.js";
import { isTensor } from "../tensor/handle.js";
import type { Tensor } from "../tensor/tensor.js";

/** The shape of a tree: null where a leaf stands. */
export type Spec = null | { readonly keys: readonly string[] | null; readonly children: readonly Spec[] };
export interface Flat {
  readonly leaves: readonly unknown[];
  readonly spec: Spec;
}
const DEEPEST = 64;

/** Leaves in order, and what is around them. */
export function flatten(fn: string, tree: unknown): Flat {
  const leaves: unknown[] = [];
  const walk = (value: unknown, depth: number): Spec => {
    if (depth > DEEPEST) throw new ArgumentError(fn, `arrays and objects at most ${DEEPEST} deep`, tree);
    if (Array.isArray(value))
      return { keys: null, children: elementsOf(value as readonly unknown[], fn).map((each) => walk(each, depth + 1)) };
    if (isPlain(value)) {
      const entries = Object.entries(value);
      return { keys: entries.map(([name]) => name), children: entries.map(([, each]) => walk(each, depth + 1)) };
    }
    leaves.push(value);
    return null;
  };
  return { spec: walk(tree, 0), leaves };
}

export function unflatten(spec: Spec, leaves: readonly unknown[]): unknown {
  let next = 0;
  const build = (at: Spec): unknown => {
    if (at === null) return leaves[next++];
    const children = at.children.map(build);
    return at.keys === null ? children : Object.fromEntries(at.keys.map((name, i) => [name, children[i]]));
  };
  return build(spec);
}

/** The tree with other leaves. */
export function mapLeaves(fn: string, tree: unknown, change: (leaf: unknown) => unknown): unknown {
  const { leaves, spec } = flatten(fn, tree);
  return unflatten(spec, leaves.map(change));
}

export function sameSpec(a: Spec, b: Spec): boolean {
  if (a === null || b === null) return a === b;
  return (
    String(a.keys) === String(b.keys) &&
    a.children.length === b.children.length &&
    a.children.every((child, i) => sameSpec(child, b.children[i] ?? null))
  );
}

/** A value for every leaf of `spec`: one in the place of a branch stands for all below. Null: it does not fit. */
export function spread(fn: string, given: unknown, spec: Spec): unknown[] | null {
  const found: unknown[] = [];
  const walk = (value: unknown, at: Spec): boolean => {
    if (!Array.isArray(value) && !isPlain(value)) {
      found.push(...new Array<unknown>(leavesOf(at)).fill(value));
      return true;
    }
    if (at === null) return false;
    if (Array.isArray(value)) {
      const list = elementsOf(value as readonly unknown[], fn);
      return (
        at.keys === null && list.length === at.children.length && at.children.every((child, i) => walk(list[i], child))
      );
    }
    const { keys } = at;
    return (
      keys !== null &&
      Object.keys(value).length === keys.length &&
      keys.every((name, i) => Object.hasOwn(value, name) && walk(value[name], at.children[i] ?? null))
    );
  };
  return walk(given, spec) ? found : null;
}
const leavesOf = (spec: Spec): number =>
  spec === null ? 1 : spec.children.reduce((n, child) => n + leavesOf(child), 0);

/** In words, for messages: `[tensor, { w: tensor }]`. */
export function wordsOf(spec: Spec): string {
  if (spec === null) return "·";
  if (spec.keys === null) return `[${spec.children.map(wordsOf).join(", ")}]`;
  return `{ ${spec.keys.map((name, i) => `${name}: ${wordsOf(spec.children[i] ?? null)}`).join(", ")} }`;
}

/** The leaves, all of them tensors, at least one. */
export function tensorsIn(fn: string, what: string, { leaves }: Flat): readonly Tensor[] {
  return leaves.length === 0
    ? fail(fn, what, leaves)
    : leaves.map((leaf) => (isTensor(leaf) ? leaf : fail(fn, what, leaf)));
}
function fail(fn: string, what: string, received: unknown): never {
  throw new ArgumentError(fn, `${what} to be tensors, alone or in arrays and objects`, received);
}
