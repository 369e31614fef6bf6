/** How arguments lie on several devices. Collectives come from the compiler. */
import { XlaError } from "../errors.js";
import { range } from "../stablehlo/types.js";

export interface ShardOptions {
  /** Names of inputs whose first dimension is split among the devices. */
  readonly batch: readonly string[];
  /**
   * "replicated" (default): every device has all parameters and optimizer state. "sharded": each tensor of the state is
   * split along its largest dimension that divides; what a product needs of it is gathered for that product.
   */
  readonly state?: "replicated" | "sharded";
}

/** The dimension to split; null: every device has all of it. */
export type SplitDim = number | null;

/** @throws {XlaError} `XLA_SHARDING` where the batch does not divide. */
export function splitOfBatch(name: string, shape: readonly number[], partitions: number): SplitDim {
  const first = shape[0];
  if (first !== undefined && first > 0 && first % partitions === 0) return 0;
  throw new XlaError(
    `lower: expected the first dimension of the input ${name} to be a multiple of ${partitions} devices. Received: the shape [${shape.join(", ")}]. Choose another batch size, or drop the last batch.`,
    "XLA_SHARDING",
  );
}
export function splitOfState(shape: readonly number[], partitions: number): SplitDim {
  const fitting = range(shape.length).filter((i) => shape[i] > 0 && shape[i] % partitions === 0);
  return fitting.length === 0 ? null : fitting.reduce((best, i) => (shape[i] > shape[best] ? i : best));
}

export function shardingText(split: SplitDim, rank: number, partitions: number): string {
  if (split === null) return `mhlo.sharding = "{replicated}"`;
  const tiles = range(rank).map((i) => (i === split ? partitions : 1));
  return `mhlo.sharding = "{devices=[${tiles.join(",")}]<=[${partitions}]}"`;
}
