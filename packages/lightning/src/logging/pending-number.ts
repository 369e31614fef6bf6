import type { DType } from "@nbit/torch";

/** A logged number that a device is still computing: whoever reads it waits. */
export class PendingNumber {
  readonly dtype: DType;
  readonly #read: () => number;
  #value: number | null = null;

  constructor(dtype: DType, read: () => number) {
    this.dtype = dtype;
    this.#read = read;
  }
  /** Waits for the device, once. */
  value(): number {
    return (this.#value ??= this.#read());
  }
}
