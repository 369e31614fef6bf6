import assert from "node:assert/strict";
import type { Outcome, Precision } from "./five-steps.js";

/**
 * Largest relative difference of a loss, and of the update. A wrong coefficient hides in a loss; of the update it moves
 * several hundred times as much. In bfloat16 roundings differ, and Adam makes whole steps of small gradients.
 */
const WITHIN: Readonly<Record<Precision, readonly [number, number]>> = {
  "32": [1e-5, 1e-4],
  bf16: [1e-3, 1e-1],
  "bf16-true": [2e-2, 2e-1],
};
export function isAsEager(
  { losses, update, parts }: Outcome,
  precision: Precision = "32",
  within?: number,
  limit?: number,
): void {
  const [usual, updates] = WITHIN[precision];
  const most = limit ?? updates;
  const loss = within ?? usual;
  for (const [mine, eager] of losses)
    assert.ok(Math.abs(mine - eager) <= loss * Math.abs(eager), `losses, XLA and libtorch: ${JSON.stringify(losses)}`);
  const worst = [...parts].sort(([, a], [, b]) => b.off - a.off).slice(0, 3);
  assert.ok(update <= most, `the update is off by ${update}, most in ${JSON.stringify(worst)}`);
}
