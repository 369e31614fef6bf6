/**
 * Arguments and options by name, kind and range: what JavaScript alone would drop, or take for something else, is an
 * error before anything was done.
 */
import { ArgumentError, describe, verbatim } from "./errors.js";
import { isPlain, type Kind } from "./kinds.js";
import { nearest } from "./names.js";

export * as kinds from "./kinds.js";

/** Every option of `O`, none forgotten, with the kind of its value; true: any, checked elsewhere. */
export type OptionNames<O> = { readonly [K in keyof O]-?: true | Kind<Exclude<O[K], undefined>> };
type Fail = (expected: string, received: unknown, fix?: string) => Error;

/**
 * Check that `options` is an object, that it knows each of its names, and that its values are of their kinds.
 * TypeScript checks literals only; plain JavaScript, spread objects and transpiled files come here unchecked. An object
 * made with others as its prototype is one too; an instance of a class is not. A value of undefined is one not given.
 *
 * @param fail - Makes the error. Default: an `ArgumentError`.
 * @throws {ArgumentError} `AdamW: expected the option weightDecay. Received: "weight_decay".`
 */
export function checkOptions<O extends object>(
  fn: string,
  options: O,
  known: OptionNames<O>,
  fail: Fail = argumentError(fn),
): void {
  if (!isPlain(options) && !isMadeOfOptions(options))
    throw fail("options to be an object, such as { name: value }", options);
  for (const name in options) {
    if (Object.hasOwn(known, name)) continue;
    const near = nearest(name, Object.keys(known));
    throw fail(
      near !== null
        ? `the option ${near}`
        : Object.keys(known).length === 0
          ? "no options"
          : `options among ${Object.keys(known).join(", ")}`,
      name,
    );
  }
  for (const name in options) if (options[name] !== undefined) checkOne(name, options[name], known[name], fail);
}

/** Whether an object was made with plain options as its prototype, which hold the rest. */
function isMadeOfOptions(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return isPlain(prototype) && !Object.hasOwn(prototype, "constructor");
}

/** The options `O` by a table `R`: never undefined where the row has a default. */
export type Filled<O, R> = { readonly [K in keyof Required<O>]: K extends keyof R ? FilledBy<O[K], R[K]> : never };
type FilledBy<V, Row> = Row extends { readonly default: infer D }
  ? undefined extends (D extends (...given: never[]) => infer From ? From : D)
    ? V
    : Exclude<V, undefined>
  : V;

/**
 * Every option of a table: what was given, else the `default` of its row, which is a value or a function of the options
 * given; undefined where the row has none. `const { patience } = withDefaults(options, { patience: kinds.byDefault(3,
 * kinds.whole("[0, ∞)")) })`. Checks nothing: that is `checkOptions`, with the same table.
 */
export function withDefaults<O extends object, R extends OptionNames<O>>(options: O, rows: R): Filled<O, R> {
  const filled: Partial<Record<keyof O, unknown>> = {};
  for (const name in rows as OptionNames<O>)
    filled[name] = options[name] === undefined ? defaultOf(rows[name], options) : options[name];
  return filled as Filled<O, R>;
}
function defaultOf(row: object | true, given: object): unknown {
  if (row === true || !("default" in row)) return undefined;
  return typeof row.default === "function" ? (row.default(given) as unknown) : row.default;
}

/**
 * The same for arguments by position, none of which may be missing: `checkArguments("Dropout", { p }, { p: real("[0,
 * 1]") })`.
 * @throws {ArgumentError} `Dropout: expected p to be a number in [0, 1]. Received: an object with keys p, where p
 * itself belongs.`
 */
export function checkArguments<A extends object>(
  fn: string,
  given: A,
  kinds: OptionNames<A>,
  fail: Fail = argumentError(fn),
): void {
  for (const name in kinds) checkOne(name, given[name], kinds[name], fail);
}

function checkOne<T>(name: string, value: unknown, kind: true | Kind<T>, fail: Fail): void {
  if (kind === true || kind.accepts(value)) return;
  throw fail(
    `${name} to be ${kind.words}`,
    isPlain(value) && Object.hasOwn(value, name) ? verbatim(`${describe(value)}, where ${name} itself belongs`) : value,
    kind.meant?.(value),
  );
}

function argumentError(fn: string): Fail {
  return (expected, received, fix) => new ArgumentError(fn, expected, received, fix);
}

/**
 * Refuse arguments beyond the first `most`, which JavaScript would drop: `atMost("zeroGrad", arguments, 1)`. What is
 * undefined is not given.
 * @throws {ArgumentError} `zeroGrad: expected at most 1 argument. Received: true as argument 2.`
 */
export function atMost(fn: string, given: ArrayLike<unknown>, most: number): void {
  if (given.length > most) refuseSurplus(fn, given, most);
}
function refuseSurplus(fn: string, given: ArrayLike<unknown>, most: number): void {
  for (let i = most; i < given.length; i++)
    if (given[i] !== undefined)
      throw new ArgumentError(
        fn,
        most === 0 ? "no arguments" : `at most ${most} argument${most === 1 ? "" : "s"}`,
        verbatim(`${describe(given[i])} as argument ${i + 1}`),
      );
}

/**
 * Options by name, or by position where PyTorch takes them so: `Linear(2, 3, { bias: false })`, `Linear(2, 3, false)`.
 */
export type Given<O, Positions extends readonly unknown[]> = [options?: O | undefined] | Positions;

/**
 * The options in the arguments from `first` on: a last plain object holds them by name; those before it stand for the
 * first `positions` names of `known`, in its order.
 *
 * @throws {ArgumentError} `Linear: expected bias to be true or false. Received: 3.`
 */
export function optionsFrom<O extends object>(
  fn: string,
  first: number,
  given: readonly unknown[],
  known: OptionNames<O>,
  positions: number,
): O {
  let values = given;
  while (values.length > 0 && values[values.length - 1] === undefined) values = values.slice(0, -1);
  const last = values[values.length - 1];
  const byName = last !== undefined && isPlain(last);
  if (byName) values = values.slice(0, -1);
  const options: Record<string, unknown> = byName ? { ...last } : {};
  const names = Object.keys(known).slice(0, positions);
  values.forEach((value, i) => {
    if (value === undefined) return;
    const name = names[i];
    if (name === undefined)
      throw new ArgumentError(
        fn,
        `${names.join(", ")} as arguments from ${first + 1} on, and nothing behind them but options { name: value }`,
        verbatim(`${describe(value)} as argument ${first + i + 1}`),
      );
    if (options[name] !== undefined)
      throw new ArgumentError(fn, `${name} once`, verbatim(`${name} by position and by name`));
    options[name] = value;
  });
  checkOptions(fn, options as O, known);
  return options as O;
}
