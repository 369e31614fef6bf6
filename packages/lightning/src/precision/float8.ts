import { convertToFloat8, FLOAT8_OPTIONS, type ConversionReport, type ConvertToFloat8Options } from "@nbit/lowbit";
import { atMost, checkOptions, kinds, type DType, type nn, type OptionNames } from "@nbit/torch";
import type { PrecisionDescription } from "../diagnostics/explain.js";
import { misconfigured } from "../errors.js";
import { warn } from "../warnings.js";
import type { PrecisionEntry } from "./entry.js";
import { allIn, type PrecisionDTypes } from "./facts.js";
import { TruePrecision } from "./true.js";

declare module "./names.js" {
  interface PrecisionNames {
    float8: "transformer-engine";
    "float8-float16": "transformer-engine-float16";
  }
}

/** Lightning's names are accepted as they are in `precision`; there is no Transformer Engine inside. */
const DTYPES = {
  float8: "bfloat16",
  "float8-float16": "float16",
  "transformer-engine": "bfloat16",
  "transformer-engine-float16": "float16",
} as const;

export interface Float8PrecisionOptions extends ConvertToFloat8Options {
  /** "float8" (default): the rest in bfloat16; "float8-float16": in float16. */
  readonly precision?: "float8" | "float8-float16" | "transformer-engine" | "transformer-engine-float16";
}
const NAMES: OptionNames<Float8PrecisionOptions> = {
  ...FLOAT8_OPTIONS,
  precision: kinds.oneOf("float8", "float8-float16", "transformer-engine", "transformer-engine-float16"),
};

/**
 * float8 and float8-float16: parameters, gradients, optimizer state and all other operators in 16 bits, products of
 * linear layers in float8.
 *
 * Linear layers are replaced by `Float8Linear` when a run begins; {@link conversion} lists every layer and why it was
 * or was not. Names and shapes of parameters stay, so that checkpoints go to other precisions and back (the recipe
 * "delayed" adds its histories). Without loss scaling: float8 gradients have a scale of their own.
 */
export class Float8Precision extends TruePrecision {
  readonly name: "float8" | "float8-float16";
  protected readonly dtype: DType;
  readonly dtypes: PrecisionDTypes;
  readonly #options: ConvertToFloat8Options;
  #conversion: ConversionReport | null = null;

  constructor(options: Float8PrecisionOptions = {}) {
    super();
    atMost("Float8Precision", arguments, 1);
    checkOptions("Float8Precision", options, NAMES, misconfigured("Float8Precision", "ERR_PRECISION_PLUGIN"));
    const { precision = "float8", ...convert } = options;
    const dtype = DTYPES[precision];
    this.name = dtype === "bfloat16" ? "float8" : "float8-float16";
    this.dtype = dtype;
    this.dtypes = allIn(dtype);
    this.#options = convert;
  }

  /** What became of every layer; null before the first run. */
  get conversion(): ConversionReport | null {
    return this.#conversion;
  }

  override convertModule(module: nn.Module): void {
    super.convertModule(module);
    const report = convertToFloat8(module, this.#options);
    this.#conversion = report;
    const runs = report.layers.some((l) => l.converted || l.reason.startsWith("float8 already"));
    if (!runs)
      warn(
        "WARN_FLOAT8_NOTHING",
        `precision ${JSON.stringify(this.name)}: no layer runs in float8, everything runs in ${this.dtype}.${report.layers.length === 0 ? " The module has no linear layers." : ` ${report.layers.map((l) => `${l.path}: ${l.reason}`).join("; ")}.`}`,
      );
  }

  override describe(): PrecisionDescription {
    const layers = this.#conversion?.layers;
    const inFloat8 = layers?.filter((l) => l.converted || l.reason.startsWith("float8 already")).length;
    const which = layers === undefined ? "linear layers" : `${inFloat8} of ${layers.length} layers`;
    return { reasons: [`products of ${which} in float8, recipe ${this.#options.recipe ?? "tensorwise"}`] };
  }
}

/**
 * Layers are replaced when a run begins: neither can weights be cast for a while, nor is a part of a model left alone.
 */
const SHARED = { needs: "float8", uniformWeights: false, scalesLoss: false, plugin: Float8Precision } as const;

export const float8: PrecisionEntry<"float8"> = {
  ...SHARED,
  name: "float8",
  aliases: ["transformer-engine"],
  otherNames: ["fp8"],
  dtypes: allIn("bfloat16"),
  label: "float8, rest bfloat16",
  summary: "float8 products in linear layers, the rest in bfloat16",
  create: () => new Float8Precision({ precision: "float8" }),
};

export const float8InFloat16: PrecisionEntry<"float8-float16"> = {
  ...SHARED,
  name: "float8-float16",
  aliases: ["transformer-engine-float16"],
  dtypes: allIn("float16"),
  label: "float8, rest float16",
  summary: "float8 products in linear layers, the rest in float16",
  create: () => new Float8Precision({ precision: "float8-float16" }),
};
