import { atMost, checkOptions, kinds, type OptionNames, verbatim } from "@nbit/torch";
import {
  QUANTIZE_OPTIONS,
  QuantizedLinear,
  quantizeWeights,
  type ConversionReport,
  type QuantizeWeightsOptions,
  type WeightFormat,
} from "@nbit/lowbit";
import type { nn, optim } from "@nbit/torch";
import type { PrecisionDescription } from "../diagnostics/explain.js";
import { MisconfigurationError, misconfigured } from "../errors.js";
import { allIn, type PrecisionDTypes } from "./facts.js";
import { TruePrecision } from "./true.js";

export interface QuantizedPrecisionOptions extends Omit<QuantizeWeightsOptions, "format"> {
  /** Everything but the quantized weights, and what they compute in. Default "bfloat16". */
  readonly dtype?: "float32" | "bfloat16" | "float16";
}
const NAMES: OptionNames<QuantizedPrecisionOptions> = {
  ...QUANTIZE_OPTIONS,
  dtype: kinds.oneOf("float32", "bfloat16", "float16"),
};

/**
 * Frozen weights in nf4, nf4-dq, fp4, fp4-dq or int8, everything else in one floating dtype: Lightning's
 * `BitsandbytesPrecision`. Only a plugin, as there.
 *
 * Linear layers are quantized when a run begins, from the weights that the module has then; what learns is what is
 * left: add adapters (`addLora`) in the module's constructor, or leave layers out with `filter`.
 * @example new Trainer({ plugins: new QuantizedPrecision("nf4", { filter: (_, path) => path !== "head" }) });
 */
export class QuantizedPrecision extends TruePrecision {
  readonly name: "32-true" | "bf16-true" | "16-true";
  protected readonly dtype: "float32" | "bfloat16" | "float16";
  readonly dtypes: PrecisionDTypes;
  readonly #options: QuantizeWeightsOptions;
  #conversion: ConversionReport | null = null;

  constructor(format: WeightFormat, options: QuantizedPrecisionOptions = {}) {
    super();
    atMost("QuantizedPrecision", arguments, 2);
    checkOptions("QuantizedPrecision", options, NAMES, misconfigured("QuantizedPrecision", "ERR_PRECISION_PLUGIN"));
    const { dtype = "bfloat16", ...rest } = options;
    const names = { float32: "32-true", bfloat16: "bf16-true", float16: "16-true" } as const;
    if (!["nf4", "nf4-dq", "fp4", "fp4-dq", "int8"].includes(format))
      throw new MisconfigurationError(
        "QuantizedPrecision",
        'format to be one of "nf4", "nf4-dq", "fp4", "fp4-dq", "int8"',
        format,
        undefined,
        "ERR_PRECISION_PLUGIN",
      );
    this.name = names[dtype];
    this.dtype = dtype;
    this.dtypes = allIn(dtype);
    this.#options = { ...rest, format };
  }

  /** What became of every linear layer; null before the first run. */
  get conversion(): ConversionReport | null {
    return this.#conversion;
  }

  /** Quantized first: rounding to 16 bits before would be a second error. */
  override convertModule(module: nn.Module): void {
    this.#conversion = quantizeWeights(module, this.#options);
    super.convertModule(module);
  }

  override connect(module: nn.Module, optimizers: readonly optim.Optimizer[]): void {
    super.connect(module, optimizers);
    if (optimizers.length > 0 && !module.parameters().some((p) => p.requiresGrad))
      throw new MisconfigurationError(
        "QuantizedPrecision",
        "something that learns beside the quantized weights",
        verbatim("a module whose parameters are all frozen"),
        "Add adapters with addLora(module, { rank }) in its constructor, or leave layers out with filter.",
        "ERR_PRECISION_FROZEN",
      );
  }

  override describe(): PrecisionDescription {
    const layers = this.#conversion?.layers;
    const quantized = layers?.filter((l) => l.converted || l.reason.startsWith("quantized already")).length;
    const which = layers === undefined ? "linear layers" : `${quantized} of ${layers.length} linear layers`;
    return {
      reasons: [`weights of ${which} frozen in ${this.#options.format}`],
      memory: (module) => ({ dtypes: this.dtypes, otherWeights: codesOf(module) }),
    };
  }
}

/** Bytes of quantized weights. */
function codesOf(module: nn.Module): number {
  let bytes = 0;
  for (const m of module.modules()) if (m instanceof QuantizedLinear) bytes += m.weightBytes;
  return bytes;
}
