import type { PrecisionName, PrecisionNames } from "./names.js";
import type { Precision } from "./precision.js";
import type { PrecisionDTypes } from "./facts.js";

/** Arithmetic that not every device has. */
export type NativeArithmetic = "float16" | "bfloat16" | "float8";

export type AmpLevel = "O0" | "O1" | "O2" | "O3";

/** What a factory is told. */
export interface PrecisionRequest {
  readonly name: PrecisionName;
  /** "cpu", "cuda", …: the device type whose operators run. The plugin's `onDevice` is told it, too. */
  readonly deviceType: string;
  /** For backends with levels; null otherwise. */
  readonly ampLevel: AmpLevel | null;
}

export type PrecisionFactory = (request: PrecisionRequest) => Precision;

/**
 * All that is to be said of a precision. It stands in the precision's own file, and the catalogue joins them: parsing,
 * resolving, validation in another precision, precisions of modules, what a TPU has instead, doctor's table and the
 * dashboard's labels follow from it.
 */
export interface PrecisionEntry<Name extends PrecisionName = PrecisionName> {
  /** Canonical, such as "bf16-mixed". */
  readonly name: Name;
  /** Other spellings that are accepted. The shortest of all is the one that messages use. */
  readonly aliases?: readonly PrecisionNames[Name][];
  /** What other systems call it: not accepted, but a message then suggests this precision. */
  readonly otherNames?: readonly string[];
  readonly dtypes: PrecisionDTypes;
  /** What is slow where the device has to emulate it: a warning says so. Null: every device has what it takes. */
  readonly needs: NativeArithmetic | null;
  /**
   * Whether all weights are the module's own, in `dtypes.parameters`: they can be cast for a while, as
   * `validationPrecision` does, and parts of a model can run in it beside parts in others.
   */
  readonly uniformWeights: boolean;
  /**
   * Whether its gradients need a loss scaler, which then scales the loss of a model with one part in this precision.
   */
  readonly scalesLoss: boolean;
  /** A few words for tables: "bfloat16 mixed". */
  readonly label: string;
  /** What runs, as a phrase: "autocast to bfloat16". */
  readonly summary: string;
  /** The class of the plugins that are this precision. Not those of subclasses, which may hold weights otherwise. */
  readonly plugin: abstract new (...args: never[]) => Precision;
  readonly create: PrecisionFactory;
}

/** Whether weights are cast where operators use them. */
export function autocasts({ dtypes }: PrecisionEntry): boolean {
  return dtypes.compute !== dtypes.parameters;
}
