/**
 * Which results may differ from recorded ones in the last bit, and how far trainings go apart by it.
 *
 * MKL's code for every processor ("COMPATIBLE") takes square roots from the processor's approximate reciprocal root,
 * which AMD's and Intel's processors make differently. So the last bit of a root may be another one, in Python's
 * PyTorch as here, and with it whatever is computed from it: Cholesky factors, steps of Adam. Fused steps, norms and
 * standard deviations take libtorch's own roots, which are exact.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import type { DType } from "@nbit/torch";
import { difference, type Tolerance } from "./compare.js";
import { makeBase } from "./formula-input.js";
import type { OpCase } from "./op-check.js";

/** Operators whose results, or gradients, are MKL's roots or computed from them. */
export const FROM_ROOTS =
  /^(?:aten\.)?(?:sqrt_?|_foreach_sqrt|cosineEmbeddingLoss|(?:linalg_)?cholesky(?:_ex)?)(?:\.|$)/;

/**
 * Why results that come from square roots are compared within a tolerance here; null where this processor's roots are
 * those of the fixtures' machine, and everything is compared to the bit.
 */
export function otherRoots(): string | null {
  // The compiled file lies in tests/dist/helpers. The recorded operator is the probe.
  const text = readFileSync(new URL("../../parity/ops/fixtures.jsonl", import.meta.url), "utf8");
  const line = text.split("\n").find((l) => l.startsWith('{"name":"sqrt",'));
  const { inputs, outputs } = JSON.parse(line ?? "") as OpCase;
  const [input, root] = [inputs[0], outputs?.[0]];
  assert.ok(input !== undefined && root !== undefined, "the fixtures have the operator sqrt");
  return difference("sqrt", makeBase(input).sqrt(), root) === null
    ? null
    : "MKL's square roots differ in the last bit between this processor and the one that fixtures were made on";
}

/** A few units in the last place: what one operator makes of a root that is one off. */
export function fewUnits(dtype: DType): Tolerance {
  const unit = { float16: 2 ** -10, bfloat16: 2 ** -7, float64: 2 ** -52, complex128: 2 ** -52 } as Partial<
    Record<DType, number>
  >;
  return { rtol: 4 * (unit[dtype] ?? 2 ** -23), atol: 0 };
}

/** How far a short training with Adam may go from the recorded one, relative to what is compared. */
export interface Distance {
  /** Losses, norms of gradients; weights, relative to the largest of their tensor. */
  readonly value: number;
  /**
   * Metrics of a validation behind batch normalisation. A bias before it has a gradient of rounding errors alone, of
   * which Adam makes whole steps; running means follow that bias some steps behind.
   */
  readonly validation: number;
}
/** In 16 bits a loss may be another by one unit of the type that was computed in. */
export const DISTANCES = {
  float32: { value: 1e-5, validation: 1e-3 },
  float64: { value: 1e-12, validation: 1e-9 },
  bfloat16: { value: 2 ** -8, validation: 2 ** -8 },
  float16: { value: 2 ** -11, validation: 2 ** -8 },
} as const satisfies Partial<Record<DType, Distance>>;

/** Numbers within `tolerance` of recorded ones, relative to each of these or to `scale`; infinities and NaN are equal. */
export function assertNear(
  actual: readonly number[],
  expected: readonly number[],
  tolerance: number,
  what: string,
  scale?: number,
): void {
  assert.equal(actual.length, expected.length, what);
  expected.forEach((y, i) => {
    const x = actual[i] as number;
    assert.ok(
      Object.is(x, y) || Math.abs(x - y) <= tolerance * (scale ?? Math.abs(y)),
      `${what}: [${i}] is ${x}, expected ${y} within ${tolerance}`,
    );
  });
}

/** The double that a fixture's hexadecimal stands for. */
export const fromBits = (hex: string): number => Buffer.from(hex, "hex").readDoubleBE(0);
