/** Predictions as a Parquet file, by `hyparquet-writer`. */
import type { Tensor } from "@nbit/torch";
import { cellsOf, type Cells, type Column } from "./columns.js";

type Type = "BOOLEAN" | "INT32" | "INT64" | "FLOAT" | "DOUBLE" | "STRING";
const TYPES: Partial<Readonly<Record<Tensor["dtype"], Type>>> = {
  bool: "BOOLEAN",
  uint8: "INT32",
  int8: "INT32",
  int16: "INT32",
  int32: "INT32",
  int64: "INT64",
  float16: "FLOAT",
  bfloat16: "FLOAT",
  float32: "FLOAT",
  float64: "DOUBLE",
};

export async function parquetBytes(columns: readonly Column[]): Promise<Uint8Array> {
  const { parquetWriteBuffer } = await import("hyparquet-writer");
  return new Uint8Array(parquetWriteBuffer({ columnData: columns.flatMap(cellsOf).map(columnData) }));
}

/** Lists are text, as JSON: readers of tables have columns of single values. */
function columnData({ name, dtype, values }: Cells): { name: string; data: unknown[]; type: Type } {
  const type = values.some((value) => Array.isArray(value)) ? "STRING" : (TYPES[dtype] ?? "STRING");
  const data = values.map((value) => {
    if (value === null || value === undefined) return null;
    if (type === "STRING") return JSON.stringify(value);
    return type === "INT64" ? BigInt(value as number | bigint) : value;
  });
  return { name, data, type };
}
