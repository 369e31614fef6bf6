/**
 * Kinds of values for `checkOptions` and `checkArguments`: what a value may be, in words and as a test. Those of
 * tensors, dtypes and devices stand in tensor/kinds.ts.
 */
import { MOST_ELEMENTS } from "./read-once.js";
import { isPlain } from "./realm.js";

/** A kind that takes whatever TypeScript lets stand for a T: a table with a kind for another type does not compile. */
export interface Kind<in T> {
  /** After "expected name to be". */
  readonly words: string;
  readonly accepts: (value: unknown) => boolean;
  /** What was probably meant by a value that is refused; "" where nobody knows. */
  readonly meant?: (value: unknown) => string;
  /** Nobody calls it: it lets the compiler see T. */
  readonly for?: (value: T) => void;
}

const kind = <T>(words: string, accepts: (value: unknown) => boolean, meant?: Kind<T>["meant"]): Kind<T> =>
  meant === undefined ? { words, accepts } : { words, accepts, meant };

/**
 * Numbers of an interval, as mathematics writes it: `real("[0, 1)")`, `real("(0, ∞)")`. NaN is in none; ∞ only in one
 * that ends with `∞]`.
 */
export function real(interval = "(-∞, ∞)"): Kind<number> {
  const { words, holds } = parse(interval);
  return kind(`a${words.finite ? " finite" : ""} number${words.range}`, (v) => typeof v === "number" && holds(v));
}
/** Whole numbers of an interval, exact ones (within ±2⁵³). */
export function whole(interval = "(-∞, ∞)"): Kind<number> {
  const { words, holds } = parse(interval);
  const range = words.range.replace(/^ in \[(.+), (.+)\]$/, " from $1 to $2");
  return kind(
    `a whole number${range}`,
    (v) => typeof v === "number" && (Number.isSafeInteger(v) || v === Infinity) && holds(v),
  );
}
interface Interval {
  readonly words: { readonly finite: boolean; readonly range: string };
  readonly holds: (v: number) => boolean;
}
function parse(interval: string): Interval {
  const match = /^([[(])(.+), (.+)([\])])$/.exec(interval);
  if (match === null) throw new TypeError(`an interval such as "[0, 1)", not ${interval}`);
  const [, open, low, high, close] = match as unknown as readonly [string, string, string, string, string];
  const bound = (text: string): number =>
    text.endsWith("∞") ? (text.startsWith("-") ? -Infinity : Infinity) : Number(text);
  const [a, b] = [bound(low), bound(high)];
  const holds = (v: number): boolean => (open === "[" ? v >= a : v > a) && (close === "]" ? v <= b : v < b);
  if (a === -Infinity && b === Infinity) return { words: { finite: open === "(" && close === ")", range: "" }, holds };
  if (b === Infinity) return { words: { finite: close === ")", range: ` ${open === "[" ? "≥" : ">"} ${low}` }, holds };
  return { words: { finite: false, range: ` in ${interval}` }, holds };
}

/** `true` or `false`: 0, 1, "false" and the like are mistakes more often than not. */
export const flag: Kind<boolean> = kind("true or false", (v) => typeof v === "boolean");
export const text: Kind<string> = kind("a string", (v) => typeof v === "string");
/** A string of at least one character. */
export const filled: Kind<string> = kind("a string that is not empty", (v) => typeof v === "string" && v !== "");
export const callable: Kind<(...args: never[]) => unknown> = kind("a function", (v) => typeof v === "function");
/** A plain object, whatever it holds. */
export const record: Kind<object> = kind("an object such as { name: value }", isPlain);
/** Anything that has been given. */
export const anything: Kind<unknown> = kind("given", (v) => v !== undefined);
/** An option that is only here to be refused with a reason. */
export const nothing = (why: string): Kind<unknown> => kind(`left out: ${why}`, (v) => v === undefined);

/** One of these values. */
export function oneOf<const T extends string | number | boolean>(...values: readonly T[]): Kind<T> {
  return kind(values.length === 1 ? JSON.stringify(values[0]) : `one of ${values.join(", ")}`, (v) =>
    (values as readonly unknown[]).includes(v),
  );
}
/** An instance of a class. */
export function instanceOf<T>(words: string, type: abstract new (...args: never) => T): Kind<T> {
  return kind(words, (v) => v instanceof type);
}
/** The kind, or null. */
export function orNull<T>(of: Kind<T>): Kind<T | null> {
  return kind(`${of.words}, or null`, (v) => v === null || of.accepts(v), of.meant);
}
/** One kind or the other. */
export function either<A, B>(a: Kind<A>, b: Kind<B>): Kind<A | B> {
  return kind(`${a.words}, or ${b.words}`, (v) => a.accepts(v) || b.accepts(v), a.meant ?? b.meant);
}
/** An array whose elements are all of a kind; of `length` elements, where that is given. */
export function listOf<T>(of: Kind<T>, length?: number): Kind<readonly T[]> {
  return kind(
    `an array${length === undefined ? "" : ` of ${length} elements`}, every element ${of.words}`,
    (v) => Array.isArray(v) && (length === undefined || v.length === length) && everyElement(v, of.accepts),
  );
}
/** By positions, so that a hole is an element too; an array of more than there can be has none looked at. */
function everyElement(list: readonly unknown[], accepts: (value: unknown) => boolean): boolean {
  const n = list.length;
  if (!(n <= MOST_ELEMENTS)) return false;
  for (let i = 0; i < n; i++) if (!accepts(list[i])) return false;
  return true;
}
/** Anything that can be walked, but a string. */
export const iterable: Kind<Iterable<unknown>> = kind(
  "an array or another iterable",
  (v) =>
    typeof v === "object" &&
    v !== null &&
    !(Array.isArray(v) && v.length > MOST_ELEMENTS) &&
    typeof (v as Partial<Iterable<unknown>>)[Symbol.iterator] === "function",
);
/** An object with such fields, whatever else it has and whatever made it: values that a function of ours gave. */
export function having<T extends object>(words: string, fields: { readonly [K in keyof T]?: Kind<T[K]> }): Kind<T> {
  const known = Object.entries(fields) as [keyof T, Kind<unknown>][];
  return kind(
    words,
    (v) => typeof v === "object" && v !== null && known.every(([name, of]) => of.accepts((v as T)[name])),
  );
}
/**
 * The kind of an option that has this value when it is not given, or what a function makes of the options that are: see
 * `withDefaults`.
 */
export function byDefault<T, const D extends NoInfer<T> | ((given: never) => NoInfer<T>)>(
  value: D,
  of: Kind<T>,
): Kind<T> & { readonly default: D } {
  return { ...of, default: value };
}
/** A kind of one's own. */
export function such<T>(words: string, accepts: (value: unknown) => boolean): Kind<T> {
  return kind(words, accepts);
}

export { isPlain };
