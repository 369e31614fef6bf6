/** How times grow: each size of a model alone, from the small MLP and the transformer, and the number of steps. */
import type { RowResult } from "./results.js";
import { ADAMW, transformer, type ModelRow } from "./rows.js";
import { smallMlp } from "./small-mlp.js";
import type { ModelSpec } from "./models/index.js";

export interface ScaleRow {
  readonly row: ModelRow;
  readonly scale: NonNullable<RowResult["scale"]>;
  /** The whole process is timed, not a step. */
  readonly whole: boolean;
}

/** `long` adds a million steps. */
export function scaleRows({ long, steps }: { readonly long: boolean; readonly steps?: number }): ScaleRow[] {
  const point = (series: string, x: number, model: ModelSpec, count: number, whole = false): ScaleRow => ({
    row: {
      id: `scale-${series.replaceAll(/[^\w]+/g, "-").toLowerCase()}-${x}`,
      name: `${series} ${x}`,
      threads: 1,
      unit: whole ? "s" : "ms",
      sides: ["trainer", "pytorch", "compile", "lightning", "jax"],
      job: {
        kind: "step",
        model,
        optimizer: ADAMW,
        precision: "32",
        threads: 1,
        steps: steps ?? count,
        ...(whole ? { cold: true } : {}),
      },
    },
    scale: { series, x },
    whole,
  });
  return [
    ...[8, 32, 128, 512].map((batch) => point("small MLP, batch", batch, smallMlp(batch), 2000)),
    ...[64, 256, 1024].map((width) => point("small MLP, width", width, smallMlp(8, width), width > 256 ? 400 : 2000)),
    ...[2, 8, 32].map((depth) => point("small MLP, hidden layers", depth, smallMlp(8, 64, depth), 1200)),
    ...[32, 128, 512].map((context) =>
      point("transformer, tokens", context, transformer(context), context > 128 ? 20 : 80),
    ),
    // One step is the warm-up.
    ...[10, 1e3, 1e5, ...(long ? [1e6] : [])].map((n) =>
      point("small MLP, steps of a process", n, smallMlp(8), n - 1, true),
    ),
  ];
}
