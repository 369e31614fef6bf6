/** What recurrent layers share: their parameters, and what they check of a batch. */
import { noGrad } from "../../autograd/modes.js";
import { autocastState } from "../../backend.js";
import { ArgumentError, NbitError } from "../../errors.js";
import { byDefault, flag, oneOf, orNull, real, whole } from "../../kinds.js";
import { aten, type AtenOperator } from "../../ops/index.js";
import { atMost, type OptionNames } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import { isTensor } from "../../tensor/handle.js";
import { deviceKind, dtypeKind } from "../../tensor/kinds.js";
import type { Tensor } from "../../tensor/tensor.js";
import { uniform_ } from "../init.js";
import { positive } from "../kernels.js";
import { emptyParameter, type FactoryOptions } from "../linear.js";
import { Module } from "../module.js";
import type { Parameter } from "../parameter.js";

export type RNNMode = "LSTM" | "GRU" | "RNN_TANH" | "RNN_RELU";
const GATES: Readonly<Record<RNNMode, number>> = { LSTM: 4, GRU: 3, RNN_TANH: 1, RNN_RELU: 1 };
/** As cuDNN numbers them. */
const CUDNN_MODE: Readonly<Record<RNNMode, number>> = { RNN_RELU: 0, RNN_TANH: 1, LSTM: 2, GRU: 3 };

export interface RecurrentOptions extends FactoryOptions {
  /** Layers on top of one another. Default 1. */
  readonly numLayers?: number;
  /** Add both bias vectors. Default true. */
  readonly bias?: boolean;
  /** Inputs and outputs are `[N, L, …]`. Default false: `[L, N, …]`. States are `[layers, N, …]` either way. */
  readonly batchFirst?: boolean;
  /** Probability with which outputs of every layer but the last are zeroed while training. Default 0. */
  readonly dropout?: number;
  /** Run over the sequence from both ends. Default false. */
  readonly bidirectional?: boolean;
}
export interface RecurrentArguments extends RecurrentOptions {
  /** Features of each step of the input. */
  readonly inputSize: number;
  /** Features of the hidden state. */
  readonly hiddenSize: number;
}
export interface ProjectedArguments extends RecurrentArguments {
  /** Features that the hidden state is projected to, fewer than `hiddenSize`; 0: it is not. Default 0. */
  readonly projSize?: number;
}
export interface RNNBaseArguments extends ProjectedArguments {
  readonly mode: RNNMode;
}
/** @internal */
export const FACTORY = {
  device: byDefault(null, orNull(deviceKind)),
  dtype: byDefault(null, orNull(dtypeKind)),
} as const;
/** @internal */
export const SIZES = { inputSize: positive, hiddenSize: positive, numLayers: byDefault(1, positive) } as const;
/** @internal */
export const LAYERS = {
  bias: byDefault(true, flag),
  batchFirst: byDefault(false, flag),
  dropout: byDefault(0, real("[0, 1]")),
  bidirectional: byDefault(false, flag),
} as const;
/** @internal */
export const PROJECTION = { projSize: byDefault(0, whole("[0, ∞)")) } as const;
const ROWS = {
  mode: oneOf("LSTM", "GRU", "RNN_TANH", "RNN_RELU"),
  ...SIZES,
  ...LAYERS,
  ...PROJECTION,
  ...FACTORY,
} satisfies OptionNames<RNNBaseArguments>;
const read = signature("RNNBase", ROWS);
export type RNNBaseCall = Call<
  RNNBaseArguments,
  ["mode", "inputSize", "hiddenSize", "numLayers", "bias", "batchFirst", "dropout", "bidirectional", "projSize"],
  [
    mode: RNNMode,
    inputSize: number,
    hiddenSize: number,
    numLayers?: number,
    bias?: boolean,
    batchFirst?: boolean,
    dropout?: number,
    bidirectional?: boolean,
    projSize?: number,
  ]
>;

/**
 * What {@link RNN}, {@link LSTM} and {@link GRU} share; it has no forward of its own.
 *
 * Parameters of layer k, in this order, drawn from U(-1/√hiddenSize, 1/√hiddenSize): `weightIhL<k>` `[gates · hiddenSize,
 * inputs]`, `weightHhL<k>` `[gates · hiddenSize, outputs]`, with a bias `biasIhL<k>` and `biasHhL<k>`, with a projection
 * `weightHrL<k>` `[projSize, hiddenSize]`; those of the way back end with `Reverse`. In state dicts `weight_ih_l0`,
 * `weight_hh_l0_reverse` and so on.
 */
export abstract class RNNBase extends Module {
  readonly mode: RNNMode;
  readonly inputSize: number;
  readonly hiddenSize: number;
  readonly numLayers: number;
  readonly bias: boolean;
  readonly batchFirst: boolean;
  dropout: number;
  readonly bidirectional: boolean;
  readonly projSize: number;
  [name: `weightIhL${string}`]: Parameter;
  [name: `weightHhL${string}`]: Parameter;
  [name: `weightHrL${string}`]: Parameter;
  [name: `biasIhL${string}`]: Parameter;
  [name: `biasHhL${string}`]: Parameter;
  /** Names of the fields with the parameters, layer by layer, the ways back behind the ways forth. */
  private readonly weightNames: readonly (readonly string[])[];

  constructor(...given: RNNBaseCall) {
    super();
    const type = new.target.name;
    const a = read(given, type);
    if (a.projSize >= a.hiddenSize)
      throw new ArgumentError(type, `projSize below hiddenSize (${a.hiddenSize})`, a.projSize);
    this.mode = a.mode;
    this.inputSize = a.inputSize;
    this.hiddenSize = a.hiddenSize;
    this.numLayers = a.numLayers;
    this.bias = a.bias;
    this.batchFirst = a.batchFirst;
    this.dropout = a.dropout;
    this.bidirectional = a.bidirectional;
    this.projSize = a.projSize;
    if (a.dropout > 0 && a.numLayers === 1)
      process.emitWarning(
        `${type}: dropout ${a.dropout} has no effect, since it acts between layers and there is one. Set numLayers, or put a Dropout behind.`,
        { type: "NbitWarning", code: "WARN_RNN_DROPOUT" },
      );
    const names: string[][] = [];
    for (let layer = 0; layer < a.numLayers; layer++)
      for (const way of a.bidirectional ? ["", "Reverse"] : [""])
        names.push(makeLayer(this, `L${layer}${way}`, layer, a));
    this.weightNames = names;
    this.flattenParameters();
    this.resetParameters();
  }
  /** Features of the hidden state as it comes out. */
  protected get outputSize(): number {
    return this.projSize > 0 ? this.projSize : this.hiddenSize;
  }

  resetParameters(): void {
    atMost(`${this.constructor.name}.resetParameters`, arguments, 0);
    const bound = 1 / Math.sqrt(this.hiddenSize);
    for (const weight of this.parameters()) uniform_(weight, -bound, bound);
  }

  /** The parameters, layer by layer, the ways back behind the ways forth. */
  get allWeights(): readonly (readonly Parameter[])[] {
    return this.weightNames.map((names) => names.map((name) => weightOf(this, name)));
  }
  /** All of them in a row, as the operators take them. */
  protected get flatWeights(): Parameter[] {
    const weights: Parameter[] = [];
    for (const names of this.weightNames) for (const name of names) weights.push(weightOf(this, name));
    return weights;
  }

  /**
   * Lay the parameters one behind the other in memory, as cuDNN wants them; on a GPU alone, elsewhere it does nothing.
   * The layer does so itself when it is made and when it is moved.
   */
  flattenParameters(): void {
    atMost("flattenParameters", arguments, 0);
    const weights = this.flatWeights;
    const [first] = weights;
    if (first === undefined || weights.some((w) => w.device.type !== "cuda" || w.dtype !== first.dtype)) return;
    if (new Set(weights.map((w) => w.dataPtr())).size !== weights.length) return;
    const each = this.weightNames[0]?.length ?? 0;
    const { _cudnn_rnn_flatten_weight: flatten } = aten as Readonly<Record<string, AtenOperator | undefined>>;
    noGrad(() =>
      flatten?.(
        weights,
        each,
        this.inputSize,
        CUDNN_MODE[this.mode],
        this.hiddenSize,
        this.projSize,
        this.numLayers,
        this.batchFirst,
        this.bidirectional,
      ),
    );
  }
  protected override converted(): void {
    super.converted();
    this.flattenParameters();
  }

  /** @throws {ArgumentError} for an input of other dimensions, features or dtype than the layer's. */
  protected checkInput(input: Tensor, batchSizes: Tensor | null): void {
    const type = this.constructor.name;
    const weight = weightOf(this, this.weightNames[0]?.[0] ?? "");
    if (input.dtype !== weight.dtype && !autocastState(input.device.type).enabled)
      throw new ArgumentError(
        type,
        `an input of the weights' dtype (${weight.dtype})`,
        input,
        `Write input.to("${weight.dtype}"), or model.to("${input.dtype}").`,
      );
    const dims = batchSizes === null ? 3 : 2;
    if (input.ndim !== dims) throw new ArgumentError(type, `an input of ${dims} dimensions`, input);
    if (input.size(-1) !== this.inputSize)
      throw new ArgumentError(type, `an input whose last dimension is inputSize (${this.inputSize})`, input);
  }
  /** @throws {ArgumentError} for a state of another shape than `[layers · ways, batch, features]`. */
  protected checkState(name: string, state: Tensor, batch: number, features: number): void {
    const expected = [this.numLayers * (this.bidirectional ? 2 : 1), batch, features];
    if (String(state.shape) !== String(expected))
      throw new ArgumentError(this.constructor.name, `${name} of shape [${expected.join(", ")}]`, state);
  }

  override extraRepr(): string {
    const python = (value: boolean): string => (value ? "True" : "False");
    let text = `${this.inputSize}, ${this.hiddenSize}`;
    if (this.projSize !== 0) text += `, proj_size=${this.projSize}`;
    if (this.numLayers !== 1) text += `, num_layers=${this.numLayers}`;
    if (!this.bias) text += `, bias=${python(this.bias)}`;
    if (this.batchFirst) text += `, batch_first=${python(this.batchFirst)}`;
    if (this.dropout !== 0) text += `, dropout=${Number.isInteger(this.dropout) ? `${this.dropout}.0` : this.dropout}`;
    if (this.bidirectional) text += `, bidirectional=${python(this.bidirectional)}`;
    return text;
  }
  forward(..._args: never[]): unknown {
    throw new NbitError(`${this.constructor.name}: expected a subclass with a forward, such as LSTM.`, "NO_FORWARD");
  }
}

/** Registers the parameters of one way through a layer. @returns Their names. */
function makeLayer(rnn: RNNBase, suffix: string, layer: number, factory: FactoryOptions): string[] {
  const { hiddenSize, projSize, bias } = rnn;
  const rows = GATES[rnn.mode] * hiddenSize;
  const out = projSize > 0 ? projSize : hiddenSize;
  const columns = layer === 0 ? rnn.inputSize : out * (rnn.bidirectional ? 2 : 1);
  const shapes: readonly (readonly [name: string, shape: readonly number[]])[] = [
    ["weightIh", [rows, columns]],
    ["weightHh", [rows, out]],
    ...(bias
      ? ([
          ["biasIh", [rows]],
          ["biasHh", [rows]],
        ] as const)
      : []),
    ...(projSize > 0 ? ([["weightHr", [projSize, hiddenSize]]] as const) : []),
  ];
  return shapes.map(([name, shape]) => {
    rnn.registerParameter(name + suffix, emptyParameter(shape, factory));
    return name + suffix;
  });
}
function weightOf(rnn: RNNBase, name: string): Parameter {
  const weight: unknown = Reflect.get(rnn, name);
  if (isTensor(weight)) return weight as Parameter;
  throw new ArgumentError(rnn.constructor.name, `${name} to be a Parameter`, weight);
}
