/** Sides that do not compute the same have no times. */

/** Largest relative difference between the losses of two sides. */
export const TOLERANCE = { "32": 1e-4, bf16: 2e-2 } as const;

/**
 * Compares losses of two sides, step by step.
 * @returns "equal" bit for bit, "close" within `tolerance` relative to the other's; otherwise what differs.
 */
export function compareLosses(
  ours: readonly number[],
  others: readonly number[],
  tolerance: number,
): "equal" | "close" | { readonly differs: string } {
  if (ours.length !== others.length || ours.length === 0)
    return { differs: `${ours.length} and ${others.length} losses` };
  // NaN is near nothing.
  const at = others.findIndex((other, i) => !(Math.abs((ours[i] as number) - other) <= tolerance * Math.abs(other)));
  if (at >= 0) return { differs: `loss ${ours[at]} and ${others[at]} at step ${at}` };
  return others.every((other, i) => other === ours[i]) ? "equal" : "close";
}
