/**
 * Arguments as PyTorch takes them: by position, by name in a last object, or the first by position and the rest by
 * name. One table says the names in their order, their kinds and defaults; nothing given is dropped.
 */
import { ArgumentError, describe, verbatim } from "./errors.js";
import { filled, such, whole, type Kind } from "./kinds.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "./options.js";
import { isPlain } from "./realm.js";

/**
 * The argument lists of a call. `Positions` are the values of the names `Order` of `A`, labelled for who reads them in
 * an editor; any first few of them may stand by position, and what is left of `A` by name behind them.
 *
 * @example
 * interface StepArguments { readonly optimizer: Optimizer; readonly stepSize: number; readonly gamma?: number }
 * type StepCall = Call<StepArguments, ["optimizer", "stepSize", "gamma"],
 *   [optimizer: Optimizer, stepSize: number, gamma?: number]>;
 * // StepLR(o, 30), StepLR(o, 30, 0.5), StepLR(o, { stepSize: 30 }), StepLR({ optimizer: o, stepSize: 30 })
 */
export type Call<A extends object, Order extends readonly (keyof A)[], Positions extends readonly unknown[]> =
  Behind<Omit<A, Order[number]>, Positions> | Fewer<A, Order, Required<Positions>>;
type Behind<Named, Positions extends readonly unknown[]> = [keyof Named] extends [never]
  ? Positions
  : [...Positions, options?: Named];
type Fewer<
  A extends object,
  Order extends readonly unknown[],
  Positions extends readonly unknown[],
> = Positions extends readonly [...infer Front, unknown]
  ? Order extends readonly [...infer Names extends (keyof A)[], unknown]
    ? [...Front, options: Omit<A, Names[number]>] | Fewer<A, Names, Front>
    : never
  : never;

/** Every argument of a call with its kind, in the order of positions. */
type Rows = Readonly<Record<string, Kind<never>>>;
/** What a call's arguments are once they are read. */
export type Values<R> = { readonly [K in keyof R]: R[K] extends Kind<infer T> ? T : never };
/** Reads the arguments of a call. `fn` replaces the signature's own name in messages, for what subclasses share. */
export type Signature<R> = (given: readonly unknown[], fn?: string) => Values<R>;

/**
 * The reader of a function's or constructor's arguments.
 *
 * @param rows - Every argument with its kind, in the order of positions; one whose kind has no default
 *   (`kinds.byDefault`, a value or a function of the arguments before it) must be given. Write it `satisfies
 *   OptionNames<A>`, so that no name of `A` is forgotten.
 * @param positions - How many of them may stand by position; those behind by name alone. Default: all.
 * @returns What reads a call's arguments. Costs about 0.2 µs for three arguments. It throws an `ArgumentError` for an
 *   argument that is missing, of another kind, given twice, of an unknown name, or one too many: `Conv2d: expected
 *   kernelSize to be a whole number ≥ 1. Received: undefined.`
 */
export function signature<R extends Rows>(name: string, rows: R, positions?: number): Signature<R> {
  atMost("signature", arguments, 3);
  checkArguments("signature", { name, rows, positions: positions ?? 0 }, OWN);
  const names = Object.keys(rows);
  const kinds: readonly (Kind<never> & { readonly default?: unknown })[] = Object.values(rows);
  const most = Math.min(positions ?? names.length, names.length);
  return (given, fn = name) => {
    const { n, options } = split(fn, given, names, kinds, most);
    if (options !== NONE) checkNamed(fn, given, n, names, options, rows);
    const read: Record<string, unknown> = {};
    for (let i = 0; i < names.length; i++) {
      const each = names[i] as string;
      const kind = kinds[i] as Kind<never> & { readonly default?: unknown };
      const byPosition = i < n ? given[i] : undefined;
      const value = byPosition === undefined ? options[each] : byPosition;
      if (value === undefined && "default" in kind)
        read[each] = typeof kind.default === "function" ? (kind.default(read) as unknown) : kind.default;
      else if (kind.accepts(value)) read[each] = value;
      else throw new ArgumentError(fn, `${each} to be ${kind.words}`, misplaced(value, each), kind.meant?.(value));
    }
    return read as Values<R>;
  };
}
const OWN = { name: filled, rows: such<Rows>("a table of kinds by name", isPlain), positions: whole("[0, ∞)") };

type Named = Readonly<Record<string, unknown>>;
const NONE: Named = Object.freeze({});

/** How many of the arguments stand by position, and those behind them by name. */
function split(
  fn: string,
  given: readonly unknown[],
  names: readonly string[],
  kinds: readonly Kind<never>[],
  most: number,
): { readonly n: number; readonly options: Named } {
  let n = given.length;
  while (n > 0 && given[n - 1] === undefined) n--;
  const last = given[n - 1];
  // A plain object is an argument itself where the argument at its place may be one.
  const byName = n > 0 && isPlain(last) && !(n <= most && (kinds[n - 1] as Kind<never>).accepts(last));
  if (byName)
    do n--;
    while (n > 0 && given[n - 1] === undefined);
  if (n > most) throw surplus(fn, names.slice(0, most), given[most], most, byName);
  return { n, options: byName ? last : NONE };
}

function checkNamed(
  fn: string,
  given: readonly unknown[],
  n: number,
  names: readonly string[],
  options: Named,
  rows: Rows,
): void {
  checkOptions<object>(fn, options, rows as OptionNames<object>);
  for (let i = 0; i < n; i++)
    if (given[i] !== undefined && options[names[i] as string] !== undefined)
      throw new ArgumentError(fn, `${names[i]} once`, verbatim(`${names[i]} by position and by name`));
}

/** What to say of a value: of an object that has the argument as its field, that. */
function misplaced(value: unknown, name: string): unknown {
  return isPlain(value) && Object.hasOwn(value, name)
    ? verbatim(`${describe(value)}, where ${name} itself belongs`)
    : value;
}

function surplus(fn: string, names: readonly string[], value: unknown, at: number, byName: boolean): ArgumentError {
  return new ArgumentError(
    fn,
    `${names.length === 0 ? "no arguments" : names.join(", ")} by position, and nothing behind but options { name: value }`,
    verbatim(`${describe(value)} as argument ${at + 1}${byName ? ", before the options" : ""}`),
  );
}
