/** A row of the log whose numbers a device is still computing: it is written when the next step is under way. */
export class LateRow {
  #write: (() => Promise<unknown> | null) | null = null;

  /** @param write - Reads the numbers and gives them to the loggers. The row before is written by now. */
  hold(write: () => Promise<unknown> | null): void {
    this.#write = write;
  }

  /** Write the row that is held, if there is one. A promise only where a logger returns one. */
  write(): Promise<unknown> | null {
    const write = this.#write;
    this.#write = null;
    return write?.() ?? null;
  }
}
