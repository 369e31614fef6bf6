/**
 * What lightning's catalogue of precisions says, without what makes them: plain data, for programs that load no native
 * code.
 */
export interface PrecisionFacts {
  /** Canonical, such as "bf16-mixed". */
  readonly name: string;
  /** Other spellings that are accepted. */
  readonly aliases: readonly (string | number)[];
  readonly dtypes: {
    readonly parameters: string;
    readonly compute: string;
    readonly gradients: string;
    readonly optimizerState: string;
    readonly checkpoint: string;
  };
  /** Arithmetic that is slow where the device has to emulate it; null: every device has what it takes. */
  readonly needs: "float16" | "bfloat16" | "float8" | null;
  readonly uniformWeights: boolean;
  readonly scalesLoss: boolean;
  /** A few words for tables. */
  readonly label: string;
  /** What runs, as a phrase. */
  readonly summary: string;
}

/** In the order in which tables list them. Generated: see tools/generate-precisions.mjs. */
export const PRECISIONS: readonly PrecisionFacts[];
