import assert from "node:assert/strict";
import { scope, type Tensor } from "@nbit/torch";

/** So many steps bring the loss below a share of what it was at first. */
export function falls(steps: number, share: number, step: () => Tensor): void {
  const losses = Array.from({ length: steps }, () => scope(() => step().item()));
  const [first = NaN, last = NaN] = [losses[0], losses.at(-1)];
  assert.ok(last < first * share, `from ${first} to ${last} in ${steps} steps`);
}
