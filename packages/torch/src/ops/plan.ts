/**
 * How one overload is called with arguments of one shape: resolved once per shape of a call, as PyTorch's argument
 * parser would choose.
 */
import { conversionCost, NUMBERS_AS_TENSORS, Tag } from "./conversion-cost.js";
import { encodeDefault } from "./encode.js";
import type { Argument, Schema } from "./schema.js";

/** A resolved way to call an overload. */
export interface Plan {
  readonly id: number;
  readonly schema: Schema;
  /**
   * For each schema argument: position among the call's arguments (0 = self or first), or a name in the options, or -1
   * = its default.
   */
  readonly source: readonly (number | string)[];
  /** Encoded defaults, for arguments whose source is -1. */
  readonly defaults: readonly (readonly number[])[];
  /** This argument takes all positional arguments from `source` on, as one list of integers. */
  readonly varargs: number;
  /** `requiresGrad` was among the options of a factory. */
  readonly requiresGrad: boolean;
  /** The only result is one new tensor (1), is an argument (2), or anything else (0). */
  readonly simple: 0 | 1 | 2;
}

/** Whether all positional arguments from `position` on are integers, which `arg` takes as one list: `view(2, 3)`. */
function takesRest(arg: Argument, tags: readonly number[], position: number): boolean {
  return (
    arg.list === true &&
    arg.kind === "i" &&
    arg.size === undefined &&
    tags.slice(position).every((t) => t === Tag.integer || t === Tag.bigint)
  );
}

function positionalCost(schema: Schema, i: number, tag: number): number {
  const arg = schema.args[i] as Argument;
  const asTensor =
    i === 1 && arg.kind === "t" && tag >= Tag.integer && tag <= Tag.boolean && NUMBERS_AS_TENSORS.has(schema.name);
  return asTensor ? 0 : conversionCost(arg, tag);
}

/** PyTorch's factories take requires_grad outside their schema. */
function takesRequiresGrad(schema: Schema, options: ReadonlyMap<string, number>): boolean {
  return options.has("requiresGrad") && schema.args.some((a) => a.camel === "dtype");
}

function simplicity({ returns }: Schema): Plan["simple"] {
  const only = returns.length === 1 ? returns[0] : undefined;
  if (only === undefined || only.kind !== "t" || only.list === true) return 0;
  return only.alias < 0 ? 1 : 2;
}

/** What a call costs that gathers its integers to a list: more than one that has a list. */
const REST_COST = 5;

/** The plan of an overload for a call of this shape, with its cost; null when it cannot take it. */
export function planFor(
  schema: Schema,
  tags: readonly number[],
  options: ReadonlyMap<string, number> | null,
  allowVarargs: boolean,
): { plan: Omit<Plan, "id">; cost: number } | null {
  const source: (number | string)[] = [];
  const defaults: (readonly number[])[] = [];
  let cost = 0;
  let position = 0;
  let used = 0;
  let varargs = -1;
  for (let i = 0; i < schema.args.length; i++) {
    const arg = schema.args[i] as Argument;
    const named = options?.get(arg.camel);
    if (position < tags.length && arg.kwarg !== true) {
      source.push(position);
      defaults.push(NONE);
      if (allowVarargs && varargs === -1 && takesRest(arg, tags, position)) {
        cost += REST_COST;
        varargs = i;
        position = tags.length;
        continue;
      }
      cost += named === undefined ? positionalCost(schema, i, tags[position++] as number) : Infinity;
    } else if (named !== undefined) {
      cost += conversionCost(arg, named);
      used++;
      source.push(arg.camel);
      defaults.push(NONE);
    } else {
      if (arg.default === undefined) return null;
      source.push(-1);
      defaults.push(encodeDefault(arg));
    }
    if (cost === Infinity) return null;
  }
  if (position < tags.length) return null;
  const unused = options === null ? 0 : options.size - used;
  const requiresGrad = unused === 1 && options !== null && takesRequiresGrad(schema, options);
  return unused > 0 && !requiresGrad
    ? null
    : { plan: { schema, source, defaults, varargs, requiresGrad, simple: simplicity(schema) }, cost };
}

const NONE: readonly number[] = [];
