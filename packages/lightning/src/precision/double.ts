import type { PrecisionEntry } from "./entry.js";
import { allIn } from "./facts.js";
import type { PrecisionDTypes } from "./facts.js";
import { TruePrecision } from "./true.js";

declare module "./names.js" {
  interface PrecisionNames {
    "64-true": 64 | "64";
  }
}

/** 64-true: parameters, inputs and everything computed from them in float64. */
export class DoublePrecision extends TruePrecision {
  readonly name = "64-true";
  protected readonly dtype = "float64";
  readonly dtypes: PrecisionDTypes = float64True.dtypes;
}

export const float64True: PrecisionEntry<"64-true"> = {
  name: "64-true",
  aliases: [64, "64"],
  otherNames: ["fp64", "float64", "double"],
  dtypes: allIn("float64"),
  needs: null,
  uniformWeights: true,
  scalesLoss: false,
  label: "float64",
  summary: "float64",
  plugin: DoublePrecision,
  create: () => new DoublePrecision(),
};
