/** The linear layer that multiplies in float8. */
import {
  amp,
  ArgumentError,
  atMost,
  checkOptions,
  constantPadNd,
  type DType,
  isGradEnabled,
  isTensor,
  kinds,
  nn,
  noGrad,
  type OptionNames,
  outsideScopes,
  scope,
  type Tensor,
  weightsEpoch,
} from "@nbit/torch";
import { amaxOf, amaxOfColumns, amaxOfRows, castFloat8, type Amax, type Float8Matrix, type Wanted } from "./cast.js";
import { delayedAmax, emptyHistory } from "./history.js";
import { Float8LinearFunction, type Float8Caster } from "./linear-function.js";
import { recipeOf, type Float8DType, type Float8Recipe, type Float8RecipeName } from "./recipes.js";

export interface Float8Options {
  /** Default "tensorwise". */
  readonly recipe?: Float8RecipeName;
  /** Entries of the history of "delayed". Default 16. */
  readonly historyLength?: number;
}
export interface Float8LinearOptions extends Float8Options, nn.FactoryOptions {
  readonly bias?: boolean;
}

const { flag, whole } = kinds;
/** @internal */
export const FLOAT8: OptionNames<Float8Options> = { recipe: true, historyLength: whole("[1, ∞)") };
const NAMES: OptionNames<Float8LinearOptions> = { ...FLOAT8, bias: flag, device: true, dtype: true };

/** Sides of a float8 product must be multiples of this. */
export const FLOAT8_MULTIPLE = 16;
const DTYPES: readonly DType[] = ["float32", "bfloat16", "float16"];

interface CachedWeight {
  readonly codes: Float8Matrix;
  readonly epoch: number;
  readonly version: number;
  readonly pointer: number;
}

/**
 * y = x Wᵀ + b whose three products (output, input gradient, weight gradient) take float8 factors: activations and
 * weights in e4m3, gradients as the recipe says. Parameters, output and gradients keep their dtypes; products sum in
 * float32.
 *
 * Each factor is scaled so that its largest value is the format's largest, then rounded and clamped. Values that are
 * not finite are found before the cast and become NaN: they show in output and gradients, as they would in a float32
 * layer. Codes of the weight are kept until the weight changes (2 bytes per element while they are), so that
 * accumulation casts them once. The number of rows may be any: it is padded with zeros to a multiple of 16.
 *
 * Under autocast the output has autocast's dtype; the weight goes from its own dtype to float8 directly. No
 * synchronization; may be captured in a CUDA graph.
 *
 * Shapes: `[…, inFeatures]` → `[…, outFeatures]`, both multiples of 16. float32, bfloat16 or float16. State dict as
 * `nn.Linear`'s; "delayed" adds `amax_history_input`, `amax_history_weight` and `amax_history_gradient`.
 * @throws {ArgumentError} `Float8Linear: expected inFeatures and outFeatures to be multiples of 16. Received: [30,
 * 64].`
 * @example
 * const layer = new Float8Linear(64, 32, { recipe: "rowwise" });
 * layer.forward(randn([8, 64])).shape; // [8, 32]
 * @see Micikevicius et al., 2022, FP8 Formats for Deep Learning, arXiv:2209.05433.
 */
export class Float8Linear extends nn.Module implements Float8Caster {
  readonly weight: nn.Parameter;
  readonly bias: nn.Parameter | null;
  readonly inFeatures: number;
  readonly outFeatures: number;
  declare readonly amaxHistoryInput: Tensor;
  declare readonly amaxHistoryWeight: Tensor;
  declare readonly amaxHistoryGradient: Tensor;
  readonly #recipe: Float8Recipe;
  #cached: CachedWeight | null = null;

  constructor(inFeatures: number, outFeatures: number, options?: Float8LinearOptions);
  /** @internal Adopt the parameters of a linear layer: {@link Float8Linear.from}. */
  constructor(linear: nn.Linear, outFeatures: null, options?: Float8Options);
  constructor(first: number | nn.Linear, outFeatures: number | null, options: Float8LinearOptions = {}) {
    super();
    atMost("Float8Linear", arguments, 3);
    checkOptions("Float8Linear", options, first instanceof nn.Linear ? FLOAT8 : NAMES);
    const { recipe = "tensorwise", historyLength = 16, ...linearOptions } = options;
    this.#recipe = recipeOf("Float8Linear", recipe);
    const sides = first instanceof nn.Linear ? [first.inFeatures, first.outFeatures] : [first, outFeatures];
    if (sides.some((n) => !Number.isInteger(n) || Number(n) < 1 || Number(n) % FLOAT8_MULTIPLE !== 0))
      throw new ArgumentError(
        "Float8Linear",
        `inFeatures and outFeatures to be multiples of ${FLOAT8_MULTIPLE}`,
        sides,
      );
    const linear = first instanceof nn.Linear ? first : new nn.Linear(first, outFeatures as number, linearOptions);
    if (!DTYPES.includes(linear.weight.dtype))
      throw new ArgumentError("Float8Linear", "a weight in float32, bfloat16 or float16", linear.weight);
    this.weight = linear.weight;
    this.bias = linear.bias;
    this.inFeatures = linear.inFeatures;
    this.outFeatures = linear.outFeatures;
    if (this.#recipe.delayed)
      for (const name of ["amaxHistoryInput", "amaxHistoryWeight", "amaxHistoryGradient"] as const)
        this.registerBuffer(
          name,
          outsideScopes(() => emptyHistory(historyLength, linear.weight.device)),
        );
  }

  /** A float8 layer with the parameters of a linear one: the same tensors, so that optimizers keep theirs. */
  static from(linear: nn.Linear, options: Float8Options = {}): Float8Linear {
    if (!(linear instanceof nn.Linear)) throw new ArgumentError("Float8Linear.from", "an nn.Linear", linear);
    atMost("Float8Linear.from", arguments, 2);
    checkOptions("Float8Linear.from", options, FLOAT8);
    return new Float8Linear(linear, null, options);
  }

  get recipe(): Float8Recipe {
    return this.#recipe;
  }

  forward(input: Tensor): Tensor {
    atMost("Float8Linear.forward", arguments, 1);
    if (!isTensor(input) || input.ndim < 1 || input.size(-1) !== this.inFeatures)
      throw new ArgumentError("Float8Linear", `an input of shape […, ${this.inFeatures}]`, input);
    const device = input.device.type;
    const dtype = amp.isAutocastEnabled(device) ? amp.getAutocastDtype(device) : input.dtype;
    if (!DTYPES.includes(dtype) || !DTYPES.includes(input.dtype))
      throw new ArgumentError("Float8Linear", "an input in float32, bfloat16 or float16", input);
    const shape = [...input.shape.slice(0, -1), this.outFeatures];
    const rows = input.numel() / this.inFeatures;
    if (rows === 0)
      return nn.functional.linear(
        input.to(dtype),
        this.weight.to(dtype),
        this.bias === null ? null : this.bias.to(dtype),
      );
    const run = (): Tensor => {
      const flat = input.to(dtype).reshape([rows, this.inFeatures]);
      const short = rows % FLOAT8_MULTIPLE;
      const x = (short === 0 ? flat : constantPadNd(flat, [0, 0, 0, FLOAT8_MULTIPLE - short])).contiguous();
      const y = Float8LinearFunction.apply(x, this.weight, this.bias, this, isGradEnabled());
      return (short === 0 ? y : y.narrow(0, 0, rows)).view(shape);
    };
    return scope(amp.isAutocastEnabled(device) ? () => amp.autocast({ deviceType: device, enabled: false }, run) : run);
  }

  // ---------------------------------------------------------------- codes

  /** @internal */
  castInput(x: Tensor, wanted: Wanted): Float8Matrix {
    atMost("Float8Linear.castInput", arguments, 2);
    return this.#cast(
      x,
      "float8_e4m3fn",
      wanted,
      this.#recipe.delayed ? this.amaxHistoryInput : null,
      this.training && wanted.columns,
    );
  }
  /** @internal */
  castGradient(g: Tensor, wanted: Wanted): Float8Matrix {
    atMost("Float8Linear.castGradient", arguments, 2);
    return this.#cast(g, this.#recipe.gradient, wanted, this.#recipe.delayed ? this.amaxHistoryGradient : null, true);
  }
  /** @internal Kept until the weight changes. */
  castWeight(wanted: Wanted): Float8Matrix {
    atMost("Float8Linear.castWeight", arguments, 1);
    const { weight } = this;
    const [epoch, version, pointer] = [weightsEpoch(), weight.version, weight.dataPtr()];
    const known = this.#cached;
    if (
      known !== null &&
      known.epoch === epoch &&
      known.version === version &&
      known.pointer === pointer &&
      (known.codes.columns !== null || !wanted.columns)
    )
      return known.codes;
    this.clearWeightCodes();
    const codes = scope(() =>
      this.#cast(
        weight.detach().contiguous(),
        "float8_e4m3fn",
        wanted,
        this.#recipe.delayed ? this.amaxHistoryWeight : null,
        this.training,
      ),
    );
    const kept: Float8Matrix = outsideScopes(() => ({
      rows: codes.rows?.detach() ?? null,
      columns: codes.columns?.detach() ?? null,
      rowInverse: codes.rowInverse?.detach() ?? null,
      columnInverse: codes.columnInverse?.detach() ?? null,
    }));
    this.#cached = { codes: kept, epoch, version, pointer };
    return kept;
  }
  /** Give back the memory of the weight's codes; the next forward makes them again. */
  clearWeightCodes(): void {
    atMost("Float8Linear.clearWeightCodes", arguments, 0);
    if (this.#cached === null) return;
    for (const t of new Set(Object.values(this.#cached.codes) as (Tensor | null)[])) t?.dispose();
    this.#cached = null;
  }

  #cast(x: Tensor, dtype: Float8DType, wanted: Wanted, history: Tensor | null, update: boolean): Float8Matrix {
    if (!wanted.rows && !wanted.columns) return { rows: null, columns: null, rowInverse: null, columnInverse: null };
    return noGrad(() => {
      let amax: Amax;
      if (this.#recipe.granularity === "row")
        amax = { rows: wanted.rows ? amaxOfRows(x) : null, columns: wanted.columns ? amaxOfColumns(x) : null };
      else {
        const current = amaxOf(x);
        amax = { rows: history === null ? current : delayedAmax(history, current, update), columns: null };
      }
      return castFloat8(x.detach(), amax, dtype, wanted);
    });
  }

  override extraRepr(): string {
    return `in_features=${this.inFeatures}, out_features=${this.outFeatures}, bias=${this.bias === null ? "False" : "True"}, recipe=${this.#recipe.name}`;
  }
}
