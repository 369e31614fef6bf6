/** What tells two states apart to the last bit. */
import { createHash } from "node:crypto";
import { Tensor } from "@nbit/torch";

/** SHA-256 of values, of whatever is in them, and of tensors with their dtypes, shapes and bytes. */
export function digestOf(...values: unknown[]): string {
  const hash = createHash("sha256");
  const add = (value: unknown): void => {
    if (value instanceof Tensor)
      hash.update(`${value.dtype}${value.shape.join()}`).update(new Uint8Array(value.contiguous().toBytes()));
    else if (Array.isArray(value)) value.forEach(add);
    else if (value instanceof Map) for (const [key, each] of value) add([key, each]);
    else if (typeof value === "object" && value !== null) add(Object.entries(value));
    else hash.update(`${String(value)};`);
  };
  values.forEach(add);
  return hash.digest("hex");
}
