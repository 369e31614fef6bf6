/** One step of a recurrent layer. */
import { ArgumentError } from "../../errors.js";
import { byDefault, flag, oneOf, orNull, such } from "../../kinds.js";
import { gruCell, lstmCell, rnnReluCell, rnnTanhCell, zeros } from "../../ops/index.js";
import { atMost, type OptionNames } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import { isTensor } from "../../tensor/handle.js";
import { tensorKind } from "../../tensor/kinds.js";
import type { Tensor } from "../../tensor/tensor.js";
import { uniform_ } from "../init.js";
import { positive } from "../kernels.js";
import { emptyParameter, type FactoryOptions } from "../linear.js";
import { Module } from "../module.js";
import type { Parameter } from "../parameter.js";
import { FACTORY } from "./base.js";
import type { LSTMState } from "./layers.js";

export interface CellArguments extends FactoryOptions {
  /** Features of the input. */
  readonly inputSize: number;
  /** Features of the hidden state. */
  readonly hiddenSize: number;
  /** Add both bias vectors. Default true. */
  readonly bias?: boolean;
}
export interface RNNCellBaseArguments extends CellArguments {
  readonly bias: boolean;
  /** How many gates there are. */
  readonly numChunks: number;
}
const CELL = { inputSize: positive, hiddenSize: positive, bias: byDefault(true, flag) } as const;
const readBase = signature("RNNCellBase", {
  inputSize: positive,
  hiddenSize: positive,
  bias: flag,
  numChunks: positive,
  ...FACTORY,
} satisfies OptionNames<RNNCellBaseArguments>);
type BaseCall = Call<
  RNNCellBaseArguments,
  ["inputSize", "hiddenSize", "bias", "numChunks"],
  [inputSize: number, hiddenSize: number, bias: boolean, numChunks: number]
>;

/**
 * What cells share: `weightIh` `[gates · hiddenSize, inputSize]`, `weightHh` `[gates · hiddenSize, hiddenSize]`, `biasIh`
 * and `biasHh` `[gates · hiddenSize]`, drawn from U(-1/√hiddenSize, 1/√hiddenSize).
 */
export abstract class RNNCellBase extends Module {
  readonly inputSize: number;
  readonly hiddenSize: number;
  readonly bias: boolean;
  weightIh: Parameter;
  weightHh: Parameter;
  biasIh: Parameter | null;
  biasHh: Parameter | null;
  constructor(...given: BaseCall) {
    super();
    const { inputSize, hiddenSize, bias, numChunks, ...factory } = readBase(given, new.target.name);
    this.inputSize = inputSize;
    this.hiddenSize = hiddenSize;
    this.bias = bias;
    const rows = numChunks * hiddenSize;
    this.weightIh = emptyParameter([rows, inputSize], factory);
    this.weightHh = emptyParameter([rows, hiddenSize], factory);
    this.biasIh = bias ? emptyParameter([rows], factory) : null;
    this.biasHh = bias ? emptyParameter([rows], factory) : null;
    this.resetParameters();
  }
  resetParameters(): void {
    atMost(`${this.constructor.name}.resetParameters`, arguments, 0);
    const bound = 1 / Math.sqrt(this.hiddenSize);
    for (const weight of this.parameters()) uniform_(weight, -bound, bound);
  }
  /** @throws {ArgumentError} for a tensor of other than one or two dimensions. */
  protected checkDims(name: string, t: Tensor): void {
    if (t.ndim !== 1 && t.ndim !== 2) throw new ArgumentError(this.constructor.name, `${name} of 1 or 2 dimensions`, t);
  }
  /** A state with a batch, or zeros for the input, which has one. */
  protected stateFor(input: Tensor, state: Tensor | null, batched: boolean): Tensor {
    if (state !== null) return batched ? state : state.unsqueeze(0);
    return zeros([input.size(0), this.hiddenSize], { dtype: input.dtype, device: input.device });
  }
  override extraRepr(): string {
    return `${this.inputSize}, ${this.hiddenSize}${this.bias ? "" : ", bias=False"}`;
  }
}

interface StepArguments<S> {
  readonly input: Tensor;
  readonly hx?: S | null;
}
type StepCall<S> = Call<StepArguments<S>, ["input", "hx"], [input: Tensor, hx?: S | null]>;
const readSingle = signature("forward", { input: tensorKind, hx: byDefault(null, orNull(tensorKind)) });
const STATE = such<LSTMState>(
  "[h, c], two tensors",
  (v) => Array.isArray(v) && v.length === 2 && v.every((t) => isTensor(t)),
);
const readPair = signature("forward", { input: tensorKind, hx: byDefault(null, orNull(STATE)) });

/** A cell whose state is one tensor. */
abstract class SingleCell extends RNNCellBase {
  protected abstract step(input: Tensor, hx: Tensor): Tensor;
  /**
   * @param input - `[N, inputSize]` or `[inputSize]`.
   * @param hx - `[N, hiddenSize]` or `[hiddenSize]`. Default: zeros.
   * @returns The next state, in the form of `hx`.
   */
  override forward(...given: StepCall<Tensor>): Tensor {
    const { input, hx } = readSingle(given, `${this.constructor.name}.forward`);
    this.checkDims("an input", input);
    if (hx !== null) this.checkDims("hx", hx);
    const batched = input.ndim === 2;
    const x = batched ? input : input.unsqueeze(0);
    const next = this.step(x, this.stateFor(x, hx, batched));
    return batched ? next : next.squeeze(0);
  }
}

export interface RNNCellArguments extends CellArguments {
  /** Default "tanh". */
  readonly nonlinearity?: "tanh" | "relu";
}
const readRnn = signature("RNNCell", {
  ...CELL,
  nonlinearity: byDefault("tanh", oneOf("tanh", "relu")),
  ...FACTORY,
} satisfies OptionNames<RNNCellArguments>);
/** One step of {@link RNN}: `tanh(W_ih x + b_ih + W_hh h + b_hh)`, or with relu. */
export class RNNCell extends SingleCell {
  readonly nonlinearity: "tanh" | "relu";
  constructor(
    ...given: Call<
      RNNCellArguments,
      ["inputSize", "hiddenSize", "bias", "nonlinearity"],
      [inputSize: number, hiddenSize: number, bias?: boolean, nonlinearity?: "tanh" | "relu"]
    >
  ) {
    const { nonlinearity, ...a } = readRnn(given, new.target.name);
    super({ ...a, numChunks: 1 });
    this.nonlinearity = nonlinearity;
  }
  protected override step(input: Tensor, hx: Tensor): Tensor {
    const cell = this.nonlinearity === "relu" ? rnnReluCell : rnnTanhCell;
    return cell(input, hx, this.weightIh, this.weightHh, this.biasIh, this.biasHh);
  }
  override extraRepr(): string {
    return `${super.extraRepr()}${this.nonlinearity === "tanh" ? "" : `, nonlinearity=${this.nonlinearity}`}`;
  }
}

type CellCall = Call<
  CellArguments,
  ["inputSize", "hiddenSize", "bias"],
  [inputSize: number, hiddenSize: number, bias?: boolean]
>;
const readGru = signature("GRUCell", { ...CELL, ...FACTORY } satisfies OptionNames<CellArguments>);
/** One step of {@link GRU}. */
export class GRUCell extends SingleCell {
  constructor(...given: CellCall) {
    super({ ...readGru(given, new.target.name), numChunks: 3 });
  }
  protected override step(input: Tensor, hx: Tensor): Tensor {
    return gruCell(input, hx, this.weightIh, this.weightHh, this.biasIh, this.biasHh);
  }
}

const readLstm = signature("LSTMCell", { ...CELL, ...FACTORY } satisfies OptionNames<CellArguments>);
/** One step of {@link LSTM}. */
export class LSTMCell extends RNNCellBase {
  constructor(...given: CellCall) {
    super({ ...readLstm(given, new.target.name), numChunks: 4 });
  }
  /**
   * @param input - `[N, inputSize]` or `[inputSize]`.
   * @param hx - `[h, c]`, each `[N, hiddenSize]` or `[hiddenSize]`. Default: zeros.
   * @returns The next `[h, c]`.
   */
  override forward(...given: StepCall<LSTMState>): [h: Tensor, c: Tensor] {
    const { input, hx } = readPair(given, `${this.constructor.name}.forward`);
    this.checkDims("an input", input);
    hx?.forEach((state, i) => this.checkDims(`hx[${i}]`, state));
    const batched = input.ndim === 2;
    const x = batched ? input : input.unsqueeze(0);
    const first = this.stateFor(x, hx?.[0] ?? null, batched);
    const states = [first, hx === null ? first : this.stateFor(x, hx[1], batched)];
    const [h, c] = lstmCell(x, states, this.weightIh, this.weightHh, this.biasIh, this.biasHh);
    return batched ? [h, c] : [h.squeeze(0), c.squeeze(0)];
  }
}
