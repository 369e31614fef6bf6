import { Precision } from "./precision.js";

/** 32-true: everything in float32. Nothing to convert, nothing to scale. */
export class FullPrecision extends Precision {
  readonly name = "32-true";
  readonly dtypes = { parameters: "float32", compute: "float32", gradients: "float32", optimizerState: "float32", checkpoint: "float32" } as const;
}
