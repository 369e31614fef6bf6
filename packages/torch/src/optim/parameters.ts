/** What optimizers are given to step: checked lists of tensors. */
import { ArgumentError } from "../errors.js";
import { iterated } from "../read-once.js";
import { ownHandle, isTensor } from "../tensor/handle.js";
import type { Tensor } from "../tensor/tensor.js";

/** What was given as parameters, or groups of them. */
export function parametersOf(fn: string, params: unknown): unknown[] {
  if (isTensor(params)) return [params];
  if (typeof params === "object" && params !== null && Symbol.iterator in params)
    return iterated(fn, "parameters", params);
  throw new ArgumentError(
    fn,
    "parameters, or groups { params, … }, as an array or another iterable",
    params,
    "Of a module take module.parameters().",
  );
}

/** Not disposed. */
export const isLive = (t: Tensor): boolean => ownHandle(t) !== 0;

export function sameElements(a: readonly unknown[], b: unknown): boolean {
  if (!Array.isArray(b) || a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** A parameter with its name, as `namedParameters` gives it. */
export function isNamed(value: unknown): value is readonly [name: string, parameter: Tensor] {
  return Array.isArray(value) && value.length === 2 && typeof value[0] === "string" && isTensor(value[1]);
}
/** Parameters of a group and their names, where they were given with names: all of them, or none. */
export function namesAmong(
  fn: string,
  given: readonly unknown[],
): { readonly params: Tensor[]; readonly names: readonly string[] | null } {
  const named = given.filter(isNamed);
  if (named.length === 0) return { params: given as Tensor[], names: null };
  if (named.length !== given.length)
    throw new ArgumentError(
      fn,
      "names for all parameters, or for none",
      given.find((p) => !isNamed(p)),
    );
  return { params: named.map(([, p]) => p), names: named.map(([name]) => name) };
}

/** A leaf tensor, or any one with `anywhere`, that is in no other place; `known` gets it. */
export function checkParameter(fn: string, p: unknown, known: Set<unknown>, anywhere: boolean): void {
  if (!isTensor(p)) throw new ArgumentError(fn, "params to be tensors", p);
  if (!anywhere && !p.isLeaf) throw new ArgumentError(fn, "leaf tensors", p, "An optimizer can only change leaves.");
  if (known.has(p))
    throw new ArgumentError(fn, "every parameter in one place only", p, "It is in this or another group already.");
  known.add(p);
}
