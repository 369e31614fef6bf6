/** Affine maps and convolutions: the operators themselves, which take their arguments as PyTorch's functions do. */
import * as ops from "../../ops/index.js";
import type { Call } from "../../signature.js";
import type { Tensor } from "../../tensor/tensor.js";
import type { Size } from "../sizes.js";
import type { InputArguments } from "./rows.js";

export interface LinearFunctionArguments extends InputArguments {
  /** `[out, in]`, or `[in]`. */
  readonly weight: Tensor;
  /** `[out]`. Default null. */
  readonly bias?: Tensor | null;
}
export interface ConvFunctionArguments extends InputArguments {
  /** `[out, in / groups, …]` */
  readonly weight: Tensor;
  /** `[out]`. Default null. */
  readonly bias?: Tensor | null;
  /** Default 1. */
  readonly stride?: Size;
  /** Zeros around the input, "same" or "valid". Default 0. */
  readonly padding?: Size | "same" | "valid";
  /** Distance between taps. Default 1. */
  readonly dilation?: Size;
  /** Default 1. */
  readonly groups?: number;
}
export interface ConvTransposeFunctionArguments extends InputArguments {
  /** `[in, out / groups, …]` */
  readonly weight: Tensor;
  /** `[out]`. Default null. */
  readonly bias?: Tensor | null;
  /** Default 1. */
  readonly stride?: Size;
  /** Cut from each side of the result. Default 0. */
  readonly padding?: Size;
  /** Added to one side of the result. Default 0. */
  readonly outputPadding?: Size;
  /** Default 1. */
  readonly groups?: number;
  /** Distance between taps. Default 1. */
  readonly dilation?: Size;
}
type Weighted = [input: Tensor, weight: Tensor, bias?: Tensor | null];
type LinearCall = Call<LinearFunctionArguments, ["input", "weight", "bias"], Weighted>;
type Conv = (
  ...given: Call<
    ConvFunctionArguments,
    ["input", "weight", "bias", "stride", "padding", "dilation", "groups"],
    [...rest: Weighted, stride?: Size, padding?: Size | "same" | "valid", dilation?: Size, groups?: number]
  >
) => Tensor;
type ConvTranspose = (
  ...given: Call<
    ConvTransposeFunctionArguments,
    ["input", "weight", "bias", "stride", "padding", "outputPadding", "groups", "dilation"],
    [...rest: Weighted, stride?: Size, padding?: Size, outputPadding?: Size, groups?: number, dilation?: Size]
  >
) => Tensor;
/** The operator under a type that knows its required arguments by name, too, as its schema does when it is called. */
function named<F>(operator: unknown): F {
  return operator as F;
}

/** x Wᵀ + b over the last dimension. Low precision under autocast. */
export const linear = named<(...given: LinearCall) => Tensor>(ops.linear);
/** `[N, in, L]` → `[N, out, L′]`, the batch may be left out. */
export const conv1d = named<Conv>(ops.conv1d);
/** `[N, in, H, W]` → `[N, out, H′, W′]`, the batch may be left out. */
export const conv2d = named<Conv>(ops.conv2d);
/** `[N, in, D, H, W]` → `[N, out, D′, H′, W′]`, the batch may be left out. */
export const conv3d = named<Conv>(ops.conv3d);
/** What {@link conv1d} is to gradients: `[N, in, L]` → `[N, out, L′]`. */
export const convTranspose1d = named<ConvTranspose>(ops.convTranspose1d);
/** What {@link conv2d} is to gradients: `[N, in, H, W]` → `[N, out, H′, W′]`. */
export const convTranspose2d = named<ConvTranspose>(ops.convTranspose2d);
/** What {@link conv3d} is to gradients: `[N, in, D, H, W]` → `[N, out, D′, H′, W′]`. */
export const convTranspose3d = named<ConvTranspose>(ops.convTranspose3d);
/** `[L, N, in]` → `[L′, N, out]`. */
export const convTbc = ops.convTbc;
