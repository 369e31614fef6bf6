/** Loading a state dict: compared whole with a module's own, before anything is copied. */
import { noGrad } from "../autograd/modes.js";
import { NbitError } from "../errors.js";
import { callable, flag, record, such } from "../kinds.js";
import type { OptionNames } from "../options.js";
import { plainText } from "../plain-text.js";
import { isMap } from "../realm.js";
import { isTensor } from "../tensor/handle.js";
import { scope } from "../tensor/scope.js";
import type { Tensor } from "../tensor/tensor.js";
import type { StateEntry } from "./state-entries.js";

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
   * @internal What a tensor on the device "meta" stands for: read when it is copied, one after the other. Null: what is
   * there stays.
   */
  readonly read?: (placeholder: Tensor) => Tensor | null;
}
export const LOAD_STATE: OptionNames<LoadStateOptions> = { strict: flag, read: callable };
export interface LoadResult {
  readonly missingKeys: readonly string[];
  readonly unexpectedKeys: readonly string[];
}

/**
 * Copy into `entries` what a state gives for them.
 * @param type - The module's, for messages.
 * @param problemsOf - What else a module has against the state, in words.
 */
export function loadState(
  type: string,
  entries: readonly StateEntry[],
  state: StateLike,
  { strict = true, read }: LoadStateOptions,
  problemsOf: (given: ReadonlyMap<string, Tensor>) => Iterable<string>,
): LoadResult {
  const given: ReadonlyMap<string, Tensor> = isMap(state)
    ? (state as ReadonlyMap<string, Tensor>)
    : new Map(Object.entries(state));
  const { copies, missing, unexpected, problems } = loadPlan(entries, given);
  const all = [
    ...(strict && missing.length > 0 ? [`missing: ${missing.join(", ")}`] : []),
    ...(strict && unexpected.length > 0 ? [`unexpected: ${unexpected.join(", ")}`] : []),
    ...problems,
    ...problemsOf(given),
  ];
  if (all.length > 0)
    throw new NbitError(
      plainText(
        `loadStateDict: expected the state of this ${type}. Received: a state with ${all.join("; ")}. ` +
          "Pass { strict: false } to load what fits by name.",
      ),
      "STATE_DICT_MISMATCH",
    );
  noGrad(() => {
    for (const [target, source] of copies)
      if (read === undefined || source.device.type !== "meta") target.copy_(source);
      else
        scope(() => {
          const value = read(source);
          if (value !== null) target.copy_(value);
        });
  });
  return { missingKeys: missing, unexpectedKeys: unexpected };
}

interface LoadPlan {
  readonly copies: readonly (readonly [target: Tensor, source: Tensor])[];
  readonly missing: readonly string[];
  readonly unexpected: readonly string[];
  readonly problems: readonly string[];
}

/** By key, or, where a key is missing and nothing else has the earlier one, by that. */
function loadPlan(entries: readonly StateEntry[], given: ReadonlyMap<string, unknown>): LoadPlan {
  const keys = new Set(entries.map((e) => e.key));
  const claims = new Map<string, number>();
  for (const e of entries) claims.set(e.earlier, (claims.get(e.earlier) ?? 0) + 1);
  const used = new Set<string>();
  const missing: string[] = [];
  const problems: string[] = [];
  const copies: (readonly [Tensor, Tensor])[] = [];
  for (const { key, earlier, tensor, optional } of entries) {
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
      const why = source.disposed
        ? "is disposed"
        : String(source.shape) !== String(tensor.shape)
          ? `has shape [${source.shape.join(", ")}], expected [${tensor.shape.join(", ")}]`
          : lost(source, tensor);
      if (why === null) copies.push([tensor, source]);
      else problems.push(`${key} ${why}`);
    }
  }
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
