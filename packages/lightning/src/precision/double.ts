import { TruePrecision } from "./true.js";

/** 64-true: parameters, inputs and everything computed from them in float64. */
export class DoublePrecision extends TruePrecision {
  readonly name = "64-true";
  protected readonly dtype = "float64";
  readonly dtypes = { parameters: "float64", compute: "float64", gradients: "float64", optimizerState: "float64", checkpoint: "float64" } as const;
}
