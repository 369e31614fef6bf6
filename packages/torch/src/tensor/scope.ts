/** Lifetime: scopes free what was made inside them; a finalizer is the safety net for what was made outside. */
import { ArgumentError, NbitError } from "../errors.js";
import { F, BUFFER_LENGTH, native } from "../native.js";
import { atMost } from "../options.js";
import { escapeOf, handleOrZero, isTensor, setEscape, sweepHandle, Lifetime } from "./handle.js";
import type { Tensor } from "./tensor.js";

let current: Tensor[] | null = null;
const spare: Tensor[][] = [];

/** @internal Every new tensor passes here once. */
export function track(tensor: Tensor): void {
  if (current !== null) {
    setEscape(tensor, Lifetime.scoped);
    current.push(tensor);
  } else {
    native.guard(tensor, handleOrZero(tensor));
  }
}

function visit(value: unknown, found: Tensor[], depth: number): void {
  if (typeof value !== "object" || value === null || depth > 16) return;
  if (isTensor(value)) {
    if (escapeOf(value) === Lifetime.scoped) {
      setEscape(value, Lifetime.escaping);
      found.push(value);
    }
  } else if (Array.isArray(value)) {
    for (const e of value) visit(e, found, depth + 1);
  } else if (value instanceof Map) {
    for (const e of value.values()) visit(e, found, depth + 1);
  } else if (value instanceof Set) {
    for (const e of value) visit(e, found, depth + 1);
  } else {
    const prototype: unknown = Object.getPrototypeOf(value);
    if (prototype === Object.prototype || prototype === null) for (const e of Object.values(value)) visit(e, found, depth + 1);
  }
}

const NONE: readonly Tensor[] = [];

function close(mine: Tensor[], outer: Tensor[] | null, result: unknown): void {
  current = outer;
  let escaping: readonly Tensor[] = NONE;
  if (typeof result === "object" && result !== null) {
    const found: Tensor[] = [];
    visit(result, found, 0);
    escaping = found;
  }
  free(mine, escaping);
  mine.length = 0;
  if (spare.length < 32) spare.push(mine);
}

/** Release what a scope made, but for what escapes it. */
function free(mine: readonly Tensor[], escaping: readonly Tensor[]): void {
  let n = 0;
  for (let i = 0; i < mine.length; i++) {
    const tensor = mine[i] as Tensor;
    const state = escapeOf(tensor);
    if (state === Lifetime.scoped) {
      const handle = sweepHandle(tensor);
      if (handle !== 0) {
        F[n++] = handle;
        if (n === BUFFER_LENGTH) {
          native.releaseMany(n);
          n = 0;
        }
      }
    } else if (state === Lifetime.escaping) {
      setEscape(tensor, Lifetime.free);
      if (handleOrZero(tensor) !== 0) track(tensor);
    }
  }
  if (n > 0) native.releaseMany(n);
  // Returned, but not ours: it stays with the scope that made it.
  for (const tensor of escaping) if (escapeOf(tensor) === Lifetime.escaping) setEscape(tensor, Lifetime.scoped);
}

/**
 * Run `fn` and free every tensor made inside, except those that it returns (also inside arrays, plain objects, Maps and Sets) or that were {@link keep}t.
 *
 * Scopes nest: what a scope returns belongs to the scope around it. Cheap: about 20 ns per tensor. Parameters, buffers, gradients and optimizer state live
 * outside by construction. Also closes when `fn` throws.
 *
 * @throws {NbitError} `SCOPE_ASYNC` when `fn` returns a promise: code after an await would run when the scope is over.
 * @example
 * const mean = scope(() => { const x = randn([1000]); return x.mul(x).mean(); }); // two temporaries are gone
 */
export function scope<T>(fn: () => T): T {
  atMost("scope", arguments, 1);
  if (typeof fn !== "function") throw new ArgumentError("scope", "a function", fn);
  const outer = current;
  const mine = spare.pop() ?? [];
  current = mine;
  let result: T;
  try {
    result = fn();
  } catch (error) {
    close(mine, outer, undefined);
    throw error;
  }
  if (isPromise(result)) {
    close(mine, outer, undefined);
    result.then(undefined, () => undefined);
    throw new NbitError("scope: expected a synchronous function. Received: a function that returns a promise, whose code would run after the scope has freed its tensors. Open a scope inside the asynchronous function, around its synchronous parts.", "SCOPE_ASYNC");
  }
  close(mine, outer, result);
  return result;
}

/** @internal For the few places that cannot be a callback. Returns what {@link leaveScope} needs. */
export function enterScope(): { readonly outer: Tensor[] | null; readonly mine: Tensor[] } {
  const outer = current;
  const mine = spare.pop() ?? [];
  current = mine;
  return { outer, mine };
}
/** @internal */
export function leaveScope(entered: { readonly outer: Tensor[] | null; readonly mine: Tensor[] }, result?: unknown): void {
  close(entered.mine, entered.outer, result);
}

/**
 * @internal A scope that is entered several times before it ends: what is made in any of its runs lives until {@link close}. Between runs it is not open, so whatever else happens meanwhile is none of its business.
 * Used again after it was closed, it is a new one.
 */
export class ReentrantScope {
  readonly #mine: Tensor[] = [];

  run<T>(fn: () => T): T {
    const outer = current;
    current = this.#mine;
    try {
      return fn();
    } finally {
      current = outer;
    }
  }

  close(): void {
    free(this.#mine, NONE);
    this.#mine.length = 0;
  }
}

/** @internal Run `fn` as if no scope were open: what it makes lives until it is disposed of or collected. */
export function outsideScopes<T>(fn: () => T): T {
  atMost("outsideScopes", arguments, 1);
  if (typeof fn !== "function") throw new ArgumentError("outsideScopes", "a function", fn);
  const before = current;
  current = null;
  try {
    return fn();
  } finally {
    current = before;
  }
}

/**
 * Let a tensor outlive every scope that is open. It lives until `dispose()`, or until the garbage collector finds it.
 * @returns The same tensor.
 */
export function keep<T extends Tensor>(tensor: T): T {
  atMost("keep", arguments, 1);
  if (!isTensor(tensor)) throw new ArgumentError("keep", "a tensor", tensor);
  if (escapeOf(tensor) === Lifetime.scoped) {
    setEscape(tensor, Lifetime.free);
    if (handleOrZero(tensor) !== 0) native.guard(tensor, handleOrZero(tensor));
  }
  return tensor;
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}
