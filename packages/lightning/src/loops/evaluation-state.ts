/** What a checkpoint holds of an evaluation loop. */
export interface EvaluationState {
  /** Batches that each loader has given, over all runs. */
  readonly seen: readonly number[];
  /** What each loader carries from one run to the next, such as its own generators; null where it says nothing. */
  readonly loaders: readonly (Record<string, unknown> | null)[];
}
