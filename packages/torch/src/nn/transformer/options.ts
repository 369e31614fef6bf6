/** What layers of encoders and decoders share: arguments, and the network behind attention. */
import { byDefault, either, flag, oneOf, orNull, real, such } from "../../kinds.js";
import { gelu, relu } from "../../ops/index.js";
import type { OptionNames } from "../../options.js";
import { deviceKind, dtypeKind, tensorKind } from "../../tensor/kinds.js";
import type { Tensor } from "../../tensor/tensor.js";
import { GELU } from "../activation-parametric.js";
import { ReLU } from "../activation.js";
import { positive } from "../kernels.js";
import type { FactoryOptions } from "../linear.js";
import { Module } from "../module.js";

/** A function of a tensor, by its name or itself, or a layer, which becomes one of the module's. */
export type Activation = "relu" | "gelu" | ((x: Tensor) => Tensor) | (Module & { forward(x: Tensor): Tensor });
type Applied = Exclude<Activation, string>;

export interface LayerOptions extends FactoryOptions {
  /** Features between the two linear layers. Default 2048. */
  readonly dimFeedforward?: number;
  /** Default 0.1. */
  readonly dropout?: number;
  /** Between the two linear layers. Default "relu". */
  readonly activation?: Activation;
  /** Of the layer norms. Default 1e-5. */
  readonly layerNormEps?: number;
  /** Inputs and outputs are `[N, L, E]`. Default false: `[L, N, E]`. */
  readonly batchFirst?: boolean;
  /** Normalise before attention and the linear layers instead of behind them. Default false. */
  readonly normFirst?: boolean;
  /** Of linear layers, attention and layer norms. Default true. */
  readonly bias?: boolean;
}
export interface LayerArguments extends LayerOptions {
  /** Features of inputs and outputs. */
  readonly dModel: number;
  /** Heads of attention. */
  readonly nhead: number;
}
/** @internal */
export const ACTIVATION = either(
  oneOf("relu", "gelu"),
  such<Applied>("a function or a layer of one tensor", (v) => typeof v === "function" || v instanceof Module),
);
/** @internal */
export const FEED_FORWARD = {
  dimFeedforward: byDefault(2048, positive),
  dropout: byDefault(0.1, real("[0, 1]")),
  activation: { ...ACTIVATION, default: "relu" as const },
} as const;
/** @internal */
export const NORMS = {
  layerNormEps: byDefault(1e-5, real("[0, ∞)")),
  batchFirst: byDefault(false, flag),
  normFirst: byDefault(false, flag),
  bias: byDefault(true, flag),
  device: byDefault(null, orNull(deviceKind)),
  dtype: byDefault(null, orNull(dtypeKind)),
} as const;
/** @internal */
export const LAYER = {
  dModel: positive,
  nhead: positive,
  ...FEED_FORWARD,
  ...NORMS,
} satisfies OptionNames<LayerArguments>;
export type LayerOrder = [
  "dModel",
  "nhead",
  "dimFeedforward",
  "dropout",
  "activation",
  "layerNormEps",
  "batchFirst",
  "normFirst",
  "bias",
];
export type LayerPositions = [
  dModel: number,
  nhead: number,
  dimFeedforward?: number,
  dropout?: number,
  activation?: Activation,
  layerNormEps?: number,
  batchFirst?: boolean,
  normFirst?: boolean,
  bias?: boolean,
];
/** @internal */
export const MAYBE_MASK = byDefault(null, orNull(tensorKind));

const BY_NAME = { relu: (x: Tensor) => relu(x), gelu: (x: Tensor) => gelu(x) } as const;
/** @internal */
export function applied(activation: Activation): Applied {
  return typeof activation === "string" ? BY_NAME[activation] : activation;
}
/** @internal */
export function activate(activation: Applied, x: Tensor): Tensor {
  return activation instanceof Module ? activation.forward(x) : activation(x);
}
/** @internal Whether an activation is one of the two by name, or a layer of them. */
export function isPlainActivation(activation: Applied): boolean {
  return (
    activation === BY_NAME.relu ||
    activation === BY_NAME.gelu ||
    activation === relu ||
    activation === gelu ||
    activation instanceof ReLU ||
    activation instanceof GELU
  );
}
