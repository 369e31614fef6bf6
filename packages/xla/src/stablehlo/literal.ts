/** Numbers as StableHLO's text has them. */
import { bitsOf, isFloat, isUnsigned, type Element } from "./types.js";

/** Patterns of ∞, -∞ and NaN, which the text has no words for. */
const SPECIAL: Partial<Record<Element, readonly [string, string, string]>> = {
  f8E5M2: ["0x7C", "0xFC", "0x7F"],
  f16: ["0x7C00", "0xFC00", "0x7E00"],
  bf16: ["0x7F80", "0xFF80", "0x7FC0"],
  f32: ["0x7F800000", "0xFF800000", "0x7FC00000"],
  f64: ["0x7FF0000000000000", "0xFFF0000000000000", "0x7FF8000000000000"],
};

/** Null: the type has no such number. */
export function literal(value: number, element: Element): string | null {
  if (element === "i1") return value !== 0 ? "true" : "false";
  if (!isFloat(element)) return integer(value, element);
  if (!Number.isFinite(value)) {
    const patterns = SPECIAL[element];
    return patterns?.[Number.isNaN(value) ? 2 : value > 0 ? 0 : 1] ?? null;
  }
  if (Object.is(value, -0)) return "-0.0";
  return Number.isInteger(value) && Math.abs(value) < 1e15 ? value.toFixed(1) : value.toExponential(16);
}

function integer(value: number, element: Element): string | null {
  if (!Number.isSafeInteger(value)) return null;
  const bits = bitsOf(element);
  const [low, high] = isUnsigned(element) ? [0, 2 ** bits - 1] : [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1];
  return value >= low && value <= high ? String(value) : null;
}

/** The least and the greatest number of a type: what a maximum or a minimum begins with. */
export function extremes(element: Element): readonly [string, string] {
  if (isFloat(element)) return [SPECIAL[element]?.[1] ?? "-448.0", SPECIAL[element]?.[0] ?? "448.0"];
  if (element === "i1") return ["false", "true"];
  const bits = BigInt(bitsOf(element));
  return isUnsigned(element)
    ? ["0", String(2n ** bits - 1n)]
    : [String(-(2n ** (bits - 1n))), String(2n ** (bits - 1n) - 1n)];
}
