/** The linear layer whose weight is frozen in few bits. */
import {
  amp,
  ArgumentError,
  atMost,
  AutogradFunction,
  checkOptions,
  isTensor,
  nn,
  outsideScopes,
  scope,
  tensor,
  type DType,
  type FunctionContext,
  type Tensor,
} from "@nbit/torch";
import {
  checkQuantized,
  dequantizeWeight,
  QUANTIZE,
  quantizeWeight,
  quantizedBytes,
  WEIGHT_FORMATS,
  type QuantizeWeightOptions,
  type QuantizedWeight,
  type WeightFormat,
} from "./quantize.js";

/** x Wᵀ + b. Backward makes W from its codes again: between forward and backward nothing of W's size is held. */
class QuantizedProduct extends AutogradFunction {
  static forward(ctx: FunctionContext, x: Tensor, bias: Tensor | null, layer: QuantizedLinear): Tensor {
    ctx.values["layer"] = layer;
    ctx.values["bias"] = bias?.dtype;
    const weight = layer.dequantize(x.dtype);
    try {
      return nn.functional.linear(x, weight, bias === null ? null : bias.to(x.dtype));
    } finally {
      weight.dispose();
    }
  }
  static backward(ctx: FunctionContext, gradient: Tensor): (Tensor | null)[] {
    const layer = ctx.values["layer"] as QuantizedLinear;
    const [forInput = false, forBias = false] = ctx.needsInputGrad;
    return [
      forInput ? gradient.matmul(layer.dequantize(gradient.dtype)) : null,
      forBias
        ? gradient
            .reshape([-1, gradient.size(-1)])
            .sum([0])
            .to(ctx.values["bias"] as DType)
        : null,
    ];
  }
}

/**
 * y = x Wᵀ + b with a frozen W in nf4, fp4 or int8, made wide for the product and dropped after it. Gradients flow to x
 * and to b, not to W: train adapters beside it.
 *
 * Codes and scales are buffers: they move with the module, are in its state dict, and stay as they are when it is cast
 * (scales are kept as the bits of float32). The product is in the input's dtype, or autocast's.
 *
 * Shapes: `[…, inFeatures]` → `[…, outFeatures]`. Does not synchronize. Twice differentiable.
 * @example
 * const layer = QuantizedLinear.from(new nn.Linear(64, 32), { format: "nf4" });
 * layer.forward(randn([8, 64])).shape; // [8, 32]
 * @see Dettmers et al., 2023, QLoRA, arXiv:2305.14314.
 */
export class QuantizedLinear extends nn.Module {
  declare readonly weight: Tensor;
  declare readonly weightAbsmax: Tensor;
  declare readonly weightNested: Tensor | null;
  /**
   * int32 `[format, block size, rows, columns]`: without it, codes of one format would be taken for those of another.
   * Files from before there was one are read as of this layer's.
   */
  declare readonly weightFormat: Tensor;
  readonly bias: nn.Parameter | null;
  readonly format: WeightFormat;
  readonly blockSize: number;
  readonly #shape: readonly [number, number];

  constructor(weight: QuantizedWeight, bias: nn.Parameter | null) {
    atMost("QuantizedLinear", arguments, 2);
    super();
    checkQuantized("QuantizedLinear", weight);
    if (bias !== null && !(bias instanceof nn.Parameter))
      throw new ArgumentError("QuantizedLinear", "bias to be a parameter or null", bias);
    const [outFeatures, inFeatures] = weight.shape;
    if (outFeatures === undefined || inFeatures === undefined || weight.shape.length !== 2)
      throw new ArgumentError("QuantizedLinear", "the codes of a matrix", weight.shape);
    this.#shape = [outFeatures, inFeatures];
    this.format = weight.format;
    this.blockSize = weight.blockSize;
    this.registerBuffer("weight", weight.codes);
    this.registerBuffer("weightAbsmax", asBits(weight.absmax));
    this.registerBuffer("weightNested", weight.nested === null ? null : asBits(weight.nested));
    this.registerBuffer(
      "weightFormat",
      outsideScopes(() =>
        tensor([WEIGHT_FORMATS.indexOf(this.format), this.blockSize, outFeatures, inFeatures], { dtype: "int32" }),
      ),
    );
    this.bias = bias;
    bias?.requiresGrad_(false);
  }

  /** Quantize a linear layer, whose bias is taken over and frozen. */
  static from(linear: nn.Linear, options: QuantizeWeightOptions): QuantizedLinear {
    atMost("QuantizedLinear.from", arguments, 2);
    checkOptions("QuantizedLinear.from", options, QUANTIZE);
    if (!(linear instanceof nn.Linear)) throw new ArgumentError("QuantizedLinear.from", "an nn.Linear", linear);
    return new QuantizedLinear(
      outsideScopes(() => quantizeWeight(linear.weight, options)),
      linear.bias,
    );
  }

  /** @internal */
  override get weightBuffers(): readonly string[] {
    return ["weight", "weightAbsmax", "weightNested"];
  }
  protected override get optionalState(): readonly string[] {
    return ["weightFormat"];
  }
  protected override stateProblem(given: (key: string) => Tensor | undefined): string | null {
    const saved = given("weight_format");
    if (saved === undefined) return null;
    const [format, blockSize, rows, columns] =
      saved.numel() === 4 && saved.dtype === "int32" ? (saved.tolist() as number[]) : [];
    const [expected, received] = [
      described(this.format, this.blockSize, this.#shape),
      described(WEIGHT_FORMATS[format ?? -1], blockSize, [rows, columns]),
    ];
    return expected === received ? null : `holds ${received}, expected ${expected}`;
  }

  get inFeatures(): number {
    return this.#shape[1];
  }
  get outFeatures(): number {
    return this.#shape[0];
  }
  /** Codes and scales as a value; its tensors share this layer's memory. */
  quantized(): QuantizedWeight {
    atMost("QuantizedLinear.quantized", arguments, 0);
    return {
      format: this.format,
      shape: this.#shape,
      blockSize: this.blockSize,
      codes: this.weight,
      absmax: fromBits(this.weightAbsmax),
      nested: this.weightNested === null ? null : fromBits(this.weightNested),
    };
  }
  /** The weight `[outFeatures, inFeatures]` that the codes stand for: a new tensor. */
  dequantize(dtype: DType = "float32"): Tensor {
    atMost("QuantizedLinear.dequantize", arguments, 1);
    return scope(() => dequantizeWeight(this.quantized(), dtype));
  }
  /** Put other codes in: of the same format, shape and block size. */
  replaceCodes(w: QuantizedWeight): void {
    atMost("QuantizedLinear.replaceCodes", arguments, 1);
    checkQuantized("QuantizedLinear.replaceCodes", w);
    if (w.format !== this.format || w.blockSize !== this.blockSize || String(w.shape) !== String(this.#shape))
      throw new ArgumentError(
        "QuantizedLinear.replaceCodes",
        `${this.format} codes of [${this.#shape.join(", ")}] in blocks of ${this.blockSize}`,
        `${w.format} of [${w.shape.join(", ")}] in blocks of ${w.blockSize}`,
      );
    scope(() => {
      this.weight.copy_(w.codes);
      this.weightAbsmax.copy_(asBits(w.absmax));
      if (w.nested !== null) this.weightNested?.copy_(asBits(w.nested));
    });
  }
  /** Bytes of codes and scales. */
  get weightBytes(): number {
    return scope(() => quantizedBytes(this.quantized()));
  }

  forward(input: Tensor): Tensor {
    atMost("QuantizedLinear.forward", arguments, 1);
    if (!isTensor(input) || input.ndim < 1 || input.size(-1) !== this.inFeatures || !input.isFloatingPoint())
      throw new ArgumentError("QuantizedLinear", `a floating point input of shape […, ${this.inFeatures}]`, input);
    const device = input.device.type;
    if (!amp.isAutocastEnabled(device)) return scope(() => QuantizedProduct.apply(input, this.bias, this));
    const dtype = amp.getAutocastDtype(device);
    return scope(() =>
      amp.autocast({ deviceType: device, enabled: false }, () =>
        QuantizedProduct.apply(input.to(dtype), this.bias, this),
      ),
    );
  }

  override extraRepr(): string {
    return `in_features=${this.inFeatures}, out_features=${this.outFeatures}, bias=${this.bias === null ? "False" : "True"}, format=${this.format}${this.format === "int8" ? "" : `, block_size=${this.blockSize}`}`;
  }
}

function described(
  format: WeightFormat | undefined,
  blockSize: number | undefined,
  shape: readonly (number | undefined)[],
): string {
  return `${format ?? "codes of an unknown format"} of [${shape.join(", ")}] in blocks of ${blockSize}`;
}
/** Scales as int32 bits, which a cast of the module to 16 bits leaves alone. */
function asBits(t: Tensor): Tensor {
  return t.dtype === "float32" ? t.view("int32") : t;
}
function fromBits(t: Tensor): Tensor {
  return t.dtype === "int32" ? t.view("float32") : t;
}
