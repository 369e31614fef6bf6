/** A normal distribution cut to an interval. */
import { ArgumentError } from "../../errors.js";
import { byDefault, real } from "../../kinds.js";
import type { Generator } from "../../ops/generator.js";
import * as ops from "../../ops/index.js";
import type { OptionNames } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import { scope } from "../../tensor/scope.js";
import type { Tensor } from "../../tensor/tensor.js";
import { FILL, GENERATOR, quietly, type DrawArguments } from "./common.js";

export interface TruncNormalArguments extends DrawArguments {
  /** Of the distribution before it is cut. Default 0. */
  readonly mean?: number;
  /** Likewise, > 0. Default 1. */
  readonly std?: number;
  /** The least value. Default -2. */
  readonly a?: number;
  /** The greatest value. Default 2. */
  readonly b?: number;
}
const ROWS = {
  ...FILL,
  mean: byDefault(0, real()),
  std: byDefault(1, real("(0, ∞)")),
  a: byDefault(-2, real("[-∞, ∞]")),
  b: byDefault(2, real("[-∞, ∞]")),
  generator: GENERATOR,
} satisfies OptionNames<TruncNormalArguments>;
const read = signature("init.truncNormal_", ROWS);

/**
 * A normal distribution cut to [a, b], by rejection: of normal values where [a, b] holds more than 0.3 of them, else of
 * uniform ones. Arguments: tensor, mean, std, a, b, generator; see {@link TruncNormalArguments}. Draws as PyTorch 2.13
 * does; waits for the device.
 */
export function truncNormal_(
  ...given: Call<
    TruncNormalArguments,
    ["tensor", "mean", "std", "a", "b", "generator"],
    [tensor: Tensor, mean?: number, std?: number, a?: number, b?: number, generator?: Generator | null]
  >
): Tensor {
  const { tensor, mean, std, a, b, generator } = read(given);
  if (a > b) throw new ArgumentError("init.truncNormal_", `a ≤ b (${b})`, a);
  if (tensor.device.type === "meta" || tensor.numel() === 0) return tensor;
  if (mean < a - 2 * std || mean > b + 2 * std)
    process.emitWarning(
      `init.truncNormal_: mean (${mean}) is more than two std from [${a}, ${b}]: values may be badly distributed.`,
      { type: "NbitWarning", code: "WARN_INIT" },
    );
  const below = (x: number): number => (1 + erf((x - mean) / std / Math.SQRT2)) / 2;
  const cut = below(b) - below(a) > 0.3 ? cutNormal : cutUniform;
  return quietly(tensor, () => scope(() => cut(tensor, mean, std, a, b, generator)));
}

/** Draws what lies outside anew, until nothing does. */
function cutNormal(t: Tensor, mean: number, std: number, a: number, b: number, generator: Generator | null): void {
  // As t's dtype holds them, so that a value on the bound is inside.
  const [low, high] = [a, b].map((bound) => ops.full([], bound, { dtype: t.dtype }).item()) as [number, number];
  let drawn = t.normal_(mean, std, { generator });
  for (;;) {
    const outside = drawn.lt(low).logicalOr(drawn.gt(high));
    if (outside.any().item() === 0) break;
    drawn = ops.where(outside, ops.emptyLike(drawn).normal_(mean, std, { generator }), drawn);
  }
  if (drawn !== t) t.copy_(drawn);
}

/** Takes a uniform value with the probability that is its density over the greatest; draws the others anew. */
function cutUniform(t: Tensor, mean: number, std: number, a: number, b: number, generator: Generator | null): void {
  const peak = -0.5 * ((Math.max(a, Math.min(mean, b)) - mean) / std) ** 2;
  const candidates = ops.emptyLike(t);
  const chance = ops.emptyLike(t);
  const refused = (): Tensor => {
    const density = candidates.sub_(mean).div_(std).pow_(2).mul_(-0.5).sub_(peak);
    return chance.uniform_(0, 1, { generator }).log_().gt(density);
  };
  candidates.copy_(t.uniform_(a, b, { generator }));
  let drawn = t;
  for (let pending = refused(); pending.any().item() !== 0;) {
    candidates.uniform_(a, b, { generator });
    drawn = ops.where(pending, candidates, drawn);
    pending = ops.where(pending, refused(), pending);
  }
  if (drawn !== t) t.copy_(drawn);
}

function erf(x: number): number {
  const t = ops.special.erf(ops.scalarTensor(x, { dtype: "float64" }));
  const value = t.item();
  t.dispose();
  return value;
}
