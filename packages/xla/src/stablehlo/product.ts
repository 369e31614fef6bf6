/** Matrix products and convolutions. Half operands are multiplied exactly and summed in float32: the caller rounds once. */
import { listText, need, signature, type Emitter } from "./emitter.js";
import { accumulator, range, same, typeText, type Element, type Ssa } from "./types.js";

export interface DotDims {
  /** Dimensions of both that go along: [of a, of b]. */
  readonly batch?: readonly [readonly number[], readonly number[]];
  /** Dimensions that are summed over. */
  readonly contract: readonly [readonly number[], readonly number[]];
}

/**
 * Batch dimensions, then the free ones of `a`, then those of `b`. float32 for half operands, or what `to` says: summed
 * in float32 and rounded once in any case.
 */
export function dot(e: Emitter, a: Ssa, b: Ssa, { batch = [[], []], contract }: DotDims, to?: Element): Ssa {
  need(a.element === b.element, `a product of ${a.element} and ${b.element}`);
  const sizes = (v: Ssa, dims: readonly number[]): number[] => dims.map((k) => v.shape[k]);
  const free = (v: Ssa, i: 0 | 1): number[] =>
    v.shape.filter((_, k) => !batch[i].includes(k) && !contract[i].includes(k));
  need(
    same(sizes(a, contract[0]), sizes(b, contract[1])) && same(sizes(a, batch[0]), sizes(b, batch[1])),
    `a product of ${listText(a.shape)} and ${listText(b.shape)}`,
  );
  const shape = [...sizes(a, batch[0]), ...free(a, 0), ...free(b, 1)];
  const element = to ?? accumulator(a.element);
  const along = batch[0].length > 0 ? `batching_dims = ${listText(batch[0])} x ${listText(batch[1])}, ` : "";
  const precision = a.element === "f32" ? e.precision : "DEFAULT";
  return e.op(
    element,
    shape,
    `stablehlo.dot_general ${a.name}, ${b.name}, ${along}contracting_dims = ${listText(contract[0])} x ${listText(contract[1])}, precision = [${precision}, ${precision}] : ${signature([a, b], typeText(element, shape))}`,
  );
}

export interface ConvolutionDims {
  readonly stride: readonly number[];
  /** Low and high; may be negative. */
  readonly padding: readonly (readonly [number, number])[];
  readonly inputDilation?: readonly number[];
  readonly dilation?: readonly number[];
  /** The kernel backwards, as convolution is in mathematics. */
  readonly reverse?: boolean;
  readonly groups?: number;
  readonly batchGroups?: number;
  /** Which dimension is which: of the input, the kernel and the result, two letters before the spatial ones. */
  readonly letters?: readonly [string, string, string];
}

export function convolution(e: Emitter, input: Ssa, kernel: Ssa, shape: readonly number[], d: ConvolutionDims): Ssa {
  need(input.element === kernel.element, `a convolution of ${input.element} with ${kernel.element}`);
  const n = d.stride.length;
  const ones = range(n).map(() => 1);
  const element = accumulator(input.element);
  const precision = `#stablehlo<precision ${input.element === "f32" ? e.precision : "DEFAULT"}>`;
  const spatial = range(n).join(", ");
  const [x, k, y] = (d.letters ?? ["b, f", "o, i", "b, f"]).map((letters) => `[${letters}, ${spatial}]`);
  const window = [
    `stride = ${listText(d.stride)}`,
    `pad = [${d.padding.map((p) => listText(p)).join(", ")}]`,
    `lhs_dilate = ${listText(d.inputDilation ?? ones)}`,
    `rhs_dilate = ${listText(d.dilation ?? ones)}`,
    `reverse = ${listText(ones.map(() => (d.reverse === true ? "true" : "false")))}`,
  ].join(", ");
  return e.op(
    element,
    shape,
    `stablehlo.convolution(${input.name}, ${kernel.name}) dim_numbers = ${x}x${k}->${y}, window = {${window}} {batch_group_count = ${d.batchGroups ?? 1} : i64, feature_group_count = ${d.groups ?? 1} : i64, precision_config = [${precision}, ${precision}]} : ${signature([input, kernel], typeText(element, shape))}`,
  );
}
