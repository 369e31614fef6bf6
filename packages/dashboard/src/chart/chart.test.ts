import assert from "node:assert/strict";
import { test } from "node:test";
import { linearScale, log10Scale, log2Scale, niceLinear } from "./scale.js";
import { smooth, thin } from "./series.js";

const labels = (scale: { ticks: readonly { label: string }[] }): string[] => scale.ticks.map((t) => t.label);

test("linear ticks are round numbers within the range", () => {
  assert.deepEqual(labels(linearScale(0, 860, 0, 100, 6)), ["0", "200", "400", "600", "800"]);
  assert.deepEqual(labels(linearScale(0, 1.2e6, 0, 100, 4)), ["0", "500,000", "1,000,000"]);
  assert.deepEqual(labels(niceLinear(0.907, 0.984, 100, 0, 5)), ["0.90", "0.92", "0.94", "0.96", "0.98", "1.00"]);
  const scale = niceLinear(3, 7, 100, 0, 5);
  assert.equal(scale.at(scale.min), 100);
  assert.equal(scale.at(scale.max), 0);
  assert.ok(scale.min <= 3 && scale.max >= 7);
});

test("a flat curve still has an axis", () => {
  for (const value of [0, 5, -3, 1e-9]) {
    const scale = niceLinear(value, value, 100, 0, 5);
    assert.ok(Number.isFinite(scale.at(value)), `at ${value}`);
    assert.ok(scale.ticks.length >= 2 && scale.ticks.length <= 12, `${scale.ticks.length} ticks for ${value}`);
  }
});

test("logarithmic ticks thin out over many decades", () => {
  assert.deepEqual(labels(log10Scale(0.02, 0.5, 100, 0)), ["0.02", "0.05", "0.1", "0.2", "0.5"]);
  assert.deepEqual(labels(log10Scale(0.01, 2.3, 100, 0)), ["0.01", "0.03", "0.1", "0.3", "1"]);
  assert.deepEqual(labels(log10Scale(1e-4, 10, 100, 0)), ["0.0001", "0.001", "0.01", "0.1", "1", "10"]);
  assert.equal(log10Scale(0.1, 10, 100, 0).at(1), 50);
});

test("loss scales get powers of two", () => {
  assert.deepEqual(labels(log2Scale(65536, 262144, 100, 0)), ["2¹⁵", "2¹⁶", "2¹⁷", "2¹⁸", "2¹⁹"]);
  assert.ok(labels(log2Scale(2 ** -14, 2 ** 24, 100, 0)).includes("2⁻¹⁴"));
  assert.ok(log2Scale(2 ** -14, 2 ** 24, 100, 0).ticks.length <= 8);
});

test("smoothing keeps constants, straight lines and gaps, and does not lag", () => {
  assert.deepEqual(smooth([2, 2, 2, 2], 3), [2, 2, 2, 2]);
  const line = Array.from({ length: 30 }, (_, i) => i);
  smooth(line, 9)
    .slice(0, 26)
    .forEach((value, i) => assert.ok(Math.abs(value - i) < 1e-12));
  const gap = smooth([1, Number.NaN, 3, 3, 3], 3);
  assert.ok(Number.isNaN(gap[1]) && gap.filter((v) => Number.isFinite(v)).length === 4);
});

test("thinning keeps ends, spikes and gaps, in order", () => {
  const n = 100_000;
  const x = Array.from({ length: n }, (_, i) => i);
  const y = x.map((i) => Math.sin(i / 5000));
  y[54_321] = 9;
  y[77_777] = -9;
  y[12_345] = Number.NaN;
  const out = thin({ name: "s", colour: 0, x, y });
  assert.ok(out.x.length <= 600);
  assert.equal(out.x[0], 0);
  assert.equal(out.x.at(-1), n - 1);
  for (const spike of [54_321, 77_777, 12_345]) assert.ok(out.x.includes(spike), `keeps ${spike}`);
  assert.ok(out.x.every((value, i) => i === 0 || value > (out.x[i - 1] ?? 0)));
  const short = { name: "s", colour: 0, x: [1], y: [2] };
  assert.equal(thin(short), short);
});

test("axes of any numbers end, and have few ticks", () => {
  const sizes = [
    0,
    5e-324,
    1e-300,
    1e-120,
    1e-10,
    1,
    1 + 2 ** -52,
    9e15,
    2 ** 53,
    2 ** 53 + 2,
    1e300,
    1.0000000000000002e300,
    1.7e308,
  ];
  const all = [...sizes, ...sizes.map((v) => -v)];
  for (const min of all) {
    for (const max of all.filter((v) => v >= min)) {
      const scales = [
        linearScale(min, max, 0, 100, 6),
        niceLinear(min, max, 0, 100, 5),
        ...(min > 0 ? [log10Scale(min, max, 0, 100), log2Scale(min, max, 0, 100)] : []),
      ];
      for (const scale of scales)
        assert.ok(
          scale.ticks.length <= 700 && scale.ticks.every((t) => typeof t.label === "string"),
          `${min} … ${max}`,
        );
    }
  }
});
