/** Loading a state dict: compared whole with a module's own, before anything is copied. */
import { noGrad } from "../autograd/modes.js";
import { NbitError } from "../errors.js";
import { callable, flag, record, such, text } from "../kinds.js";
import type { OptionNames } from "../options.js";
import { plainText } from "../plain-text.js";
import { isMap } from "../realm.js";
import { isTensor } from "../tensor/handle.js";
import { keep, scope } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import { Parameter } from "./parameter.js";
import type { StateEntry } from "./state-entries.js";
import { isUninitialized } from "./uninitialized.js";

export type StateDict = Map<string, Tensor>;
/** What may be loaded: tensors by name. */
export type StateLike = ReadonlyMap<string, Tensor> | Readonly<Record<string, Tensor>>;
export const stateKind = such<StateLike>(
  "a state dict: tensors by name, in an object or a Map",
  (v) => isMap(v) || record.accepts(v),
);
export interface LoadStateOptions {
  /** Every name must be on both sides. Default true. */
  readonly strict?: boolean;
  /**
   * Put the given tensors themselves into the fields, with their dtypes and devices, instead of copying their values;
   * whether a parameter requires a gradient stays. Optimizers are to be made afterwards. Default false.
   */
  readonly assign?: boolean;
  /**
   * @internal What a tensor on the device "meta" stands for: read when it is copied, one after the other. Null: what is
   * there stays.
   */
  readonly read?: (placeholder: Tensor) => Tensor | null;
}
export const LOAD_STATE: OptionNames<LoadStateOptions> = { strict: flag, assign: flag, read: callable };
export interface StateDictOptions {
  /** Before every key. Default none. */
  readonly prefix?: string;
  /** The parameters and buffers themselves, instead of detached tensors that share their memory. Default false. */
  readonly keepVars?: boolean;
}
export const STATE_DICT: OptionNames<StateDictOptions> = { prefix: text, keepVars: flag };
export interface LoadResult {
  readonly missingKeys: readonly string[];
  readonly unexpectedKeys: readonly string[];
}

/** A copy of what is to be loaded, which hooks may change. */
export function copyOfState(state: StateLike): StateDict {
  return new Map(isMap(state) ? (state as ReadonlyMap<string, Tensor>) : Object.entries(state));
}

/** What a module keeps beside tensors of its own: see `Module.getExtraState`. */
export interface ExtraState {
  readonly key: string;
  set(state: unknown): void;
}
/** A state dict and what it is loaded into. */
export interface Loading {
  /** The module's class, for messages. */
  readonly type: string;
  readonly entries: readonly StateEntry<object>[];
  readonly extras: readonly ExtraState[];
  readonly given: StateDict;
  /** What hooks before the load found missing, unexpected and wrong. */
  readonly found: {
    readonly missingKeys: readonly string[];
    readonly unexpectedKeys: readonly string[];
    readonly errors: readonly string[];
  };
  /** What else a module has against the state, in words. */
  problems(): Iterable<string>;
  /** Hooks that are called when all is loaded, and may change what counts as missing and unexpected. */
  readonly afterwards: readonly ((keys: IncompatibleKeys) => void)[];
}
/** Keys that one side lacks; hooks may change the lists. */
export interface IncompatibleKeys {
  readonly missingKeys: string[];
  readonly unexpectedKeys: string[];
}

/** Copy into the entries what a state gives for them. */
export function loadState(loading: Loading, { strict = true, assign = false, read }: LoadStateOptions): LoadResult {
  const { entries, extras, given, found, afterwards } = loading;
  const plan = loadPlan(entries, extras, given, assign);
  const keys = {
    missingKeys: [...new Set([...found.missingKeys, ...plan.missing])],
    unexpectedKeys: [...new Set([...found.unexpectedKeys, ...plan.unexpected])],
  };
  const wrong = [...found.errors, ...plan.problems, ...loading.problems()];
  // Hooks that may forgive keys see the loaded module.
  const names = afterwards.length > 0 ? [] : lacking(keys, strict);
  if (names.length + wrong.length > 0) throw mismatch(loading.type, [...names, ...wrong]);
  noGrad(() => {
    for (const [entry, source] of plan.copies) {
      if (!assign && isUninitialized(entry.tensor)) entry.tensor.materialize(source.shape);
      if (assign) assignTo(entry, source);
      else if (read === undefined || source.device.type !== "meta") entry.tensor.copy_(source);
      else
        scope(() => {
          const value = read(source);
          if (value !== null) entry.tensor.copy_(value);
        });
    }
  });
  for (const { key, set } of extras) {
    const state = given.get(key);
    if (state === undefined) continue;
    if (read === undefined || !isTensor(state) || state.device.type !== "meta") set(state);
    else {
      const value = read(state);
      if (value !== null) set(value);
    }
  }
  for (const hook of afterwards) hook(keys);
  const left = afterwards.length > 0 ? lacking(keys, strict) : [];
  if (left.length > 0) throw mismatch(loading.type, left);
  return keys;
}

function lacking({ missingKeys, unexpectedKeys }: IncompatibleKeys, strict: boolean): string[] {
  if (!strict) return [];
  return [
    ...(missingKeys.length > 0 ? [`missing: ${missingKeys.join(", ")}`] : []),
    ...(unexpectedKeys.length > 0 ? [`unexpected: ${unexpectedKeys.join(", ")}`] : []),
  ];
}
function mismatch(type: string, all: readonly string[]): NbitError {
  return new NbitError(
    plainText(
      `loadStateDict: expected the state of this ${type}. Received: a state with ${all.join("; ")}. ` +
        "Pass { strict: false } to load what fits by name.",
    ),
    "STATE_DICT_MISMATCH",
  );
}

/** The given tensor takes the place of the field's. */
function assignTo({ owner, name, tensor }: StateEntry<object>, source: Tensor): void {
  if (!(tensor instanceof Parameter)) {
    Reflect.set(owner, name, keep(source.detach()));
    return;
  }
  const { requiresGrad } = tensor;
  const next = source instanceof Parameter ? source : new Parameter(source, { requiresGrad });
  if (next.requiresGrad !== requiresGrad) next.requiresGrad_(requiresGrad);
  Reflect.set(owner, name, next);
}

interface LoadPlan {
  readonly copies: readonly (readonly [target: StateEntry<object>, source: Tensor])[];
  readonly missing: readonly string[];
  readonly unexpected: readonly string[];
  readonly problems: readonly string[];
}

/** By key, or, where a key is missing and nothing else has the earlier one, by that. */
function loadPlan(
  entries: readonly StateEntry<object>[],
  extras: readonly ExtraState[],
  given: ReadonlyMap<string, unknown>,
  assign: boolean,
): LoadPlan {
  const keys = new Set(entries.map((e) => e.key));
  const claims = new Map<string, number>();
  for (const e of entries) claims.set(e.earlier, (claims.get(e.earlier) ?? 0) + 1);
  const used = new Set<string>();
  const missing: string[] = [];
  const problems: string[] = [];
  const copies: (readonly [StateEntry<object>, Tensor])[] = [];
  for (const entry of entries) {
    const { key, earlier, tensor, optional } = entry;
    const found = given.has(key)
      ? key
      : given.has(earlier) && !keys.has(earlier) && claims.get(earlier) === 1
        ? earlier
        : null;
    if (found === null) {
      if (!optional) missing.push(key);
      continue;
    }
    used.add(found);
    const source = given.get(found);
    if (!isTensor(source)) problems.push(`${key} is not a tensor`);
    else {
      const lazy = isUninitialized(tensor);
      if (isUninitialized(source)) {
        if (!lazy) problems.push(`${key} has no shape yet, expected [${tensor.shape.join(", ")}]`);
        continue;
      }
      const why = source.disposed
        ? "is disposed"
        : !lazy && String(source.shape) !== String(tensor.shape)
          ? `has shape [${source.shape.join(", ")}], expected [${tensor.shape.join(", ")}]`
          : assign
            ? null
            : lost(source, tensor);
      if (why === null) copies.push([entry, source]);
      else problems.push(`${key} ${why}`);
    }
  }
  for (const { key } of extras)
    if (given.has(key)) used.add(key);
    else missing.push(key);
  return { copies, missing, unexpected: [...given.keys()].filter((k) => !used.has(k)), problems };
}

/**
 * What a copy would lose: imaginary parts and fractions, and codes that would be taken for numbers. Null: nothing, or
 * digits only.
 */
function lost(source: Tensor, target: Tensor): string | null {
  const [from, to] = [source.dtype, target.dtype];
  if (from === to) return null;
  const is = `is ${from}, expected ${to}`;
  if (source.isComplex() && !target.isComplex()) return is;
  const whole = !target.isFloatingPoint() && !target.isComplex();
  // Codes of low-bit weights are bytes, which are no weights by themselves, nor those of another format.
  if (isByte(from) || (whole && isByte(to))) return is;
  if (whole && source.isFloatingPoint() && source.detach().trunc().ne(source.detach()).any().item())
    return `${is}, and it holds fractions`;
  return null;
}
function isByte(dtype: string): boolean {
  return dtype === "int8" || dtype === "uint8";
}
