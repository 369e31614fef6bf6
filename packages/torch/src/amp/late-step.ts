/** What became of a step whose numbers stay on the device until somebody asks. */
import type { LateNumbers, LateRow } from "../late-numbers.js";
import type { Tensor } from "../tensor/tensor.js";
import type { ScalerStep } from "./grad-scaler.js";

/** What a scaler keeps of a step: whether a gradient was not finite (not zero then), and the scale of its loss. */
export const FOUND = 0;
export const SCALE = 1;

/** May be read at any time, before the step's update and long after it. */
export class LateStep implements ScalerStep {
  readonly #records: LateNumbers;
  readonly #row: LateRow;
  readonly #find: () => readonly number[];
  #numbers: readonly number[] | null = null;
  #nonFinite: readonly number[] | null = null;

  /** @param find - Looks for the gradients that are not finite; gives none when it is too late. */
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
