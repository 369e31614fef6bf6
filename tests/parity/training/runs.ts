/** What make_fixtures.py records of one run. */
export interface RunSpec {
  readonly name: string;
  readonly model: "mlp" | "cnn";
  readonly precision: "32-true" | "64-true" | "bf16-mixed" | "16-mixed";
  readonly optimizer: "adamw" | "fused" | "sgd";
  readonly accumulate: number;
  readonly clip: number | null;
  readonly algorithm: "norm" | "value";
  readonly init_scale?: number;
  readonly growth_interval?: number;
}

export interface RecordedRun extends RunSpec {
  /** Hashes of the weights' bytes, by name. */
  readonly initial: Readonly<Record<string, string>>;
  readonly final: Readonly<Record<string, string>>;
  /** The positions in the data set of each batch's elements. */
  readonly order: readonly (readonly number[])[];
  /** Bits of doubles. */
  readonly losses: readonly string[];
  /** Of the unscaled gradients, before clipping, at each optimizer step. */
  readonly norms: readonly string[];
  readonly metrics?: Readonly<Record<string, string>>;
  /** float16: the scale of each optimizer step, which steps were skipped, and the scale after the last update. */
  readonly scales?: readonly number[];
  readonly skipped?: readonly number[];
  readonly lastScale?: number;
}
