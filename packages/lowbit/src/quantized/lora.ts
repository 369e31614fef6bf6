/** Low-rank adapters beside frozen linear layers. */
import {
  ArgumentError,
  atMost,
  checkOptions,
  type DType,
  kinds,
  NbitError,
  nn,
  noGrad,
  type OptionNames,
  outsideScopes,
  scope,
  type Tensor,
  zeros,
} from "@nbit/torch";
import { Float8Linear } from "../float8/linear.js";
import { QuantizedLinear } from "./linear.js";
import { quantizeWeight } from "./quantize.js";

export type LoraBase = nn.Linear | QuantizedLinear | Float8Linear;
export interface LoraOptions {
  /** Columns of the two factors. Default 8. */
  readonly rank?: number;
  /** The product is multiplied by alpha / rank. Default 16. */
  readonly alpha?: number;
  /** Of the adapter's input, while training. Default 0. */
  readonly dropout?: number;
}

/** @internal */
export const LORA: OptionNames<LoraOptions> = {
  rank: kinds.whole("[1, ∞)"),
  alpha: kinds.real("(0, ∞)"),
  dropout: kinds.real("[0, 1)"),
};
const BEFORE = ["unmergedWeight", "unmergedWeightAbsmax", "unmergedWeightNested"] as const;

/** @internal */
export function isLoraBase(m: unknown): m is LoraBase {
  return m instanceof nn.Linear || m instanceof QuantizedLinear || m instanceof Float8Linear;
}

/**
 * base(x) + (alpha / rank) · dropout(x) Aᵀ Bᵀ, with A `[rank, inFeatures]` and B `[outFeatures, rank]` learned and the
 * base frozen. B begins at zero, so that the layer begins as its base.
 *
 * Adapters are float32 unless the module is cast, and the sum has the base's output dtype. With the base quantized,
 * training holds a few bits per weight and float32 for a few thousandths of them.
 * @throws {ArgumentError} `LoRALinear: expected rank to be a whole number ≥ 1. Received: 0.`
 * @example
 * const layer = new LoRALinear(QuantizedLinear.from(new nn.Linear(64, 64), { format: "nf4" }), { rank: 4 });
 * layer.parameters().filter((p) => p.requiresGrad).length; // 2
 * @see Hu et al., 2021, LoRA, arXiv:2106.09685.
 */
export class LoRALinear extends nn.Module {
  readonly base: LoraBase;
  readonly loraA: nn.Parameter;
  readonly loraB: nn.Parameter;
  readonly rank: number;
  readonly alpha: number;
  readonly dropout: number;
  /**
   * What the base's weight was before a merge: buffers of a merged layer, so that its state dict says that it is merged
   * and is not taken for another's. For a quantized base, its codes and scales.
   */
  declare readonly unmergedWeight: Tensor | null;
  declare readonly unmergedWeightAbsmax: Tensor | null;
  declare readonly unmergedWeightNested: Tensor | null;

  constructor(base: LoraBase, options: LoraOptions = {}) {
    super();
    atMost("LoRALinear", arguments, 2);
    checkOptions("LoRALinear", options, LORA);
    const { rank = 8, alpha = 16, dropout = 0 } = options;
    if (!isLoraBase(base)) throw new ArgumentError("LoRALinear", "a Linear, QuantizedLinear or Float8Linear", base);
    this.base = base;
    this.rank = rank;
    this.alpha = alpha;
    this.dropout = dropout;
    base.requiresGrad_(false);
    const factory = { device: base.weight.device, dtype: "float32" } as const;
    [this.loraA, this.loraB] = scope(
      () =>
        [
          new nn.Parameter(zeros([rank, base.inFeatures], factory)),
          new nn.Parameter(zeros([base.outFeatures, rank], factory)),
        ] as const,
    );
    for (const name of BEFORE) this.registerBuffer(name, null);
    this.resetParameters();
  }
  /** A as a linear layer's weight, B zero. */
  resetParameters(): void {
    atMost("LoRALinear.resetParameters", arguments, 0);
    nn.init.kaimingUniform_(this.loraA, { a: Math.sqrt(5) });
    nn.init.zeros_(this.loraB);
  }
  get inFeatures(): number {
    return this.base.inFeatures;
  }
  get outFeatures(): number {
    return this.base.outFeatures;
  }
  get scaling(): number {
    return this.alpha / this.rank;
  }
  /** Whether the adapter is in the base's weight now. */
  get merged(): boolean {
    return this.unmergedWeight !== null;
  }

  forward(x: Tensor): Tensor {
    atMost("LoRALinear.forward", arguments, 1);
    if (this.merged) return this.base.forward(x);
    return scope(() => {
      const y = this.base.forward(x);
      const input = x.to(this.loraA.dtype);
      const dropped = this.dropout > 0 && this.training ? nn.functional.dropout(input, this.dropout, true) : input;
      const low = nn.functional.linear(nn.functional.linear(dropped, this.loraA), this.loraB);
      return y.add(low.mul(this.scaling).to(y.dtype));
    });
  }

  /** (alpha / rank) B A: what the adapter adds to the weight, float32 `[outFeatures, inFeatures]`. */
  delta(): Tensor {
    atMost("LoRALinear.delta", arguments, 0);
    return noGrad(() => scope(() => this.loraB.float().mm(this.loraA.float()).mul(this.scaling)));
  }
  /** The weight and the adapter in one matrix, without rounding it to few bits. */
  mergedWeight(dtype: DType = "float32"): Tensor {
    atMost("LoRALinear.mergedWeight", arguments, 1);
    return noGrad(() =>
      scope(() => (this.merged ? weightOf(this.base) : weightOf(this.base).add(this.delta())).to(dtype)),
    );
  }

  /**
   * Put the adapter into the base's weight, so that forward costs what the base costs. In the base's own format: a
   * quantized weight is quantized again, with an error of that format's size (use {@link mergeLora} for a wide weight).
   * The weight before is kept for {@link unmerge}, also in the state dict, which only a merged layer takes: merge
   * before loading it.
   */
  merge(): void {
    atMost("LoRALinear.merge", arguments, 0);
    if (this.merged)
      throw new NbitError(
        "LoRALinear.merge: expected an adapter beside its base. Received: one that is merged. Call unmerge() first.",
        "LORA_MERGED",
      );
    const { base } = this;
    noGrad(() =>
      scope(() => {
        const sum = this.mergedWeight();
        for (const [name, now] of this.#kept())
          this.registerBuffer(
            name,
            outsideScopes(() => now.detach().clone()),
          );
        if (base instanceof QuantizedLinear)
          base.replaceCodes(
            quantizeWeight(sum, {
              format: base.format,
              ...(base.format === "int8" ? {} : { blockSize: base.blockSize }),
            }),
          );
        else base.weight.copy_(sum);
      }),
    );
  }
  /** Take the adapter out again: the base's weight is what it was, to the last bit. */
  unmerge(): void {
    atMost("LoRALinear.unmerge", arguments, 0);
    if (!this.merged)
      throw new NbitError(
        "LoRALinear.unmerge: expected a merged adapter. Received: one beside its base. Call merge() first.",
        "LORA_NOT_MERGED",
      );
    for (const [name, now] of this.#kept()) {
      const before = this[name];
      if (before === null) continue;
      noGrad(() => now.copy_(before));
      this.registerBuffer(name, null);
      before.dispose();
    }
  }
  /** What a merge changes in the base, and where it is kept. */
  #kept(): (readonly [(typeof BEFORE)[number], Tensor])[] {
    const { base } = this;
    const all = base instanceof QuantizedLinear ? [base.weight, base.weightAbsmax, base.weightNested] : [base.weight];
    return all.flatMap((now, i) => (now === null ? [] : [[BEFORE[i] as (typeof BEFORE)[number], now] as const]));
  }

  override extraRepr(): string {
    return `rank=${this.rank}, alpha=${this.alpha}, dropout=${this.dropout}${this.merged ? ", merged" : ""}`;
  }
}

function weightOf(base: LoraBase): Tensor {
  return base instanceof QuantizedLinear ? base.dequantize("float32") : base.weight.detach().float();
}
