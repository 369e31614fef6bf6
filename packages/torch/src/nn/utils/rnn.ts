/** Batches of sequences of different lengths: padded, or packed one step after the other. */
import { ArgumentError, verbatim } from "../../errors.js";
import { byDefault, either, flag, iterable, oneOf, orNull, real, such, whole, type Kind } from "../../kinds.js";
import * as ops from "../../ops/index.js";
import { atMost, checkArguments, type OptionNames } from "../../options.js";
import { isPlain } from "../../realm.js";
import { iterated } from "../../read-once.js";
import { signature, type Call } from "../../signature.js";
import type { ToOptions } from "../../tensor/conversions.js";
import type { DeviceLike } from "../../tensor/device.js";
import type { DType } from "../../tensor/dtype.js";
import { isTensor } from "../../tensor/handle.js";
import { tensorKind } from "../../tensor/kinds.js";
import type { Tensor } from "../../tensor/tensor.js";
import { tensor } from "../../tensor/values.js";

const { _pack_padded_sequence: packPadded, _pad_packed_sequence: padPacked } = ops.aten as Readonly<
  Record<"_pack_padded_sequence" | "_pad_packed_sequence", ops.AtenOperator>
>;
const two = (pair: readonly Tensor[]): [Tensor, Tensor] => [pair[0] as Tensor, pair[1] as Tensor];

export interface PackedSequenceArguments {
  /** The elements of all sequences: those of the first step, then those of the second, and so on. */
  readonly data: Tensor;
  /** How many sequences have a step: int64, on the CPU, from the most to the fewest. */
  readonly batchSizes: Tensor;
  /** Where the sequences, sorted by length, stood in the batch; null: they stood so. */
  readonly sortedIndices?: Tensor | null;
  /** Where those of the batch stand among the sorted ones. Default: the inverse of `sortedIndices`. */
  readonly unsortedIndices?: Tensor | null;
}
const PACKED = {
  data: tensorKind,
  batchSizes: tensorKind,
  sortedIndices: byDefault(null, orNull(tensorKind)),
  unsortedIndices: byDefault(null, orNull(tensorKind)),
} satisfies OptionNames<PackedSequenceArguments>;
const readPacked = signature("PackedSequence", PACKED);
type PackedCall = Call<
  PackedSequenceArguments,
  ["data", "batchSizes", "sortedIndices", "unsortedIndices"],
  [data: Tensor, batchSizes: Tensor, sortedIndices?: Tensor | null, unsortedIndices?: Tensor | null]
>;

/**
 * Sequences of different lengths without padding, as recurrent layers take and return them: the sequences `abc` and `x`
 * have the data `axbc` and the batch sizes `[2, 1, 1]`. Made by {@link packPaddedSequence} and {@link packSequence}.
 *
 * `data` may be on any device and of any dtype; the indices are int64 on the same device, the batch sizes int64 on the
 * CPU. Iterating gives the four tensors: `const [data, batchSizes] = packed`.
 */
export class PackedSequence implements Iterable<Tensor | null> {
  readonly data: Tensor;
  readonly batchSizes: Tensor;
  readonly sortedIndices: Tensor | null;
  readonly unsortedIndices: Tensor | null;

  constructor(...given: PackedCall) {
    const a = readPacked(given);
    if (a.batchSizes.device.type !== "cpu")
      throw new ArgumentError("PackedSequence", "batchSizes to be on the CPU", a.batchSizes);
    this.data = a.data;
    this.batchSizes = a.batchSizes;
    this.sortedIndices = a.sortedIndices;
    this.unsortedIndices = a.unsortedIndices ?? invertPermutation(a.sortedIndices);
  }

  /** The data, and with it the indices, elsewhere or in another dtype; the same object where nothing changes. */
  to(target: DType | DeviceLike | ToOptions | Tensor): PackedSequence {
    atMost("PackedSequence.to", arguments, 1);
    const data = this.data.to(target);
    if (data === this.data) return this;
    const nonBlocking = isPlain(target) && (target as ToOptions).nonBlocking === true;
    const move = (t: Tensor | null): Tensor | null => t?.to({ device: data.device, nonBlocking }) ?? null;
    return new PackedSequence(data, this.batchSizes, move(this.sortedIndices), move(this.unsortedIndices));
  }
  cpu(): PackedSequence {
    atMost("PackedSequence.cpu", arguments, 0);
    return this.to("cpu");
  }
  cuda(index?: number): PackedSequence {
    atMost("PackedSequence.cuda", arguments, 1);
    if (index !== undefined) checkArguments("PackedSequence.cuda", { index }, { index: whole("[0, ∞)") });
    return this.to(index === undefined ? "cuda" : `cuda:${index}`);
  }
  double(): PackedSequence {
    atMost("PackedSequence.double", arguments, 0);
    return this.to("float64");
  }
  float(): PackedSequence {
    atMost("PackedSequence.float", arguments, 0);
    return this.to("float32");
  }
  half(): PackedSequence {
    atMost("PackedSequence.half", arguments, 0);
    return this.to("float16");
  }
  long(): PackedSequence {
    atMost("PackedSequence.long", arguments, 0);
    return this.to("int64");
  }
  int(): PackedSequence {
    atMost("PackedSequence.int", arguments, 0);
    return this.to("int32");
  }
  short(): PackedSequence {
    atMost("PackedSequence.short", arguments, 0);
    return this.to("int16");
  }
  char(): PackedSequence {
    atMost("PackedSequence.char", arguments, 0);
    return this.to("int8");
  }
  byte(): PackedSequence {
    atMost("PackedSequence.byte", arguments, 0);
    return this.to("uint8");
  }
  get isCuda(): boolean {
    return this.data.device.type === "cuda";
  }
  isPinned(): boolean {
    atMost("PackedSequence.isPinned", arguments, 0);
    return this.data.isPinned();
  }
  /** The tensors in page-locked memory, from which GPUs read without waiting. */
  pinMemory(): PackedSequence {
    atMost("PackedSequence.pinMemory", arguments, 0);
    const pin = (t: Tensor | null): Tensor | null => t?.pinMemory() ?? null;
    return new PackedSequence(
      this.data.pinMemory(),
      this.batchSizes,
      pin(this.sortedIndices),
      pin(this.unsortedIndices),
    );
  }
  *[Symbol.iterator](): IterableIterator<Tensor | null> {
    yield this.data;
    yield this.batchSizes;
    yield this.sortedIndices;
    yield this.unsortedIndices;
  }
}
export const packedKind = such<PackedSequence>("a PackedSequence", (value) => value instanceof PackedSequence);

/** The permutation that undoes one: int64 `[n]`; null for null. */
export function invertPermutation(permutation: Tensor | null): Tensor | null {
  atMost("invertPermutation", arguments, 1);
  checkArguments("invertPermutation", { permutation }, { permutation: orNull(tensorKind) });
  if (permutation === null) return null;
  const { device } = permutation;
  const places = ops.arange(permutation.numel(), { device, dtype: "int64" });
  return ops.empty([permutation.numel()], { dtype: "int64", device }).scatter_(0, permutation, places);
}

type Lengths = Tensor | readonly number[];
const LENGTHS = either(
  tensorKind,
  such<readonly number[]>(
    "an array of whole numbers ≥ 1",
    (v) => Array.isArray(v) && v.every((n) => Number.isInteger(n)),
  ),
);
export interface PackPaddedArguments {
  /** `[T, B, …]`, or `[B, T, …]` with `batchFirst`: of any dtype, at least two dimensions. */
  readonly input: Tensor;
  /** How long each sequence is: B numbers ≥ 1, in an array or a tensor on the CPU. */
  readonly lengths: Lengths;
  /** Default false. */
  readonly batchFirst?: boolean;
  /** The sequences stand from the longest to the shortest; false: they are sorted. Default true. */
  readonly enforceSorted?: boolean;
}
const PACK = {
  input: tensorKind,
  lengths: LENGTHS,
  batchFirst: byDefault(false, flag),
  enforceSorted: byDefault(true, flag),
} satisfies OptionNames<PackPaddedArguments>;
const readPack = signature("packPaddedSequence", PACK);

/**
 * A padded batch of sequences without its padding. The inverse of {@link padPackedSequence}.
 *
 * @throws {ArgumentError} for lengths on a GPU; libtorch's error for lengths that do not fit the batch, or that are not
 * sorted where `enforceSorted` is true.
 * @example
 * const packed = nn.utils.rnn.packPaddedSequence(x, [5, 3, 2], { batchFirst: true });
 * const [output, [h, c]] = lstm.forward(packed);
 * const [padded, lengths] = nn.utils.rnn.padPackedSequence(output, { batchFirst: true });
 */
export function packPaddedSequence(
  ...given: Call<
    PackPaddedArguments,
    ["input", "lengths", "batchFirst", "enforceSorted"],
    [input: Tensor, lengths: Lengths, batchFirst?: boolean, enforceSorted?: boolean]
  >
): PackedSequence {
  const { input, lengths, batchFirst, enforceSorted } = readPack(given);
  return pack("packPaddedSequence", input, lengths, batchFirst, enforceSorted);
}
function pack(fn: string, input: Tensor, given: Lengths, batchFirst: boolean, enforceSorted: boolean): PackedSequence {
  if (isTensor(given) && given.device.type !== "cpu") throw new ArgumentError(fn, "lengths on the CPU", given);
  let lengths = isTensor(given) ? given.to("int64") : tensor([...given], { dtype: "int64" });
  let sortedIndices: Tensor | null = null;
  let x = input;
  if (!enforceSorted) {
    const [sorted, order] = lengths.sort(-1, true);
    const here = order.to(input.device);
    lengths = sorted;
    x = input.indexSelect(batchFirst ? 0 : 1, here);
    sortedIndices = here;
  }
  const [data, batchSizes] = two(packPadded(x, lengths, batchFirst));
  return new PackedSequence(data, batchSizes, sortedIndices);
}

export interface PadPackedArguments {
  readonly sequence: PackedSequence;
  /** The result is `[B, T, …]`. Default false: `[T, B, …]`. */
  readonly batchFirst?: boolean;
  /** Of what stands behind the sequences. Default 0. */
  readonly paddingValue?: number;
  /** T, at least the longest length. Default null: that. */
  readonly totalLength?: number | null;
}
const UNPACK = {
  sequence: packedKind,
  batchFirst: byDefault(false, flag),
  paddingValue: byDefault(0, real("[-∞, ∞]")),
  totalLength: byDefault(null, orNull(whole("[0, ∞)"))),
} satisfies OptionNames<PadPackedArguments>;
const readUnpack = signature("padPackedSequence", UNPACK);

/**
 * The padded batch of a packed one, and the lengths (int64 `[B]`, on the CPU), both in the order in which the sequences
 * were given to `packPaddedSequence`.
 * @throws {ArgumentError} `padPackedSequence: expected totalLength to be at least the longest length (5). Received: 4.`
 */
export function padPackedSequence(
  ...given: Call<
    PadPackedArguments,
    ["sequence", "batchFirst", "paddingValue", "totalLength"],
    [sequence: PackedSequence, batchFirst?: boolean, paddingValue?: number, totalLength?: number | null]
  >
): [padded: Tensor, lengths: Tensor] {
  const { sequence, batchFirst, paddingValue, totalLength } = readUnpack(given);
  return unpack("padPackedSequence", sequence, batchFirst, paddingValue, totalLength);
}
function unpack(
  fn: string,
  { data, batchSizes, unsortedIndices }: PackedSequence,
  batchFirst: boolean,
  paddingValue: number,
  totalLength: number | null,
): [Tensor, Tensor] {
  const longest = batchSizes.size(0);
  if (totalLength !== null && totalLength < longest)
    throw new ArgumentError(fn, `totalLength to be at least the longest length (${longest})`, totalLength);
  const [padded, lengths] = two(padPacked(data, batchSizes, batchFirst, paddingValue, totalLength ?? longest));
  if (unsortedIndices === null) return [padded, lengths];
  return [padded.indexSelect(batchFirst ? 0 : 1, unsortedIndices), lengths.indexSelect(0, unsortedIndices.to("cpu"))];
}

const SEQUENCES = either(tensorKind, iterable) as Kind<Iterable<Tensor>>;
export interface PadSequenceArguments {
  /** Tensors `[L, …]` of one dtype that differ in L alone. */
  readonly sequences: Iterable<Tensor>;
  /** The result is `[B, T, …]`. Default false: `[T, B, …]`. */
  readonly batchFirst?: boolean;
  /** Default 0. */
  readonly paddingValue?: number;
  /** Where it stands. Default "right". */
  readonly paddingSide?: "left" | "right";
}
const PAD = {
  sequences: SEQUENCES,
  batchFirst: byDefault(false, flag),
  paddingValue: byDefault(0, real("[-∞, ∞]")),
  paddingSide: byDefault("right", oneOf("left", "right")),
} satisfies OptionNames<PadSequenceArguments>;
const readPad = signature("padSequence", PAD);

/** Sequences side by side, padded to the length T of the longest: `[T, B, …]`, or `[B, T, …]` with `batchFirst`. */
export function padSequence(
  ...given: Call<
    PadSequenceArguments,
    ["sequences", "batchFirst", "paddingValue", "paddingSide"],
    [sequences: Iterable<Tensor>, batchFirst?: boolean, paddingValue?: number, paddingSide?: "left" | "right"]
  >
): Tensor {
  const { sequences, batchFirst, paddingValue, paddingSide } = readPad(given);
  return ops.padSequence(listOfTensors("padSequence", sequences), batchFirst, paddingValue, paddingSide);
}
function listOfTensors(fn: string, sequences: unknown): Tensor[] {
  // Along the first dimension, as Python walks a tensor.
  const list = isTensor(sequences) ? sequences.unbind(0) : iterated(fn, "sequences", sequences as Iterable<unknown>);
  if (list.length === 0) throw new ArgumentError(fn, "sequences to have at least one tensor", sequences);
  list.forEach((t, i) => {
    if (!isTensor(t)) throw new ArgumentError(fn, `sequences[${i}] to be a tensor`, t);
  });
  return list as Tensor[];
}

export interface UnpadSequenceArguments {
  /** `[T, B, …]`, or `[B, T, …]` with `batchFirst`. */
  readonly paddedSequences: Tensor;
  /** How long each sequence is: B numbers. */
  readonly lengths: Lengths;
  /** Default false. */
  readonly batchFirst?: boolean;
}
const UNPAD = {
  paddedSequences: tensorKind,
  lengths: LENGTHS,
  batchFirst: byDefault(false, flag),
} satisfies OptionNames<UnpadSequenceArguments>;
const readUnpad = signature("unpadSequence", UNPAD);

/** The sequences of a padded batch, `[L, …]` each. Waits for lengths on a GPU. Unlike PyTorch's, changes no argument. */
export function unpadSequence(
  ...given: Call<
    UnpadSequenceArguments,
    ["paddedSequences", "lengths", "batchFirst"],
    [paddedSequences: Tensor, lengths: Lengths, batchFirst?: boolean]
  >
): Tensor[] {
  const { paddedSequences, lengths, batchFirst } = readUnpad(given);
  return unpad("unpadSequence", paddedSequences, lengths, batchFirst);
}
function unpad(fn: string, padded: Tensor, given: Lengths, batchFirst: boolean): Tensor[] {
  const lengths = isTensor(given) ? (given.tolist() as readonly number[]) : given;
  const rows = (batchFirst ? padded : padded.transpose(0, 1)).unbind(0);
  if (lengths.length !== rows.length)
    throw new ArgumentError(fn, `${rows.length} lengths, one for each sequence`, verbatim(`${lengths.length}`));
  return rows.map((row, i) => row.narrow(0, 0, Math.max(0, Math.min(Number(lengths[i]), row.size(0)))).clone());
}

export interface PackSequenceArguments {
  /** Tensors `[L, …]` of one dtype that differ in L alone. */
  readonly sequences: readonly Tensor[];
  /** The sequences stand from the longest to the shortest; false: they are sorted. Default true. */
  readonly enforceSorted?: boolean;
}
const PACK_LIST = {
  sequences: SEQUENCES,
  enforceSorted: byDefault(true, flag),
} satisfies OptionNames<PackSequenceArguments>;
const readPackList = signature("packSequence", PACK_LIST);

/** A packed batch of sequences: what `packPaddedSequence` makes of their `padSequence`. */
export function packSequence(
  ...given: Call<
    PackSequenceArguments,
    ["sequences", "enforceSorted"],
    [sequences: readonly Tensor[], enforceSorted?: boolean]
  >
): PackedSequence {
  const { sequences, enforceSorted } = readPackList(given);
  const list = listOfTensors("packSequence", sequences);
  const lengths = list.map((t) => t.size(0));
  return pack("packSequence", ops.padSequence(list), lengths, false, enforceSorted);
}

/** The sequences of a packed batch, in the order in which they were given. */
export function unpackSequence(packedSequences: PackedSequence): Tensor[] {
  atMost("unpackSequence", arguments, 1);
  checkArguments("unpackSequence", { packedSequences }, { packedSequences: packedKind });
  const [padded, lengths] = unpack("unpackSequence", packedSequences, true, 0, null);
  return unpad("unpackSequence", padded, lengths, true);
}
