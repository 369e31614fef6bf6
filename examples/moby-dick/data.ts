import { randint, scope, stack, tensor } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { book } from "../shared/text.js";

/** The book as numbers of characters. */
export interface Text {
  readonly alphabet: string;
  readonly codes: Tensor;
}

export function loadBook(): Text {
  const text = book();
  const alphabet = [...new Set(text)].sort().join("");
  const numberOf = new Map([...alphabet].map((c, i) => [c, i]));
  return { alphabet, codes: tensor(Uint8Array.from(text, (c) => numberOf.get(c) ?? 0)) };
}

/**
 * So many batches of `[x, y]`, both int64 `[batch, context]`: random windows of the text, and the same one character
 * on.
 */
export function* batches(codes: Tensor, count: number, batch: number, context: number): Generator<[Tensor, Tensor]> {
  const last = codes.numel() - context - 1;
  for (let i = 0; i < count; i++) {
    yield scope(() => {
      const windows = stack(
        (randint(0, last, [batch]).tolist() as number[]).map((at) => codes.narrow(0, at, context + 1)),
      ).long();
      return [windows.narrow(1, 0, context).contiguous(), windows.narrow(1, 1, context).contiguous()] as [
        Tensor,
        Tensor,
      ];
    });
  }
}
