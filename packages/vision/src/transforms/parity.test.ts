/**
 * Transforms make of tensors what torchvision's make, and draw as many numbers. The fixtures are made by
 * parity/make_transforms.py.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import {
  arange,
  isTensor,
  manualSeed,
  memory,
  rand,
  randint,
  scope,
  tensorFromBytes,
  type DType,
  type Tensor,
} from "@nbit/torch";
import { transforms, utils } from "../index.js";

interface Packed {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: string;
}
interface Case {
  readonly call: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly seed: number;
  readonly out: readonly Packed[];
  readonly after: number;
}
const cases = readFileSync(new URL("../../parity/transforms.jsonl", import.meta.url), "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as Case);
const camel = (name: string): string => name.replace(/_(.)/g, (_, c: string) => c.toUpperCase());
const named = (kwargs: Case["kwargs"]): unknown[] => {
  const entries = Object.entries(kwargs).map(([k, v]) => [camel(k), v] as const);
  return entries.length === 0 ? [] : [Object.fromEntries(entries)];
};

function image({ dtype, shape, seed }: Case): Tensor {
  manualSeed(seed);
  return dtype === "uint8" ? randint(0, 256, [...shape], { dtype }) : rand([...shape], { dtype });
}
type Made = new (...args: readonly unknown[]) => { forward(x: unknown): Tensor | Tensor[] };
function run(c: Case): Tensor | Tensor[] {
  const x = image(c);
  const given = [...c.args, ...named(c.kwargs)];
  if (c.call === "make_grid") return (utils.makeGrid as (...a: unknown[]) => Tensor)(x, ...given);
  if (c.call.startsWith("functional."))
    return (Reflect.get(transforms.functional, camel(c.call.slice(11))) as (...a: unknown[]) => Tensor)(x, ...given);
  const made = new (Reflect.get(transforms, c.call) as Made)(...given);
  const mixes = c.call === "MixUp" || c.call === "CutMix";
  return made.forward(mixes ? [x, arange(c.shape[0] as number, { dtype: "int64" }).remainder(4)] : x);
}
const bytes = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, "base64"));

cases.forEach((c, i) => {
  test(`${i}: ${c.call} ${JSON.stringify(c.args)} ${JSON.stringify(c.kwargs)} of ${c.dtype} [${c.shape.join(", ")}], seed ${c.seed}`, () => {
    const before = memory().unreleased;
    scope(() => {
      const result = run(c);
      const results = isTensor(result) ? [result] : result;
      assert.equal(results.length, c.out.length);
      c.out.forEach((expected, k) => {
        const got = results[k] as Tensor;
        assert.deepEqual([got.dtype, got.shape], [expected.dtype, expected.shape]);
        const want = tensorFromBytes(bytes(expected.data), expected.dtype, [...expected.shape]);
        const away = want.numel() === 0 ? 0 : Number(got.double().sub(want.double()).abs().amax().item());
        // The order of a sum's terms, and no more; whole numbers are equal.
        assert.ok(away <= (expected.dtype === "float32" ? 2e-6 : 0), `${away} away`);
      });
      assert.equal(rand([1]).item(), c.after, "draws");
    });
    assert.equal(memory().unreleased, before);
  });
});
