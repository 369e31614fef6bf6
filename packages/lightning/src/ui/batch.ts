import { Tensor } from "@nbit/torch";
import { isMap } from "@nbit/torch/realm";

/**
 * Length of the first tensor in a batch, looking into arrays, Maps and plain objects; null when it has none. Reads no
 * data.
 */
export function lengthOf(batch: unknown): number | null {
  if (batch instanceof Tensor) return batch.ndim === 0 ? 1 : (batch.shape[0] ?? 1);
  if (typeof batch !== "object" || batch === null) return null;
  const items: Iterable<unknown> = Array.isArray(batch) ? batch : isMap(batch) ? batch.values() : Object.values(batch);
  for (const item of items) {
    const length = lengthOf(item);
    if (length !== null) return length;
  }
  return null;
}
