/** How float8 training scales: one frozen object per recipe. */
import { ArgumentError } from "@nbit/torch";

export type Float8RecipeName = "tensorwise" | "delayed" | "rowwise" | "rowwise-gw-hp";
export type Float8DType = "float8_e4m3fn" | "float8_e5m2";

export interface Float8Recipe {
  readonly name: Float8RecipeName;
  readonly brief: string;
  /** One scale per tensor, or one per row of each factor of a product. */
  readonly granularity: "tensor" | "row";
  /** Scales come from earlier amax values, not from this tensor's own. */
  readonly delayed: boolean;
  /** Output's gradients. Activations and weights are e4m3 in every recipe. */
  readonly gradient: Float8DType;
  /** The weight's gradient is computed from unrounded activations and gradients. */
  readonly exactWeightGradient: boolean;
}

/**
 * The recipes. A scale per row keeps small rows beside large ones, so its gradients need precision (e4m3) and not
 * range; one scale for a whole gradient needs range (e5m2).
 * @see Micikevicius et al., 2022, FP8 Formats for Deep Learning, arXiv:2209.05433; the combinations are those of
 * torchao and Transformer Engine.
 */
export const FLOAT8_RECIPES: Readonly<Record<Float8RecipeName, Float8Recipe>> = Object.freeze({
  tensorwise: {
    name: "tensorwise",
    brief: "one scale per tensor, from its own largest value",
    granularity: "tensor",
    delayed: false,
    gradient: "float8_e5m2",
    exactWeightGradient: false,
  },
  delayed: {
    name: "delayed",
    brief: "one scale per tensor, from the largest value of recent steps",
    granularity: "tensor",
    delayed: true,
    gradient: "float8_e5m2",
    exactWeightGradient: false,
  },
  rowwise: {
    name: "rowwise",
    brief: "one scale per row of each factor",
    granularity: "row",
    delayed: false,
    gradient: "float8_e4m3fn",
    exactWeightGradient: false,
  },
  "rowwise-gw-hp": {
    name: "rowwise-gw-hp",
    brief: "one scale per row of each factor, weight gradient in high precision",
    granularity: "row",
    delayed: false,
    gradient: "float8_e4m3fn",
    exactWeightGradient: true,
  },
});

/** @internal */
export function recipeOf(fn: string, name: unknown): Float8Recipe {
  const found =
    typeof name === "string" && Object.hasOwn(FLOAT8_RECIPES, name)
      ? FLOAT8_RECIPES[name as Float8RecipeName]
      : undefined;
  if (found === undefined)
    throw new ArgumentError(
      fn,
      `recipe to be one of ${Object.keys(FLOAT8_RECIPES)
        .map((n) => JSON.stringify(n))
        .join(", ")}`,
      name,
    );
  return found;
}
