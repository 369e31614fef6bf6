/** What became of a step under a loss scaler. */
import type { LateNumbers, LateRow } from "../late-numbers.js";
import type { Tensor } from "../tensor/tensor.js";

/** What became of a step. Fields are read when asked for: on CUDA that waits for the device. */
export interface ScalerStep {
  readonly stepped: boolean;
  /** The scale that multiplied this step's loss. */
  readonly lossScale: number;
  /**
   * Positions, over all groups, of the parameters whose gradients were not finite. Looks at the gradients when it is
   * first read: empty when the next loss was scaled by then.
   */
  readonly nonFiniteIndices: readonly number[];
  /**
   * For a graph that recorded this step, and whose replays write to its memory: where the scale lies, float32 []. That
   * memory belongs to the graph from here on.
   */
  lend?(): Tensor;
}

/** What a scaler keeps of a step: whether a gradient was not finite (not zero then), and the scale of its loss. */
export const FOUND = 0;
export const SCALE = 1;

/**
 * One whose numbers stay on the device until somebody asks. May be read at any time, before the step's update and long
 * after it.
 */
export class LateStep implements ScalerStep {
  readonly #records: LateNumbers;
  readonly #row: LateRow;
  readonly #find: () => readonly number[];
  #numbers: readonly number[] | null = null;
  #nonFinite: readonly number[] | null = null;

  /** @param find - Looks for the gradients that are not finite; returns none when it is too late. */
  constructor(records: LateNumbers, row: LateRow, find: () => readonly number[]) {
    this.#records = records;
    this.#row = row;
    this.#find = find;
    records.remember(row, (numbers) => {
      this.#numbers = numbers;
    });
  }

  /** Of a step that is lent: what the latest replay wrote. */
  #read(column: number): number {
    if (this.#numbers === null) this.#records.readAll();
    return this.#numbers?.[column] ?? (this.#row.values[column] as Tensor).item();
  }
  get stepped(): boolean {
    return this.#read(FOUND) === 0;
  }
  get lossScale(): number {
    return this.#read(SCALE);
  }
  get nonFiniteIndices(): readonly number[] {
    return (this.#nonFinite ??= this.stepped ? [] : this.#find());
  }

  lend(): Tensor {
    this.#records.retire(this.#row);
    return this.#row.values[SCALE] as Tensor;
  }
}
