/** Gives control back to Node's event loop now and then, so that timers, signals and sockets stay alive in a busy loop. */
export class Breather {
  #last = performance.now();

  /** A promise when it is time to breathe, else null. */
  due(): Promise<void> | null {
    const now = performance.now();
    if (now - this.#last < 20) return null;
    return new Promise((resolve) => {
      setImmediate(() => {
        this.#last = performance.now();
        resolve();
      });
    });
  }
}
