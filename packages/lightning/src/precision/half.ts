import { atMost } from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";
import type { nn, optim, Tensor } from "@nbit/torch";
import type { PrecisionEntry } from "./entry.js";
import { allIn } from "./facts.js";
import type { GraphSupport } from "./graph-support.js";
import type { PrecisionStep } from "./precision.js";
import type { PrecisionDTypes } from "./facts.js";
import { TruePrecision } from "./true.js";
import { UpdateWatch } from "../diagnostics/vanishing.js";

declare module "./names.js" {
  interface PrecisionNames {
    "16-true": never;
    "bf16-true": never;
  }
}

/**
 * 16-true and bf16-true: parameters, gradients and optimizer state in 16 bits, without loss scaling.
 *
 * Half the memory of float32 for all three. float16 has 11 significant bits and overflows at 65,504; bfloat16 has 8 and
 * float32's range. An update smaller than half the spacing of numbers near its weight is lost: 1 + 0.001 stays 1 in
 * bfloat16. The optimizers' `rounding: "kahan"` or `"stochastic"` keeps such updates; when most are lost, a warning
 * says so once.
 */
export class HalfPrecision extends TruePrecision {
  readonly name: "16-true" | "bf16-true";
  protected readonly dtype: "float16" | "bfloat16";
  readonly dtypes: PrecisionDTypes;

  constructor(precision: "16-true" | "bf16-true" = "16-true") {
    atMost("HalfPrecision", arguments, 1);
    super();
    if (precision !== "16-true" && precision !== "bf16-true") {
      throw new MisconfigurationError(
        "HalfPrecision",
        'precision to be "16-true" or "bf16-true"',
        precision,
        undefined,
        "ERR_PRECISION_PLUGIN",
      );
    }
    this.name = precision;
    const dtype = precision === "16-true" ? "float16" : "bfloat16";
    this.dtype = dtype;
    this.dtypes = allIn(dtype);
  }

  #watch = new UpdateWatch();

  override connect(module: nn.Module, optimizers: readonly optim.Optimizer[]): void {
    super.connect(module, optimizers);
    this.#watch = new UpdateWatch();
  }

  override get graphs(): GraphSupport {
    return this.#graphs;
  }
  readonly #graphs: GraphSupport = {
    unsupportedReason: null,
    beginReplays: () => this.#watch.finish(), // a recording would look at every replay
  };

  override step(optimizer: optim.Optimizer, closure?: () => Tensor): PrecisionStep {
    return this.#watch.around(optimizer, () => super.step(optimizer, closure));
  }
}

export const float16True: PrecisionEntry<"16-true"> = {
  name: "16-true",
  dtypes: allIn("float16"),
  needs: "float16",
  uniformWeights: true,
  scalesLoss: false,
  label: "float16",
  summary: "float16 parameters",
  plugin: HalfPrecision,
  create: () => new HalfPrecision("16-true"),
};

export const bfloat16True: PrecisionEntry<"bf16-true"> = {
  name: "bf16-true",
  dtypes: allIn("bfloat16"),
  needs: "bfloat16",
  uniformWeights: true,
  scalesLoss: false,
  label: "bfloat16",
  summary: "bfloat16 parameters",
  plugin: HalfPrecision,
  create: () => new HalfPrecision("bf16-true"),
};
