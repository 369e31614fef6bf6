/** Recurrent layers: Elman networks, long short-term memories, gated recurrent units. */
import { ArgumentError } from "../../errors.js";
import { byDefault, either, oneOf, orNull, such } from "../../kinds.js";
import { gru, lstm, rnnRelu, rnnTanh, zeros } from "../../ops/index.js";
import type { OptionNames } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import { isRecording } from "../../program/recorded-step.js";
import { isTensor } from "../../tensor/handle.js";
import { tensorKind } from "../../tensor/kinds.js";
import type { Tensor } from "../../tensor/tensor.js";
import type { Module } from "../module.js";
import { directly, withFallback } from "./sixteen-bits.js";
import { packedKind, PackedSequence } from "../utils/rnn.js";
import {
  FACTORY,
  LAYERS,
  PROJECTION,
  RNNBase,
  SIZES,
  type ProjectedArguments,
  type RecurrentArguments,
} from "./base.js";

/** libtorch turns outputs with the batch first in place, which no recorded step can: they are turned here then. */
const turnsHere = ({ batchFirst }: RNNBase): boolean => batchFirst && isRecording();
function turned<Rest extends readonly Tensor[]>(
  turns: boolean,
  x: Tensor,
  run: (x: Tensor) => readonly [output: Tensor, ...states: Rest],
): readonly [output: Tensor, ...states: Rest] {
  if (!turns) return run(x);
  const [output, ...states] = run(x.transpose(0, 1));
  return [output.transpose(0, 1), ...states];
}

type RestPositions = [bias?: boolean, batchFirst?: boolean, dropout?: number, bidirectional?: boolean];

const INPUT = either(tensorKind, packedKind);
interface StepArguments<X, S> {
  readonly input: X;
  readonly hx?: S | null;
}
type StepCall<X, S> = Call<StepArguments<X, S>, ["input", "hx"], [input: X, hx?: S | null]>;
export type LSTMState = readonly [h: Tensor, c: Tensor];
const STATE = such<LSTMState>(
  "[h, c], two tensors",
  (v) => Array.isArray(v) && v.length === 2 && v.every((t) => isTensor(t)),
);
const readSingle = signature("forward", { input: INPUT, hx: byDefault(null, orNull(tensorKind)) });
const readPair = signature("forward", { input: INPUT, hx: byDefault(null, orNull(STATE)) });

/** A batch as the operators take it, and the way back. */
interface Batch {
  readonly input: Tensor;
  readonly batchSizes: Tensor | null;
  readonly size: number;
  /** Whether states come with a dimension for the batch. */
  readonly batched: boolean;
  readonly packed: PackedSequence | null;
}

abstract class Recurrent extends RNNBase {
  /** @throws {ArgumentError} for an input of 1 or more than 3 dimensions. */
  protected batchOf(given: Tensor | PackedSequence): Batch {
    if (given instanceof PackedSequence) {
      const { data, batchSizes } = given;
      this.checkInput(data, batchSizes);
      const size = batchSizes.numel() === 0 ? 0 : batchSizes.select(0, 0).item();
      return { input: data, batchSizes, size, batched: true, packed: given };
    }
    if (given.ndim !== 2 && given.ndim !== 3)
      throw new ArgumentError(this.constructor.name, "an input of 2 or 3 dimensions, or a PackedSequence", given);
    const batched = given.ndim === 3;
    const input = batched ? given : given.unsqueeze(this.batchDim);
    this.checkInput(input, null);
    return { input, batchSizes: null, size: input.size(this.batchDim), batched, packed: null };
  }
  private get batchDim(): number {
    return this.batchFirst ? 0 : 1;
  }
  /** A given state as the operators take it, or zeros. */
  protected stateOf(name: string, state: Tensor | null, batch: Batch, features: number): Tensor {
    const layers = this.numLayers * (this.bidirectional ? 2 : 1);
    if (state === null) {
      const { dtype, device } = batch.input;
      return zeros([layers, batch.size, features], { dtype, device });
    }
    if (state.ndim !== (batch.batched ? 3 : 2))
      throw new ArgumentError(
        this.constructor.name,
        `${name} of ${batch.batched ? "3 dimensions for a batch" : "2 dimensions for an input without a batch"}`,
        state,
      );
    const whole = batch.batched ? state : state.unsqueeze(1);
    this.checkState(name, whole, batch.size, features);
    const order = batch.packed?.sortedIndices ?? null;
    return order === null ? whole : whole.indexSelect(1, order);
  }
  protected outputOf(output: Tensor, batch: Batch): Tensor | PackedSequence {
    const { packed } = batch;
    if (packed !== null)
      return new PackedSequence(output, packed.batchSizes, packed.sortedIndices, packed.unsortedIndices);
    return batch.batched ? output : output.squeeze(this.batchDim);
  }
  protected finalOf(state: Tensor, batch: Batch): Tensor {
    if (!batch.batched) return state.squeeze(1);
    const order = batch.packed?.unsortedIndices ?? null;
    return order === null ? state : state.indexSelect(1, order);
  }
}

type OneState = typeof gru;
/** A layer whose state is one tensor. */
abstract class Single extends Recurrent {
  protected abstract readonly operator: OneState;

  /**
   * @param input - `[L, N, inputSize]`, `[N, L, inputSize]` with `batchFirst`, `[L, inputSize]` without a batch, or packed.
   * @param hx - `[layers · ways, N, hiddenSize]`, without N for an input without a batch. Default: zeros.
   * @returns The last layer's output of every step, in the form of the input with `ways · hiddenSize` features, and the
   *   last state of every layer and way, in the form of `hx`.
   */
  override forward(...given: StepCall<PackedSequence, Tensor>): [output: PackedSequence, hN: Tensor];
  override forward(...given: StepCall<Tensor, Tensor>): [output: Tensor, hN: Tensor];
  override forward(...given: readonly unknown[]): [output: Tensor | PackedSequence, hN: Tensor] {
    const { input, hx } = readSingle(given, `${this.constructor.name}.forward`);
    const batch = this.batchOf(input);
    const state = this.stateOf("hx", hx, batch, this.hiddenSize);
    const { bias, numLayers, dropout, training, bidirectional, operator } = this;
    const weights = this.flatWeights;
    const turns = turnsHere(this);
    const [output, last] =
      batch.batchSizes === null
        ? turned(turns, batch.input, (x) =>
            operator(x, state, weights, bias, numLayers, dropout, training, bidirectional, this.batchFirst && !turns),
          )
        : operator(batch.input, batch.batchSizes, state, weights, bias, numLayers, dropout, training, bidirectional);
    return [this.outputOf(output, batch), this.finalOf(last, batch)];
  }
  override call<M extends Module>(this: M, ...args: Parameters<M["forward"]>): ReturnType<M["forward"]>;
  override call(...given: StepCall<PackedSequence, Tensor>): [output: PackedSequence, hN: Tensor];
  override call(...given: readonly unknown[]): unknown {
    return super.call(...(given as never[]));
  }
}

export interface RNNArguments extends RecurrentArguments {
  /** Default "tanh". */
  readonly nonlinearity?: "tanh" | "relu";
}
const NONLINEARITY = { nonlinearity: byDefault("tanh", oneOf("tanh", "relu")) } as const;
const readRnn = signature("RNN", {
  ...SIZES,
  ...NONLINEARITY,
  ...LAYERS,
  ...FACTORY,
} satisfies OptionNames<RNNArguments>);
type RNNCall = Call<
  RNNArguments,
  ["inputSize", "hiddenSize", "numLayers", "nonlinearity", "bias", "batchFirst", "dropout", "bidirectional"],
  [inputSize: number, hiddenSize: number, numLayers?: number, nonlinearity?: "tanh" | "relu", ...RestPositions]
>;

/**
 * Elman, 1990. `h = tanh(W_ih x + b_ih + W_hh h + b_hh)`, or with relu, for every step; the layers on top of one
 * another. Low precision under autocast on a GPU.
 *
 * @example
 * const rnn = new nn.RNN(10, 20, { numLayers: 2, batchFirst: true });
 * const [output, h] = rnn.forward(randn([3, 5, 10])); // [3, 5, 20], [2, 3, 20]
 */
export class RNN extends Single {
  readonly nonlinearity: "tanh" | "relu";
  protected override get operator(): OneState {
    return this.nonlinearity === "relu" ? rnnRelu : rnnTanh;
  }
  constructor(...given: RNNCall) {
    const { nonlinearity, ...a } = readRnn(given, new.target.name);
    super({ mode: nonlinearity === "relu" ? "RNN_RELU" : "RNN_TANH", ...a });
    this.nonlinearity = nonlinearity;
  }
}

const readGru = signature("GRU", { ...SIZES, ...LAYERS, ...FACTORY } satisfies OptionNames<RecurrentArguments>);
type GRUCall = Call<
  RecurrentArguments,
  ["inputSize", "hiddenSize", "numLayers", "bias", "batchFirst", "dropout", "bidirectional"],
  [inputSize: number, hiddenSize: number, numLayers?: number, ...RestPositions]
>;

/**
 * Cho et al., 2014, with the reset gate behind the product. Its weights hold the gates r, z, n one below the other:
 *
 * `r = σ(W_ir x + b_ir + W_hr h + b_hr)`, `z = σ(W_iz x + b_iz + W_hz h + b_hz)`, `n = tanh(W_in x + b_in + r · (W_hn h +
 * b_hn))`, `h = (1 - z) · n + z · h`.
 */
export class GRU extends Single {
  protected override get operator(): OneState {
    return gru;
  }
  constructor(...given: GRUCall) {
    super({ mode: "GRU", ...readGru(given, new.target.name) });
  }
}

const readLstm = signature("LSTM", {
  ...SIZES,
  ...LAYERS,
  ...PROJECTION,
  ...FACTORY,
} satisfies OptionNames<ProjectedArguments>);
type LSTMCall = Call<
  ProjectedArguments,
  ["inputSize", "hiddenSize", "numLayers", "bias", "batchFirst", "dropout", "bidirectional", "projSize"],
  [inputSize: number, hiddenSize: number, numLayers?: number, ...RestPositions, projSize?: number]
>;

/**
 * Hochreiter and Schmidhuber, 1997, with forget gates. Its weights hold the gates i, f, g, o one below the other:
 *
 * `i = σ(W_ii x + b_ii + W_hi h + b_hi)`, `f`, `o` likewise, `g = tanh(W_ig x + b_ig + W_hg h + b_hg)`, `c = f · c + i · g`,
 * `h = o · tanh(c)`; with a projection (Sak et al., 2014) `h = W_hr (o · tanh(c))`.
 *
 * Low precision under autocast. On a CPU that oneDNN has no LSTM of 16 bits for, it computes in float32 and rounds what it
 * returns, where PyTorch's fails.
 *
 * @example
 * const lstm = new nn.LSTM(10, 20, 2, { bidirectional: true });
 * const [output, [h, c]] = lstm.forward(randn([5, 3, 10])); // [5, 3, 40], [4, 3, 20], [4, 3, 20]
 */
export class LSTM extends Recurrent {
  constructor(...given: LSTMCall) {
    super({ mode: "LSTM", ...readLstm(given, new.target.name) });
  }
  /**
   * @param input - `[L, N, inputSize]`, `[N, L, inputSize]` with `batchFirst`, `[L, inputSize]` without a batch, or packed.
   * @param hx - `[h, c]`: `[layers · ways, N, projSize or hiddenSize]` and `[layers · ways, N, hiddenSize]`, without N for
   *   an input without a batch. Default: zeros.
   * @returns The last layer's output of every step, in the form of the input, and the last states, in the form of `hx`.
   */
  override forward(
    ...given: StepCall<PackedSequence, LSTMState>
  ): [output: PackedSequence, states: [hN: Tensor, cN: Tensor]];
  override forward(...given: StepCall<Tensor, LSTMState>): [output: Tensor, states: [hN: Tensor, cN: Tensor]];
  override forward(...given: readonly unknown[]): [output: Tensor | PackedSequence, states: [hN: Tensor, cN: Tensor]] {
    const { input, hx } = readPair(given, `${this.constructor.name}.forward`);
    const batch = this.batchOf(input);
    const states = [
      this.stateOf("hx[0]", hx?.[0] ?? null, batch, this.outputSize),
      this.stateOf("hx[1]", hx?.[1] ?? null, batch, this.hiddenSize),
    ];
    const { bias, numLayers, dropout, training, bidirectional } = this;
    const { batchSizes } = batch;
    // Projections are not oneDNN's, but operators one after the other, each as autocast has it.
    const run = this.projSize > 0 ? directly : withFallback;
    const turns = turnsHere(this);
    const batchFirst = this.batchFirst && !turns;
    const [output, h, c] = run(batch.input, states, this.flatWeights, (x, hc, weights) =>
      batchSizes === null
        ? turned(turns, x, (y) => lstm(y, hc, weights, bias, numLayers, dropout, training, bidirectional, batchFirst))
        : lstm(x, batchSizes, hc, weights, bias, numLayers, dropout, training, bidirectional),
    );
    return [this.outputOf(output, batch), [this.finalOf(h, batch), this.finalOf(c, batch)]];
  }
  override call<M extends Module>(this: M, ...args: Parameters<M["forward"]>): ReturnType<M["forward"]>;
  override call(
    ...given: StepCall<PackedSequence, LSTMState>
  ): [output: PackedSequence, states: [hN: Tensor, cN: Tensor]];
  override call(...given: readonly unknown[]): unknown {
    return super.call(...(given as never[]));
  }
}
