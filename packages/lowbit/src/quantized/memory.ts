/** What a module's weights take, by kind. */
import { ArgumentError, atMost, nn } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { formatBytes, formatInteger } from "@nbit/torch/format";
import { LoRALinear } from "./lora.js";
import { QuantizedLinear } from "./linear.js";

export interface WeightMemoryRow {
  /** "nf4", "adapters", "float32", … */
  readonly kind: string;
  readonly elements: number;
  readonly bytes: number;
  readonly trainable: boolean;
}

/** Bytes of weights by kind, against all of them in float32. `toString()` is the table. */
export class WeightMemory {
  constructor(readonly rows: readonly WeightMemoryRow[]) {
    atMost("WeightMemory", arguments, 1);
  }
  get bytes(): number {
    return this.rows.reduce((sum, r) => sum + r.bytes, 0);
  }
  get elements(): number {
    return this.rows.reduce((sum, r) => sum + r.elements, 0);
  }
  get trainable(): number {
    return this.rows.reduce((sum, r) => sum + (r.trainable ? r.elements : 0), 0);
  }
  toString(): string {
    const line = (kind: string, elements: number, bytes: number, note: string): string[] => [
      kind,
      formatInteger(elements),
      formatBytes(bytes),
      elements === 0 ? "" : ((bytes * 8) / elements).toFixed(3),
      note,
    ];
    const rows = [
      ["weights", "elements", "memory", "bits each", ""],
      ...this.rows.map((r) => line(r.kind, r.elements, r.bytes, r.trainable ? "learns" : "frozen")),
      line("all", this.elements, this.bytes, `float32: ${formatBytes(4 * this.elements)}`),
    ];
    const widths = [0, 1, 2, 3].map((i) => Math.max(...rows.map((r) => (r[i] ?? "").length)));
    return rows
      .map((r) =>
        r
          .map((cell, i) => (i === 0 ? cell.padEnd(widths[0] ?? 0) : i < 4 ? cell.padStart(widths[i] ?? 0) : cell))
          .join("  ")
          .trimEnd(),
      )
      .join("\n");
  }
}

/**
 * What parameters and quantized weights of a module take, in bytes; each tensor once, buffers other than codes and
 * scales left out.
 * @example console.log(String(weightMemory(model)));
 */
export function weightMemory(module: nn.Module): WeightMemory {
  atMost("weightMemory", arguments, 1);
  if (!(module instanceof nn.Module)) throw new ArgumentError("weightMemory", "a module", module);
  const found = new Map<string, { kind: string; elements: number; bytes: number; trainable: boolean }>();
  const add = (kind: string, elements: number, bytes: number, trainable: boolean): void => {
    const key = `${kind} ${trainable}`;
    const row = found.get(key) ?? { kind, elements: 0, bytes: 0, trainable };
    row.elements += elements;
    row.bytes += bytes;
    found.set(key, row);
  };
  const seen = new Set<Tensor>();
  for (const m of module.modules()) {
    if (m instanceof QuantizedLinear) add(m.format, m.inFeatures * m.outFeatures, m.weightBytes, false);
    for (const [, p] of m.namedParameters({ recurse: false })) {
      if (seen.has(p)) continue;
      seen.add(p);
      add(m instanceof LoRALinear ? "adapters" : p.dtype, p.numel(), p.nbytes, p.requiresGrad);
    }
  }
  return new WeightMemory([...found.values()]);
}
