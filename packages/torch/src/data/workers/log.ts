/** Where threads stood after each of the last batches: what a pass that is resumed goes on from. */
import { ArgumentError } from "../../errors.js";
import type { Workers } from "../loader-state.js";

/** Whoever reads ahead is so many batches ahead, at most. */
const KEPT = 32;

export class WorkersLog {
  readonly #states: { readonly position: number; readonly workers: Workers }[];

  constructor(position: number, begin: Workers) {
    this.#states = [{ position, workers: begin }];
  }

  get now(): Workers {
    return this.#latest.workers;
  }
  get #latest(): { readonly position: number; readonly workers: Workers } {
    return this.#states[this.#states.length - 1] as { readonly position: number; readonly workers: Workers };
  }

  gave(worker: number, random: Uint8Array): void {
    const { position, workers } = this.#latest;
    this.#states.push({
      position: position + 1,
      workers: {
        ...workers,
        last: worker,
        given: workers.given.map((n, i) => (i === worker ? n + 1 : n)),
        random: workers.random.map((state, i) => (i === worker ? random : state)),
      },
    });
    if (this.#states.length > KEPT) this.#states.shift();
  }
  /** A stream has ended: known from now on, whatever the position. */
  dry(worker: number): void {
    const { position, workers } = this.#latest;
    this.#states[this.#states.length - 1] = {
      position,
      workers: { ...workers, dry: workers.dry.map((d, i) => d || i === worker) },
    };
  }

  at(position: number): Workers {
    const found = this.#states.find((s) => s.position === position);
    if (found !== undefined) return found.workers;
    throw new ArgumentError(
      "stateDict",
      `position to be of one of the last ${this.#states.length - 1} batches given`,
      position,
      "Of earlier ones it is not known where the workers stood.",
    );
  }
}
