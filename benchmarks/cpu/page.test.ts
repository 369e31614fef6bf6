import assert from "node:assert/strict";
import { test } from "node:test";
import { page } from "./page.js";
import { logAxis } from "./plot.js";
import { resultsOf, rowResult } from "./testing.js";

test("a logarithmic axis puts equal ratios at equal distances, and has round numbers", () => {
  const { at, ticks } = logAxis([0.1, 10], 0, 100);
  assert.ok(Math.abs(at(1) - 50) < 1e-9);
  assert.ok(Math.abs(at(4) - at(2) - (at(2) - at(1))) < 1e-9);
  assert.deepEqual(ticks, [0.1, 0.3, 1, 3, 10]);
  assert.ok(logAxis([5, 5], 0, 100).ticks.includes(5));
});

test("the page has a dot for each peer's ratio and a stroke for each run, and loads nothing", () => {
  const results = resultsOf({ a: { trainer: [1, 2, 3], pytorch: [2, 2, 2], lightning: [4, 4, 4], jax: "no jax" } });
  const html = page(results);
  assert.equal(html.match(/<circle/g)?.length, 2);
  assert.match(html, /<title>PyTorch: 1\.00<\/title>/);
  assert.equal(html.match(/<path d="(?:M[\d.]+ [\d.]+v10){3}"/g)?.length, 2);
  assert.doesNotMatch(html, /<script|https?:|NaN|undefined/);
  assert.doesNotMatch(page(resultsOf({ "<b>": { trainer: [2], pytorch: [1] } })), /<b>/);
});

test("names are text, and a series of scale is a curve for each side", () => {
  const point = (x: number): ReturnType<typeof rowResult> => ({
    ...rowResult(`s${x}`, { trainer: [x * 1000], pytorch: [5000] }),
    scale: { series: "<width>", x },
  });
  const html = page({ ...resultsOf({}), rows: [point(2), point(8)] });
  assert.match(html, /&lt;width&gt;/);
  assert.doesNotMatch(html, /<width>|NaN/);
  assert.match(html, /<title>nbit Trainer, slope 1\.00<\/title>/);
});
