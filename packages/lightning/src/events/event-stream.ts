import type { TrainerEvent } from "./trainer-event.js";

const DONE: IteratorReturnResult<undefined> = { done: true, value: undefined };

/**
 * Events for one reader, who may be slower than the run: of so many that wait, the oldest `batchEnd` gives way to a new
 * one, or the oldest of all where none is of a batch; the reader is told how many. A run waits for no reader.
 */
export class EventStream implements AsyncIterableIterator<TrainerEvent> {
  readonly everyNBatches: number;
  readonly #size: number;
  readonly #onClose: (stream: EventStream) => void;
  readonly #buffer: TrainerEvent[] = [];
  readonly #waiting: ((result: IteratorResult<TrainerEvent, undefined>) => void)[] = [];
  #dropped = 0;
  #ended = false;

  constructor(
    { everyNBatches, bufferSize }: { readonly everyNBatches: number; readonly bufferSize: number },
    onClose: (stream: EventStream) => void,
  ) {
    this.everyNBatches = everyNBatches;
    this.#size = bufferSize;
    this.#onClose = onClose;
  }

  push(event: TrainerEvent): void {
    const reader = this.#waiting.shift();
    if (reader !== undefined) return reader({ done: false, value: event });
    if (this.#buffer.length >= this.#size) {
      const batch = this.#buffer.findIndex(({ type }) => type === "batchEnd");
      this.#buffer.splice(Math.max(0, batch), 1);
      this.#dropped++;
    }
    this.#buffer.push(event);
  }

  /** Nothing comes after what is buffered. */
  finish(): void {
    this.#ended = true;
    for (const reader of this.#waiting.splice(0)) reader(DONE);
  }

  next(): Promise<IteratorResult<TrainerEvent, undefined>> {
    if (this.#dropped > 0) {
      const count = this.#dropped;
      this.#dropped = 0;
      return Promise.resolve({ done: false, value: { type: "dropped", count } });
    }
    const value = this.#buffer.shift();
    if (value !== undefined) return Promise.resolve({ done: false, value });
    if (this.#ended) return Promise.resolve(DONE);
    return new Promise((resolve) => void this.#waiting.push(resolve));
  }

  /** What `break` calls. */
  return(): Promise<IteratorReturnResult<undefined>> {
    this.#onClose(this);
    this.#buffer.length = 0;
    this.#dropped = 0;
    this.finish();
    return Promise.resolve(DONE);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
