/** What one lowering is compared in: a few tensors and what is done with them. */
import { manualSeed, rand, randint, randn, type DType, type Tensor } from "@nbit/torch";

/** A shape of normal numbers with a gradient, or what else a tensor holds. */
export type Spec =
  | readonly number[]
  | {
      readonly shape: readonly number[];
      /** "unit": in (0.05, 0.95). "positive": in (0.1, 2.1). "whole": below `high`, int64. "plain": normal, no gradient. */
      readonly of: "unit" | "positive" | "whole" | "flags" | "plain";
      readonly low?: number;
      readonly high?: number;
      readonly dtype?: DType;
    };
export interface Case {
  readonly name: string;
  readonly inputs: Readonly<Record<string, Spec>>;
  readonly run: (t: Readonly<Record<string, Tensor>>) => Tensor | readonly Tensor[];
  /** Default: float32 and bfloat16. */
  readonly dtypes?: readonly DType[];
  /** Whether the recorded gradient is compared too. Default true. */
  readonly backward?: boolean;
  /** Largest difference over the largest number. Default: 2e-6 in float32, 2⁻⁷ in bfloat16. */
  readonly within?: Partial<Readonly<Record<DType, number>>>;
}
export type Inputs = Case["inputs"];

export function made(spec: Spec, dtype: DType): Tensor {
  if (!("of" in spec)) return randn([...spec], { dtype }).requiresGrad_();
  const shape = [...spec.shape];
  switch (spec.of) {
    case "unit":
      return rand(shape).mul(0.9).add(0.05).to(dtype).requiresGrad_();
    case "positive":
      return rand(shape).mul(2).add(0.1).to(dtype).requiresGrad_();
    case "plain":
      return randn(shape).to(spec.dtype ?? dtype);
    case "flags":
      return rand(shape).gt(0.5);
    case "whole":
      return randint(spec.low ?? 0, spec.high ?? 10, shape, { dtype: spec.dtype ?? "int64" });
  }
}
export function tensorsOf(c: Case, dtype: DType): Record<string, Tensor> {
  manualSeed(7);
  return Object.fromEntries(Object.entries(c.inputs).map(([name, spec]) => [name, made(spec, dtype)]));
}
/** A family of cases over one shape each. */
export const each = (
  names: readonly string[],
  inputs: Inputs,
  run: (name: string) => Case["run"],
  more: Partial<Case> = {},
): Case[] => names.map((name) => ({ name, inputs, run: run(name), ...more }));
