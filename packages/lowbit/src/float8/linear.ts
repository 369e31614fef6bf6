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
  NbitError,
  nn,
  noGrad,
  type OptionNames,
  outsideScopes,
  scope,
  type Tensor,
  weightsEpoch,
  zeros,
} from "@nbit/torch";
import {
  amaxOf,
  amaxOfColumns,
  amaxOfRows,
  castFloat8,
  castReference,
  scalesOf,
  type Amax,
  type Float8Matrix,
  type Wanted,
} from "./cast.js";
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

/** Whose weight is gathered in codes. */
interface GatheredWeight {
  /** The largest magnitude of the weight, and what scales it in this step; null: not decided yet. */
  readonly amax: Tensor;
  chosen: Tensor | null;
  /** The history has it. */
  entered: boolean;
  codes: Tensor | null;
}
interface CachedWeight {
  readonly codes: Float8Matrix;
  /** What scales all of it; null: rows and columns have their own. */
  readonly amax: Tensor | null;
  /** The history has what they were made of. */
  readonly entered: boolean;
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
  #gathered: GatheredWeight | null = null;

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
    if (rows === 0 && this.#gathered !== null)
      return input.to(dtype).matmul(zeros([this.inFeatures, this.outFeatures], { dtype, device: input.device }));
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
    if (this.#gathered !== null) return this.#gatheredCodes(this.#gathered, wanted);
    const enters = this.#recipe.delayed && this.training;
    const [epoch, version, pointer] = [weightsEpoch(), weight.version, weight.dataPtr()];
    const known = this.#cached;
    const same = known?.epoch === epoch && known.version === version && known.pointer === pointer;
    // The history gets a weight once, and what scales it stays.
    const settled = same && (known.entered || !enters);
    if (settled && (known.codes.columns !== null || !wanted.columns)) return known.codes;
    const { codes, amax } = scope((): { codes: Float8Matrix; amax: Tensor | null } => {
      const x = weight.detach().contiguous();
      const scales =
        settled && known.amax !== null
          ? { rows: known.amax, columns: null }
          : this.#amaxOf(x, wanted, this.#recipe.delayed ? this.amaxHistoryWeight : null, this.training);
      const made = noGrad(() => castFloat8(x, scales, "float8_e4m3fn", wanted));
      const kept: Float8Matrix = outsideScopes(() => ({
        rows: made.rows?.detach() ?? null,
        columns: made.columns?.detach() ?? null,
        rowInverse: made.rowInverse?.detach() ?? null,
        columnInverse: made.columnInverse?.detach() ?? null,
      }));
      const one = scales.rows?.ndim === 0 ? scales.rows : null;
      return { codes: kept, amax: one === null ? null : outsideScopes(() => one.clone()) };
    });
    this.clearWeightCodes();
    this.#cached = { codes, amax, entered: enters || (same && known.entered), epoch, version, pointer };
    return codes;
  }

  // ---------------------------------------------------------------- a weight that is shared out

  /** @internal */
  get gathersWeight(): boolean {
    return this.#gathered !== null;
  }
  /** @internal With a scale for each row, codes by rows and by columns are not the same ones. */
  override get weightCodes(): nn.WeightCodes | null {
    if (this.#recipe.granularity === "row") return null;
    return {
      weight: this.weight,
      dtype: "float8_e4m3fn",
      amaxOf,
      setAmax: (amax) => this.#setAmax(amax),
      encode: (part) => this.#encode(part),
      setCodes: (codes) => {
        if (this.#gathered !== null) this.#gathered.codes = codes;
      },
    };
  }
  #setAmax(amax: Tensor | null): void {
    this.clearWeightCodes();
    this.#gathered?.amax.dispose();
    this.#gathered?.chosen?.dispose();
    this.#gathered =
      amax === null
        ? null
        : {
            amax: outsideScopes(() => amax.clone()),
            chosen: null,
            entered: false,
            codes: this.#gathered?.codes ?? null,
          };
  }
  /** What scales the weight in this step: in training, its history gets it once. */
  #scaleOf(gathered: GatheredWeight): Tensor {
    const { delayed } = this.#recipe;
    const enters = delayed && this.training && !gathered.entered;
    if (gathered.chosen !== null && !enters) return gathered.chosen;
    gathered.chosen?.dispose();
    gathered.entered ||= enters;
    const { amax } = gathered;
    gathered.chosen = noGrad(() =>
      outsideScopes(() => scope(() => (delayed ? delayedAmax(this.amaxHistoryWeight, amax, enters) : amax.clone()))),
    );
    return gathered.chosen;
  }
  #encode(part: Tensor): Tensor {
    if (this.#gathered === null)
      throw new NbitError("Float8Linear: expected a scale before parts are cast. Received: none.", "ERR_INTERNAL");
    const amax = this.#scaleOf(this.#gathered);
    const n = part.numel();
    const flat = part.detach();
    // The kernel's matrices have sides that are multiples of 4.
    const matrix = n % 64 === 0 ? flat.view([16, n / 16]) : flat.view([1, n]);
    const cast = n % 64 === 0 ? castFloat8 : castReference;
    const { rows } = cast(matrix, { rows: amax.to({ device: part.device }), columns: null }, "float8_e4m3fn", {
      rows: true,
      columns: false,
    });
    return (rows as Tensor).view([-1]);
  }
  #gatheredCodes(gathered: GatheredWeight, wanted: Wanted): Float8Matrix {
    const { codes } = gathered;
    if (codes === null)
      throw new NbitError(
        "Float8Linear: expected a weight whose unit is gathered. Received: a call by another way than the unit's forward, or after its backward. Return what the loss is computed from from the module's forward.",
        "ERR_DIST_FREED_PARAMETER",
      );
    return noGrad(() => {
      const { inverse } = scalesOf(this.#scaleOf(gathered), "float8_e4m3fn");
      return {
        rows: wanted.rows ? codes.detach() : null,
        columns: wanted.columns ? codes.t().contiguous() : null,
        rowInverse: inverse,
        columnInverse: inverse,
      };
    });
  }
  /** Give back the memory of the weight's codes; the next forward makes them again. */
  clearWeightCodes(): void {
    atMost("Float8Linear.clearWeightCodes", arguments, 0);
    if (this.#cached === null) return;
    for (const t of new Set(Object.values(this.#cached.codes) as (Tensor | null)[])) t?.dispose();
    this.#cached.amax?.dispose();
    this.#cached = null;
  }

  #cast(x: Tensor, dtype: Float8DType, wanted: Wanted, history: Tensor | null, update: boolean): Float8Matrix {
    if (!wanted.rows && !wanted.columns) return { rows: null, columns: null, rowInverse: null, columnInverse: null };
    return noGrad(() => castFloat8(x.detach(), this.#amaxOf(x, wanted, history, update), dtype, wanted));
  }
  #amaxOf(x: Tensor, wanted: Wanted, history: Tensor | null, update: boolean): Amax {
    return noGrad(() => {
      if (this.#recipe.granularity === "row")
        return { rows: wanted.rows ? amaxOfRows(x) : null, columns: wanted.columns ? amaxOfColumns(x) : null };
      const current = amaxOf(x);
      return { rows: history === null ? current : delayedAmax(history, current, update), columns: null };
    });
  }

  override extraRepr(): string {
    return `in_features=${this.inFeatures}, out_features=${this.outFeatures}, bias=${this.bias === null ? "False" : "True"}, recipe=${this.#recipe.name}`;
  }
}
