/** Bytes of one process, without activations. */
export interface RankForecast {
  readonly parameters: number;
  readonly gradients: number;
  readonly optimizerState: number;
  /** Buckets that are no gradients' memory. */
  readonly buckets: number;
  /** Held between backward and step: all of the above. */
  readonly total: number;
  /** On top while units run: parameters of two of them, gathered. */
  readonly gathered: number;
}

/** What one of the processes of a Trainer will hold. */
export interface ProcessForecast extends RankForecast {
  /** Name of the strategy. */
  readonly strategy: string;
  readonly worldSize: number;
  readonly rank: number;
}
