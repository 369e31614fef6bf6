import { setImmediate as turn } from "node:timers/promises";
import { checkOptions, kinds, withDefaults, type OptionNames } from "@nbit/torch";
import { misconfigured } from "../errors.js";
import { EventStream } from "./event-stream.js";
import type { TrainerEvent } from "./trainer-event.js";

export interface EventsOptions {
  /** Every how many batches of a stage there is a `batchEnd`. Each reads the metrics, and so waits for a GPU. Default 1. */
  readonly everyNBatches?: number;
  /** How many events wait for a reader at most. Default 1000. */
  readonly bufferSize?: number;
}
const OPTIONS = {
  everyNBatches: kinds.byDefault(1, kinds.whole("[1, ∞)")),
  bufferSize: kinds.byDefault(1000, kinds.whole("[1, ∞)")),
} satisfies OptionNames<EventsOptions>;

/** Who reads the events of a Trainer. Without readers it costs a look at the size of a set. */
export class EventHub {
  readonly #streams = new Set<EventStream>();

  open(options: EventsOptions): AsyncIterableIterator<TrainerEvent> {
    checkOptions("Trainer.events", options, OPTIONS, misconfigured("Trainer.events", "ERR_EVENTS"));
    const stream = new EventStream(withDefaults(options, OPTIONS), (one) => this.#remove(one));
    if (this.#streams.size === 0) process.on("warning", this.#onWarning);
    this.#streams.add(stream);
    return stream;
  }

  #remove(stream: EventStream): void {
    if (this.#streams.delete(stream) && this.#streams.size === 0) process.removeListener("warning", this.#onWarning);
  }

  get hasReaders(): boolean {
    return this.#streams.size > 0;
  }

  emit(event: TrainerEvent): void {
    for (const stream of this.#streams) stream.push(event);
  }

  /** To those whose turn it is after so many batches of a stage. */
  emitBatch(batches: number, event: () => TrainerEvent): void {
    let made: TrainerEvent | null = null;
    for (const stream of this.#streams) if (batches % stream.everyNBatches === 0) stream.push((made ??= event()));
  }

  /** A run is over, however it ended, and with it what is read of it. */
  async end(event: TrainerEvent & { readonly type: "end" }): Promise<void> {
    if (!this.hasReaders) return;
    await turn(); // warnings come in a turn of their own
    for (const stream of [...this.#streams]) {
      stream.push(event);
      stream.finish();
      this.#remove(stream);
    }
  }

  readonly #onWarning = (warning: Error & { readonly code?: unknown }): void => {
    if (warning.name !== "NbitWarning") return;
    const code = typeof warning.code === "string" ? warning.code : "";
    this.emit({ type: "warning", code, message: warning.message });
  };
}
