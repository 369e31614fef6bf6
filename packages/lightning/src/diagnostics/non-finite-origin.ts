import type { DType } from "@nbit/torch";

/** Where numbers stopped being finite. */
export interface NonFiniteOrigin {
  readonly phase: "forward" | "backward";
  /** Dotted name; "" for the step method itself. */
  readonly module: string;
  /** What the program called, such as `softmax`, or a backward node such as `SqrtBackward0`. */
  readonly operator: string;
  /** What inside it did it, where that is another one: `the cast float32 → float16`. */
  readonly inside: string | null;
  /** Of what came out. */
  readonly dtype: DType | null;
  readonly kind: "nan" | "inf";
  /** NaN came of infinities: where these began. */
  readonly infinityFrom: NonFiniteOrigin | null;
}

/** One of several processes whose own batch made what is not finite. */
export interface RankOverflow {
  readonly rank: number;
  /** Parameters whose gradients of that batch are not finite, in the module's order. */
  readonly parameters: readonly string[];
  /** The operator that made the first such number; null: its batch held it, or nobody knows. */
  readonly origin: NonFiniteOrigin | null;
  /** The same in words. */
  readonly text: string;
}
