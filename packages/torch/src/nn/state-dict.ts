/** What a state dict fits: compared whole with a module's own, before anything is copied. */
import { isTensor } from "../tensor/handle.js";
import type { Tensor } from "../tensor/tensor.js";

/** One tensor of a module's state. */
export interface StateEntry {
  readonly key: string;
  /** As versions up to 0.1 wrote it; the same where they agree. */
  readonly earlier: string;
  readonly tensor: Tensor;
  /** It may be missing, as it is in files from before there was one. */
  readonly optional: boolean;
}
export interface LoadPlan {
  readonly copies: readonly (readonly [target: Tensor, source: Tensor])[];
  readonly missing: readonly string[];
  readonly unexpected: readonly string[];
  readonly problems: readonly string[];
}

/** @internal By key, or, where a key is missing and nothing else has the earlier one, by that. */
export function loadPlan(entries: readonly StateEntry[], given: ReadonlyMap<string, unknown>): LoadPlan {
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
