/** Programs whose Trainers do something else than train: `nbit explain` runs them up to their first fit. */
import type { TrainerOptions } from "../trainer-options.js";
import type { TrainerView } from "../trainer-view.js";

export interface Rehearsal {
  /** Options of a Trainer that is made, in the place of those that it is given. */
  options(given: TrainerOptions): TrainerOptions;
  /** In the place of a call of `fit`, which `fit()` would carry out. */
  fit(trainer: TrainerView, fit: () => Promise<void>): Promise<void>;
}

let current: Rehearsal | null = null;

/** From here on Trainers of this process rehearse. Null: they train again. */
export function rehearse(rehearsal: Rehearsal | null): void {
  current = rehearsal;
}
export function currentRehearsal(): Rehearsal | null {
  return current;
}

/** Options under which a fit shows, writes and validates nothing. */
export const SILENT_FIT: TrainerOptions = {
  logger: false,
  callbacks: [],
  enableCheckpointing: false,
  enableProgressBar: false,
  enableModelSummary: false,
  numSanityValSteps: 0,
  limitValBatches: 0,
  fastDevRun: false,
};
