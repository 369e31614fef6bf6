import type { PrecisionEntry } from "./entry.js";
import { Precision } from "./precision.js";
import { allIn } from "./facts.js";
import type { PrecisionDTypes } from "./facts.js";

declare module "./names.js" {
  interface PrecisionNames {
    "32-true": 32 | "32";
  }
}

/** 32-true: everything in float32. Nothing to convert, nothing to scale. */
export class FullPrecision extends Precision {
  readonly name = "32-true";
  readonly dtypes: PrecisionDTypes = float32True.dtypes;
}

export const float32True: PrecisionEntry<"32-true"> = {
  name: "32-true",
  aliases: [32, "32"],
  otherNames: ["fp32", "float32", "float"],
  dtypes: allIn("float32"),
  needs: null,
  uniformWeights: true,
  scalesLoss: false,
  label: "float32",
  summary: "float32",
  plugin: FullPrecision,
  create: () => new FullPrecision(),
};
