/** Ranks laid out in a grid: the groups of each of its dimensions. */
import { ArgumentError } from "../errors.js";
import { filled, listOf, oneOf, orNull, whole } from "../kinds.js";
import { atMost, checkArguments, checkOptions } from "../options.js";
import { getRank, getWorldSize, newGroup, type ProcessGroup } from "./group.js";

export interface DeviceMeshOptions {
  /** A name for each dimension, such as ["replicate", "shard"]. */
  readonly meshDimNames?: readonly string[] | null;
}

/** A grid of ranks in row-major order, such as 2 × 4: two replicas of four shards. Made by {@link initDeviceMesh}. */
export class DeviceMesh {
  /** @internal */
  constructor(
    readonly deviceType: "cpu" | "cuda",
    readonly shape: readonly number[],
    readonly meshDimNames: readonly string[] | null,
    /** This rank's place in each dimension. */
    readonly coordinate: readonly number[],
    readonly groups: readonly ProcessGroup[],
  ) {}

  get ndim(): number {
    return this.shape.length;
  }
  size(dim?: number | string): number {
    return dim === undefined ? this.shape.reduce((a, b) => a * b, 1) : (this.shape[this.#index(dim)] ?? 1);
  }
  /** The ranks that differ from this one in that dimension alone. */
  getGroup(dim: number | string = 0): ProcessGroup {
    const group = this.groups[this.#index(dim)];
    if (group === undefined) throw new ArgumentError("DeviceMesh.getGroup", "a dimension of the mesh", dim);
    return group;
  }
  getLocalRank(dim: number | string = 0): number {
    return this.coordinate[this.#index(dim)] ?? 0;
  }

  #index(dim: number | string): number {
    const at = typeof dim === "number" ? dim : (this.meshDimNames?.indexOf(dim) ?? -1);
    if (!Number.isInteger(at) || at < 0 || at >= this.ndim)
      throw new ArgumentError(
        "DeviceMesh",
        `a dimension from 0 to ${this.ndim - 1}${this.meshDimNames === null ? "" : `, or one of ${this.meshDimNames.join(", ")}`}`,
        dim,
      );
    return at;
  }
}

/**
 * Lay all ranks out in a grid, and make the groups of its rows in every dimension. Every rank calls this.
 * @example
 * const mesh = await initDeviceMesh("cpu", [2, 2], { meshDimNames: ["replicate", "shard"] });
 * allReduce(t, { group: mesh.getGroup("replicate") });
 */
export async function initDeviceMesh(
  deviceType: "cpu" | "cuda",
  meshShape: readonly number[],
  options: DeviceMeshOptions = {},
): Promise<DeviceMesh> {
  const fn = "initDeviceMesh";
  atMost(fn, arguments, 3);
  const sizes = listOf(whole("[1, ∞)"));
  checkArguments(fn, { deviceType, meshShape }, { deviceType: oneOf("cpu", "cuda"), meshShape: sizes });
  checkOptions(fn, options, { meshDimNames: orNull(listOf(filled)) });
  const world = getWorldSize();
  const shape = [...meshShape];
  if (shape.length === 0 || shape.reduce((a, b) => a * b, 1) !== world)
    throw new ArgumentError(fn, `a shape with ${world} places, one for each rank`, meshShape);
  const names = options.meshDimNames ?? null;
  if (names !== null && (names.length !== shape.length || new Set(names).size !== names.length))
    throw new ArgumentError(fn, `meshDimNames to be ${shape.length} different names`, names);
  const strides = shape.map((_, d) => shape.slice(d + 1).reduce((a, b) => a * b, 1));
  const place = (rank: number): number[] => shape.map((n, d) => Math.floor(rank / (strides[d] ?? 1)) % n);
  const mine = place(getRank());
  const groups: ProcessGroup[] = [];
  for (let d = 0; d < shape.length; d++) {
    const stride = strides[d] ?? 1;
    for (let start = 0; start < world; start++) {
      if (place(start)[d] !== 0) continue; // not the first of its row
      const row = Array.from({ length: shape[d] ?? 1 }, (_, i) => start + i * stride);
      const group = await newGroup(row);
      if (group !== null) groups.push(group);
    }
  }
  return new DeviceMesh(deviceType, shape, names, mine, groups);
}
