/** An operator's overloads, and which plan calls it with arguments of a given shape. */
import { ArgumentError, TensorDisposedError } from "../errors.js";
import { native } from "../native.js";
import { handleOrZero, isTensor } from "../tensor/handle.js";
import { mismatch } from "./mismatch.js";
import { Tag } from "./conversion-cost.js";
import { planFor, type Plan } from "./plan.js";
import { isOptions, own, tagOf } from "./tags.js";
import { schemasOf, type Schema } from "./schema.js";

/** The latest call with options: tags of its positional arguments, and of its options in their order. */
interface Named {
  readonly positional: number;
  readonly names: readonly string[];
  readonly tags: readonly number[];
  readonly plan: Plan;
}

/** undefined is as good as not given; null is a value. */
function tagOrAbsent(value: unknown): number {
  return value === undefined ? -1 : tagOf(value);
}

function sameOptions(last: Named, options: Readonly<Record<string, unknown>>): boolean {
  const { names, tags } = last;
  let i = 0;
  for (const name in options) {
    if (name !== names[i] || tagOrAbsent(options[name]) !== tags[i]) return false;
    i++;
  }
  return i === names.length;
}

/** What takes a number before its tensor, as `1 - x` does in Python. */
const NUMBER_FIRST: ReadonlySet<string> = new Set(
  ["add", "sub", "subtract", "mul", "multiply", "div", "divide", "true_divide", "floor_divide"].map(
    (n) => `aten::${n}`,
  ),
);

/** All overloads of one name (or exactly one), with the plans found so far. */
export class Operator {
  readonly name: string;
  readonly overload: string | null;
  /** Whether it takes a number before its tensor: {@link numberAsTensor} makes one of it. */
  readonly numberFirst: boolean;
  #schemas: readonly Schema[] | null = null;
  // Most call sites of an operator look alike: the last plan is tried before the map.
  #lastKey: number | string = -1;
  #last: Plan | null = null;
  #lastNamed: Named | null = null;
  readonly #plans = new Map<number | string, Plan>();

  constructor(name: string, overload: string | null = null) {
    this.name = name;
    this.overload = overload;
    this.numberFirst = NUMBER_FIRST.has(name);
  }

  get schemas(): readonly Schema[] {
    if (this.#schemas === null) {
      const all = schemasOf(this.name);
      this.#schemas = this.overload === null ? all : all.filter((s) => s.overload === this.overload);
    }
    return this.#schemas;
  }

  /**
   * The plan for these arguments, which are this side's own from here on.
   * @param trusted - They were from the beginning: nothing in them is a caller's.
   * @throws {ArgumentError} when no overload takes them.
   */
  plan(args: unknown[], trusted: boolean): Plan {
    const n = args.length;
    let key: number | string = n;
    if (n > 9) {
      for (let i = 0; i < n; i++) args[i] = own(args[i]);
      key = shapeKey(args);
    } else {
      // Nine tags of five bits and the count stay exact in a number.
      let tag = 0;
      for (let i = 0; i < n; i++) {
        const value = args[i];
        tag = isTensor(value)
          ? Tag.tensor
          : typeof value !== "object"
            ? tagOf(value)
            : trusted
              ? tagOf(value)
              : tagOf((args[i] = own(value)));
        key = key * 32 + tag;
      }
      if (tag === Tag.options) return this.#planNamed(args, key);
    }
    if (key === this.#lastKey && this.#last !== null) return this.#last;
    let plan = this.#plans.get(key);
    if (plan === undefined) {
      plan = this.#resolve(args);
      this.#plans.set(key, plan);
    }
    this.#lastKey = key;
    this.#last = plan;
    return plan;
  }

  /** With options the key is text; comparing with the last call's options needs none. */
  #planNamed(args: readonly unknown[], positional: number): Plan {
    const options = args[args.length - 1] as Readonly<Record<string, unknown>>;
    const last = this.#lastNamed;
    if (last !== null && last.positional === positional && sameOptions(last, options)) return last.plan;
    const key = shapeKey(args);
    let plan = this.#plans.get(key);
    if (plan === undefined) {
      plan = this.#resolve(args);
      this.#plans.set(key, plan);
    }
    const names = Object.keys(options);
    this.#lastNamed = { positional, names, tags: names.map((name) => tagOrAbsent(options[name])), plan };
    return plan;
  }

  #resolve(args: readonly unknown[]): Plan {
    const last = args[args.length - 1];
    const options = isOptions(last)
      ? new Map(
          Object.entries(last)
            .filter(([, v]) => v !== undefined)
            .map(([k, v]) => [k, tagOf(v)] as const),
        )
      : null;
    let positional = options === null ? args : args.slice(0, -1);
    // Trailing undefined is as good as not given.
    while (positional.length > 0 && positional[positional.length - 1] === undefined)
      positional = positional.slice(0, -1);
    const tags = positional.map(tagOf);
    for (const allowVarargs of [false, true]) {
      let best: { plan: Omit<Plan, "id">; cost: number } | null = null;
      for (const schema of this.schemas) {
        const candidate = planFor(schema, tags, options, allowVarargs);
        if (candidate !== null && (best === null || candidate.cost < best.cost)) best = candidate;
      }
      if (best !== null) return { ...best.plan, id: native.compileOp(this.name, best.plan.schema.overload) };
    }
    throw this.#mismatch(args);
  }

  #mismatch(args: readonly unknown[]): ArgumentError {
    const short = this.name.replace(/^aten::/, "");
    if (this.schemas.length === 0)
      return new ArgumentError(
        short,
        "an operator of this libtorch",
        this.name,
        "`nbit doctor` shows its version.",
        "ERR_NO_OPERATOR",
      );
    for (const a of args) if (isTensor(a) && handleOrZero(a) === 0) throw new TensorDisposedError(short);
    return mismatch(short, this.schemas, args);
  }
}

function shapeKey(args: readonly unknown[]): string {
  let key = "";
  for (const a of args) {
    const tag = tagOf(a);
    key += String.fromCharCode(97 + tag);
    if (tag === Tag.options) key += optionsKey(a as Readonly<Record<string, unknown>>);
  }
  return key;
}

function optionsKey(options: Readonly<Record<string, unknown>>): string {
  let key = "{";
  for (const name in options) {
    const value = options[name];
    if (value !== undefined) key += `${name}:${String.fromCharCode(97 + tagOf(value))},`;
  }
  return key + "}";
}
