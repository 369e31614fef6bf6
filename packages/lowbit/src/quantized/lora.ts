/** Low-rank adapters beside frozen linear layers. */
import { ArgumentError, NbitError, nn, noGrad, outsideScopes, scope, zeros, type DType, type Tensor } from "@nbit/torch";
import { Float8Linear } from "../float8/linear.js";
import { QuantizedLinear } from "./linear.js";
import { quantizeWeight, type QuantizedWeight } from "./quantize.js";

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
export function isLoraBase(m: unknown): m is LoraBase {
  return m instanceof nn.Linear || m instanceof QuantizedLinear || m instanceof Float8Linear;
}

/**
 * base(x) + (alpha / rank) · dropout(x) Aᵀ Bᵀ, with A `[rank, inFeatures]` and B `[outFeatures, rank]` learned and the base frozen. B begins at zero, so that the layer begins as its base.
 *
 * Adapters are float32 unless the module is cast, and the sum has the base's output dtype. With the base quantized, training holds a few bits per weight and float32 for a few thousandths of them.
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
  /** What the base was before a merge. */
  #before: Tensor | QuantizedWeight | null = null;

  constructor(base: LoraBase, options: LoraOptions = {}) {
    super();
    const { rank, alpha, dropout } = checkLora("LoRALinear", options);
    if (!isLoraBase(base)) throw new ArgumentError("LoRALinear", "a Linear, QuantizedLinear or Float8Linear", base);
    this.base = base;
    this.rank = rank;
    this.alpha = alpha;
    this.dropout = dropout;
    base.requiresGrad_(false);
    const factory = { device: base.weight.device, dtype: "float32" } as const;
    [this.loraA, this.loraB] = scope(() => [new nn.Parameter(zeros([rank, base.inFeatures], factory)), new nn.Parameter(zeros([base.outFeatures, rank], factory))] as const);
    this.resetParameters();
  }
  /** A as a linear layer's weight, B zero. */
  resetParameters(): void {
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
    return this.#before !== null;
  }

  forward(x: Tensor): Tensor {
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
    return noGrad(() => scope(() => this.loraB.float().mm(this.loraA.float()).mul(this.scaling)));
  }
  /** The weight and the adapter in one matrix, without rounding it to few bits. */
  mergedWeight(dtype: DType = "float32"): Tensor {
    return noGrad(() => scope(() => (this.merged ? weightOf(this.base) : weightOf(this.base).add(this.delta())).to(dtype)));
  }

  /**
   * Put the adapter into the base's weight, so that forward costs what the base costs. In the base's own format: a quantized weight is quantized again, with an error of that format's size
   * (use {@link mergeLora} for a wide weight). The weight before is kept for {@link unmerge}.
   */
  merge(): void {
    if (this.merged) throw new NbitError("LoRALinear.merge: expected an adapter beside its base. Received: one that is merged. Call unmerge() first.", "LORA_MERGED");
    const { base } = this;
    noGrad(() =>
      scope(() => {
        const sum = this.mergedWeight();
        if (base instanceof QuantizedLinear) {
          const before = base.quantized();
          this.#before = outsideScopes(() => ({ ...before, codes: before.codes.clone(), absmax: before.absmax.clone(), nested: before.nested?.clone() ?? null }));
          base.replaceCodes(quantizeWeight(sum, { format: base.format, ...(base.format === "int8" ? {} : { blockSize: base.blockSize }) }));
        } else {
          this.#before = outsideScopes(() => base.weight.detach().clone());
          base.weight.copy_(sum);
        }
      }),
    );
  }
  /** Take the adapter out again: the base's weight is what it was, to the last bit. */
  unmerge(): void {
    const before = this.#before;
    if (before === null) throw new NbitError("LoRALinear.unmerge: expected a merged adapter. Received: one beside its base. Call merge() first.", "LORA_NOT_MERGED");
    const { base } = this;
    noGrad(() => {
      if (base instanceof QuantizedLinear) base.replaceCodes(before as QuantizedWeight);
      else base.weight.copy_(before as Tensor);
    });
    for (const t of base instanceof QuantizedLinear ? [(before as QuantizedWeight).codes, (before as QuantizedWeight).absmax, (before as QuantizedWeight).nested] : [before as Tensor]) t?.dispose();
    this.#before = null;
  }

  override extraRepr(): string {
    return `rank=${this.rank}, alpha=${this.alpha}, dropout=${this.dropout}`;
  }
}

function weightOf(base: LoraBase): Tensor {
  return base instanceof QuantizedLinear ? base.dequantize("float32") : base.weight.detach().float();
}

/** @internal */
export function checkLora(fn: string, options: LoraOptions): Required<LoraOptions> {
  const { rank = 8, alpha = 16, dropout = 0 } = options;
  if (!Number.isInteger(rank) || rank < 1) throw new ArgumentError(fn, "rank to be a whole number ≥ 1", rank);
  if (!(typeof alpha === "number" && alpha > 0 && alpha < Infinity)) throw new ArgumentError(fn, "alpha to be > 0", alpha);
  if (!(typeof dropout === "number" && dropout >= 0 && dropout < 1)) throw new ArgumentError(fn, "dropout to be in [0, 1)", dropout);
  return { rank, alpha, dropout };
}
