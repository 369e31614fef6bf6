/**
 * Numbers that a step leaves on a device for whoever asks later, in rows of one tensor that are used in turn: thousands
 * of steps that nobody asks about hold no more than the first.
 */
import { noGrad } from "./autograd/modes.js";
import { zeros } from "./ops/index.js";
import type { DeviceLike } from "./tensor/device.js";
import { outsideScopes, scope } from "./tensor/scope.js";
import type { Tensor } from "./tensor/tensor.js";

/** The memory of one step's numbers. */
export class LateRow {
  /** Views of its numbers: `[]` each. */
  readonly values: readonly Tensor[];
  /** @internal Whoever took it still needs its memory. */
  inUse = false;
  /** @internal A graph writes to it. */
  retired = false;
  /** @internal Who is told the numbers when they are read; null: nobody. */
  reader: ((numbers: readonly number[]) => void) | null = null;

  /** @internal */
  constructor(
    readonly block: Tensor,
    readonly index: number,
    columns: number,
  ) {
    const row = block.select(0, index);
    this.values = Array.from({ length: columns }, (_, i) => row.select(0, i));
    row.dispose();
  }
}

export interface LateNumbersOptions {
  readonly device: DeviceLike;
  readonly dtype: "float32" | "float64";
  /** Numbers in a row. */
  readonly columns: number;
  /** So many rows may wait; then all are read, with one wait for the device. */
  readonly rows: number;
}

/**
 * @internal Rows for one kind of step. A row is free again when who took it has let go of it and its numbers were read,
 * in whatever order that happens: neither takes memory from the other.
 */
export class LateNumbers {
  readonly #options: LateNumbersOptions;
  readonly #free: LateRow[] = [];
  readonly #unread = new Set<LateRow>();

  constructor(options: LateNumbersOptions) {
    this.#options = options;
  }

  /** A row in use until {@link release}; its numbers are whatever they were. */
  take(): LateRow {
    if (this.#free.length === 0) this.readAll();
    if (this.#free.length === 0) this.#grow();
    const row = this.#free.pop() as LateRow;
    row.inUse = true;
    return row;
  }

  #grow(): void {
    const { device, dtype, columns, rows } = this.#options;
    outsideScopes(() =>
      noGrad(() => {
        const block = zeros([rows, columns], { dtype, device });
        for (let i = rows - 1; i >= 0; i--) this.#free.push(new LateRow(block, i, columns));
      }),
    );
  }

  /** Tell `reader` the numbers when they are read. */
  remember(row: LateRow, reader: (numbers: readonly number[]) => void): void {
    row.reader = reader;
    this.#unread.add(row);
  }

  /** Who took the row needs it no more. */
  release(row: LateRow): void {
    row.inUse = false;
    this.#reuse(row);
  }

  #reuse(row: LateRow): void {
    if (!row.inUse && !row.retired && row.reader === null) this.#free.push(row);
  }

  /** Never use this row again: replays of a graph write to it. Nobody is told the numbers that it has now. */
  retire(row: LateRow): void {
    this.#unread.delete(row);
    row.reader = null;
    row.retired = true;
  }

  /** Read all that was not read. Waits for the device once. */
  readAll(): void {
    if (this.#unread.size === 0) return;
    const rows = [...this.#unread];
    this.#unread.clear();
    // Of many a whole block at a time.
    const blocks =
      rows.length > 4
        ? scope(() => new Map([...new Set(rows.map((r) => r.block))].map((b) => [b, b.tolist() as number[][]])))
        : null;
    for (const row of rows) {
      const { reader } = row;
      row.reader = null;
      reader?.(blocks?.get(row.block)?.[row.index] ?? row.values.map((t) => t.item()));
      this.#reuse(row);
    }
  }
}
