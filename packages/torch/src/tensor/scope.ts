/** Lifetime: scopes free what was made inside them; a finalizer is the safety net for what was made outside. */
import { types } from "node:util";
import { ArgumentError } from "../errors.js";
import { argBuffer, native } from "../native.js";
import { atMost } from "../options.js";
import { isPromise, refusePromise } from "../synchronous.js";
import { escapeOf, isTensor, ownHandle, setEscape, sweepHandle, Lifetime } from "./handle.js";
import type { Tensor } from "./tensor.js";

let current: Tensor[] | null = null;
const spare: Tensor[][] = [];

/** @internal Every new tensor passes here once. */
export function track(tensor: Tensor): void {
  if (current !== null) {
    setEscape(tensor, Lifetime.scoped);
    current.push(tensor);
  } else {
    native.attachFinalizer(tensor, ownHandle(tensor));
  }
}

/** Whether nothing that may hold a tensor is in it, however many elements it has. */
const isOpaque = (value: object): boolean => ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value);

function markTensor(tensor: Tensor, found: Tensor[]): void {
  if (escapeOf(tensor) !== Lifetime.scoped) return;
  setEscape(tensor, Lifetime.escaping);
  found.push(tensor);
}

/** Mark the tensors of open scopes that a result holds, at any depth; `found` lists them. Getters of the result run. */
function mark(result: unknown, found: Tensor[]): void {
  if (isTensor(result)) {
    markTensor(result, found);
    return;
  }
  const waiting: unknown[] = [result];
  let seen: Set<object> | null = null;
  while (waiting.length > 0) {
    const value = waiting.pop();
    if (typeof value !== "object" || value === null) continue;
    if (isTensor(value)) {
      markTensor(value, found);
      continue;
    }
    seen ??= new Set();
    if (seen.has(value) || isOpaque(value)) continue;
    seen.add(value);
    if (types.isMap(value)) {
      for (const [key, e] of value as Map<unknown, unknown>) waiting.push(key, e);
    } else if (types.isSet(value)) {
      for (const e of value as Set<unknown>) waiting.push(e);
    } else {
      for (const e of Object.values(value) as unknown[]) if (typeof e === "object" && e !== null) waiting.push(e);
    }
  }
}

function close(mine: Tensor[], outer: Tensor[] | null, result: unknown): void {
  current = outer;
  if (typeof result !== "object" || result === null) {
    free(mine, NONE);
    recycle(mine);
    return;
  }
  const escaping: Tensor[] = [];
  let failure: { readonly error: unknown } | null = null;
  try {
    mark(result, escaping);
  } catch (error) {
    // Nobody gets the result: nothing escapes.
    for (const tensor of escaping) if (escapeOf(tensor) === Lifetime.escaping) setEscape(tensor, Lifetime.scoped);
    escaping.length = 0;
    failure = { error };
  }
  free(mine, escaping);
  recycle(mine);
  if (failure !== null) throw failure.error;
}

const NONE: readonly Tensor[] = [];

function recycle(mine: Tensor[]): void {
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
        argBuffer[n++] = handle;
        if (n === argBuffer.length) {
          native.releaseMany(n);
          n = 0;
        }
      }
    } else if (state === Lifetime.escaping) {
      setEscape(tensor, Lifetime.free);
      if (ownHandle(tensor) !== 0) track(tensor);
    }
  }
  if (n > 0) native.releaseMany(n);
  // Returned, but not ours: it stays with the scope that made it.
  for (const tensor of escaping) if (escapeOf(tensor) === Lifetime.escaping) setEscape(tensor, Lifetime.scoped);
}

/**
 * Run `fn` and free every tensor made inside, except those that it returns (also inside arrays, objects, Maps and Sets,
 * at any depth: what their enumerable fields hold) or that were {@link keep}t.
 *
 * Scopes nest: what a scope returns belongs to the scope around it. Cheap: about 20 ns per tensor. Parameters, buffers,
 * gradients and optimizer state live outside by construction. Also closes when `fn` throws.
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
    if (isPromise(result)) {
      refusePromise(
        result,
        "scope: expected a synchronous function. Received: a function that returns a promise, whose code would run after the scope has freed its tensors. Open a scope inside the asynchronous function, around its synchronous parts.",
        "SCOPE_ASYNC",
      );
    }
  } catch (error) {
    close(mine, outer, undefined);
    throw error;
  }
  close(mine, outer, result);
  return result;
}

/**
 * @internal A scope that is entered several times before it ends: what is made in any of its runs lives until {@link
 * close}. Between runs it is not open, so whatever else happens meanwhile is none of its business. Used again after it
 * was closed, it is a new one.
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

  /** Leave everything alive, to be collected: what was made is still in use. */
  abandon(): void {
    for (const tensor of this.#mine) keep(tensor);
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

let kept = 0;
/** @internal How many tensors were kept out of scopes since the start. */
export const keepCount = (): number => kept;

/**
 * Let a tensor outlive every scope that is open. It lives until `dispose()`, or until the garbage collector finds it.
 * @returns The same tensor.
 */
export function keep<T extends Tensor>(tensor: T): T {
  atMost("keep", arguments, 1);
  if (!isTensor(tensor)) throw new ArgumentError("keep", "a tensor", tensor);
  if (escapeOf(tensor) !== Lifetime.free) {
    kept++;
    setEscape(tensor, Lifetime.free);
    if (ownHandle(tensor) !== 0) native.attachFinalizer(tensor, ownHandle(tensor));
  }
  return tensor;
}
