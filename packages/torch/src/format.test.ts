import assert from "node:assert/strict";
import { test } from "node:test";
import {
  formatBytes,
  formatClock,
  formatCount,
  formatInteger,
  formatMetric,
  formatPercent,
  formatPrefixed,
  formatRate,
  formatSeconds,
  significant,
} from "./format.js";

function same(fn: (value: number) => string, cases: readonly (readonly [number, string])[]): void {
  for (const [value, text] of cases) assert.equal(fn(value), text, `of ${value}`);
}

test("bytes are written in binary units with three digits, never 1024 of a unit", () => {
  same(formatBytes, [
    [0, "0 B"],
    [1023, "1023 B"],
    [1024, "1.00 KiB"],
    [1536, "1.50 KiB"],
    [10 * 1024, "10.0 KiB"],
    [1023.6 * 1024, "1.00 MiB"],
    [188 * 2 ** 20, "188 MiB"],
    [3 * 2 ** 40, "3.00 TiB"],
    [-2048, "-2.00 KiB"],
  ]);
});

test("counts are written in thousands and millions", () => {
  same(formatCount, [
    [0, "0"],
    [999, "999"],
    [1000, "1.00 K"],
    [25450, "25.4 K"],
    [999_600, "1.00 M"],
    [124_439_808, "124 M"],
    [7.1e12, "7.10 T"],
  ]);
});

test("integers are grouped", () => {
  same(formatInteger, [
    [0, "0"],
    [999, "999"],
    [1000, "1,000"],
    [1234567.4, "1,234,567"],
    [-12345, "-12,345"],
    [Number.NaN, "NaN"],
  ]);
});

test("durations are written as clocks", () => {
  same(formatClock, [
    [0, "0:00"],
    [8.4, "0:08"],
    [59.6, "1:00"],
    [754, "12:34"],
    [3723, "1:02:03"],
    [Infinity, "-:--"],
    [-3, "0:00"],
  ]);
});

test("measured times have a unit that fits", () => {
  same(formatSeconds, [
    [0.00084, "840 µs"],
    [0.0123, "12.3 ms"],
    [8.4, "8.40 s"],
    [119.96, "120 s"],
    [125, "2:05"],
  ]);
});

test("rates turn into seconds per thing when they are slow", () => {
  assert.equal(formatRate(38.24, "it"), "38.2 it/s");
  assert.equal(formatRate(7143.2, "images"), "7,143 images/s");
  assert.equal(formatRate(999.7, "it"), "1,000 it/s");
  assert.equal(formatRate(0.4, "it"), "2.50 s/it");
  assert.equal(formatRate(0, "it"), "– it/s");
  assert.equal(formatRate(Infinity, "it"), "– it/s");
});

test("metrics keep a steady width", () => {
  same(formatMetric, [
    [0.1, "0.1000"],
    [0.08317, "0.0832"],
    [0.00123, "0.0012"],
    [2.30259, "2.303"],
    [9.9996, "10.00"],
    [65536, "65,536"],
    [0, "0"],
    [1.26e-7, "1.26e-7"],
    [3.2e9 + 0.5, "3.20e+9"],
    [-0.5, "-0.5000"],
    [Number.NaN, "nan"],
    [-Infinity, "-inf"],
  ]);
});

test("values before a unit, shares, and digits of numbers of any size", () => {
  same(formatPrefixed, [
    [7.06e12, "7.06 T"],
    [12, "12 "],
    [999_600, "1.00 M"],
    [2e18, "2000 P"],
  ]);
  same(formatPercent, [
    [0.98765, "98.77 %"],
    [1, "100.00 %"],
  ]);
  same(
    (value) => significant(value, 3),
    [
      [9.996, "10.0"],
      [0, "0"],
      [-0.00012345, "-0.000123"],
      [1e-200, "1.00e-200"],
      [Infinity, "Infinity"],
    ],
  );
});
