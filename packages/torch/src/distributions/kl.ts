/** The Kullback–Leibler divergence, by the classes of two distributions. */
import { ArgumentError, NbitError } from "../errors.js";
import { callable } from "../kinds.js";
import { atMost, checkArguments } from "../options.js";
import type { Tensor } from "../tensor/tensor.js";
import { Distribution } from "./distribution.js";

/** A class, by what its instances are; whatever its constructor takes. */
export interface DistributionClass<D extends Distribution = Distribution> {
  readonly name: string;
  readonly prototype: D;
}
export type Divergence<P extends Distribution, Q extends Distribution> = (p: P, q: Q) => Tensor;
interface Entry {
  readonly p: DistributionClass<Distribution>;
  readonly q: DistributionClass<Distribution>;
  readonly fn: Divergence<never, never>;
}
const entries: Entry[] = [];
const found = new Map<unknown, Map<unknown, Entry>>();

const isClass = (value: unknown): value is DistributionClass<Distribution> =>
  typeof value === "function" && (value === Distribution || value.prototype instanceof Distribution);
const isSubclass = (type: DistributionClass<Distribution>, of: DistributionClass<Distribution>): boolean =>
  type === of || Object.prototype.isPrototypeOf.call(of.prototype, type.prototype);

/**
 * Say how KL(p ‖ q) is computed for distributions of two classes and of their subclasses: the nearest pair of classes
 * counts. Without `fn`: returns what takes it.
 *
 * @throws {ArgumentError} `registerKl: expected typeP to be a class of distributions. Received: 3.`
 * @example registerKl(Normal, Mine, (p, q) => …);
 */
export function registerKl<P extends Distribution, Q extends Distribution>(
  typeP: DistributionClass<P>,
  typeQ: DistributionClass<Q>,
  fn: Divergence<P, Q>,
): void;
export function registerKl<P extends Distribution, Q extends Distribution>(
  typeP: DistributionClass<P>,
  typeQ: DistributionClass<Q>,
): (fn: Divergence<P, Q>) => Divergence<P, Q>;
export function registerKl<P extends Distribution, Q extends Distribution>(
  typeP: DistributionClass<P>,
  typeQ: DistributionClass<Q>,
  fn?: Divergence<P, Q>,
): unknown {
  atMost("registerKl", arguments, 3);
  if (!isClass(typeP)) throw new ArgumentError("registerKl", "typeP to be a class of distributions", typeP);
  if (!isClass(typeQ)) throw new ArgumentError("registerKl", "typeQ to be a class of distributions", typeQ);
  const add = (divergence: Divergence<P, Q>): Divergence<P, Q> => {
    checkArguments("registerKl", { fn: divergence }, { fn: callable });
    const at = entries.findIndex((entry) => entry.p === typeP && entry.q === typeQ);
    const entry: Entry = { p: typeP, q: typeQ, fn: divergence };
    if (at === -1) entries.push(entry);
    else entries[at] = entry;
    found.clear();
    return divergence;
  };
  return fn === undefined ? add : void add(fn);
}

/** Whether `a` is at least as near as `b`, by `first` before `second`. */
function isNearer(a: Entry, b: Entry, first: "p" | "q", second: "p" | "q"): boolean {
  if (a[first] !== b[first]) return isSubclass(a[first], b[first]);
  return isSubclass(a[second], b[second]);
}
function entryFor(p: Distribution, q: Distribution): Entry {
  const [typeP, typeQ] = [
    p.constructor as DistributionClass<Distribution>,
    q.constructor as DistributionClass<Distribution>,
  ];
  const known = found.get(typeP)?.get(typeQ);
  if (known !== undefined) return known;
  const matches = entries.filter((entry) => isSubclass(typeP, entry.p) && isSubclass(typeQ, entry.q));
  const [head, ...rest] = matches;
  if (head === undefined)
    throw new NbitError(
      `klDivergence: none is known for ${typeP.name} and ${typeQ.name}. registerKl(${typeP.name}, ${typeQ.name}, fn) adds one.`,
      "ERR_NOT_IMPLEMENTED",
    );
  const left = rest.reduce((best, entry) => (isNearer(entry, best, "p", "q") ? entry : best), head);
  const right = rest.reduce((best, entry) => (isNearer(entry, best, "q", "p") ? entry : best), head);
  if (left !== right)
    process.emitWarning(
      `klDivergence(${typeP.name}, ${typeQ.name}) is ambiguous: registerKl(${left.p.name}, ${right.q.name}, fn) decides it.`,
      { type: "NbitWarning", code: "WARN_KL_AMBIGUOUS" },
    );
  if (!found.has(typeP)) found.set(typeP, new Map());
  found.get(typeP)?.set(typeQ, left);
  return left;
}

/**
 * KL(p ‖ q) = Σ p(x) log(p(x) / q(x)), in nats.
 *
 * @returns The shape of the batches, broadcast.
 * @throws {NbitError} `ERR_NOT_IMPLEMENTED` for a pair that nobody registered.
 * @example klDivergence(new Normal(mu, sigma), new Normal(0, 1)).sum(); // of a variational autoencoder
 */
export function klDivergence(p: Distribution, q: Distribution): Tensor {
  atMost("klDivergence", arguments, 2);
  if (!(p instanceof Distribution)) throw new ArgumentError("klDivergence", "p to be a distribution", p);
  if (!(q instanceof Distribution)) throw new ArgumentError("klDivergence", "q to be a distribution", q);
  return entryFor(p, q).fn(p as never, q as never);
}
