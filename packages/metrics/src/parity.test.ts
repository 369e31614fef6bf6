import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { scope, tensor, Tensor } from "@nbit/torch";
import * as metrics from "./index.js";
import type { Metric, MetricValue } from "./index.js";

interface Kind {
  readonly of: string;
  readonly classes?: number;
  readonly extra?: readonly number[];
  readonly sizes?: readonly number[];
  readonly logits?: boolean;
  readonly labels?: boolean;
  readonly ignored?: number;
}
interface Case {
  readonly metric: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly kind: Kind;
  readonly forward: readonly unknown[];
  readonly value: unknown;
}
const SIZES = [5, 1, 8, 3];
const WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "slept"];

// As parity/make_metrics.py makes them.
const numbers = (n: number, seed: number): number[] =>
  Array.from({ length: n }, (_, i) => ((i + 1) * 0.6180339887498949 + seed * 0.7548776662466927) % 1);
const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const shaped = (shape: readonly number[], seed: number): Tensor =>
  tensor(numbers(product(shape), seed)).reshape([...shape]);
const ints = (shape: readonly number[], high: number, seed: number): Tensor =>
  tensor(
    numbers(product(shape), seed).map((x) => Math.floor(x * high)),
    { dtype: "int64" },
  ).reshape([...shape]);

function batch(kind: Kind, i: number): unknown[] {
  const n = (kind.sizes ?? SIZES)[i] ?? 0;
  const seed = 10 * i + 1;
  const { extra = [], classes = 0 } = kind;
  const scaled = (t: Tensor): Tensor => (kind.logits === true ? t.mul(8).sub(4) : t);
  let preds: Tensor;
  let target: Tensor;
  switch (kind.of) {
    case "binary":
      preds = scaled(shaped([n, ...extra], seed));
      target = ints([n, ...extra], 2, seed + 3);
      break;
    case "multiclass":
      preds = kind.labels === true ? ints([n, ...extra], classes, seed) : scaled(shaped([n, classes, ...extra], seed));
      if (kind.labels !== true && kind.logits !== true) preds = preds.div(preds.sum([1], true));
      target = ints([n, ...extra], classes, seed + 3);
      break;
    case "multilabel":
      preds = scaled(shaped([n, classes, ...extra], seed));
      target = ints([n, classes, ...extra], 2, seed + 3);
      break;
    case "regression":
      preds = shaped([n + 2, ...extra], seed)
        .mul(4)
        .sub(2);
      target = preds.mul(0.5).add(shaped([n + 2, ...extra], seed + 3));
      break;
    case "vectors":
      preds = shaped([n, 4], seed).add(0.1);
      target = shaped([n, 4], seed + 3).add(0.1);
      break;
    case "tokens":
      preds = shaped([n, 3, 7], seed).mul(6).sub(3);
      target = ints([n, 3], 7, seed + 3);
      break;
    case "values":
      return [shaped([n], seed)];
    case "weighted":
      return [shaped([n], seed), shaped([n], seed + 3)];
    default:
      return texts(kind.of, n, seed);
  }
  if (kind.ignored !== undefined) {
    const flat = target.flatten().tolist() as number[];
    const left = flat.map((label, at) => (at % 3 === 0 ? (kind.ignored as number) : label));
    target = tensor(left, { dtype: "int64" }).reshape(target.shape);
  }
  return [preds, target];
}
function texts(of: string, n: number, seed: number): unknown[] {
  const said = Array.from({ length: n }, (_, r) =>
    (ints([4 + (r % 3)], 8, seed + r).tolist() as number[]).map((j) => WORDS[j] ?? ""),
  );
  const meant = said.map((s) => s.map((w, j) => (j % 3 !== 0 ? w : (WORDS[(j + seed) % 8] ?? ""))));
  const join = (s: readonly string[]): string => s.join(" ");
  if (of === "bleu") return [said.map(join), meant.map((m) => [join(m), join([...m.slice(1), "too"])])];
  return [said.map(join), meant.map(join)];
}

const plain = (value: MetricValue): unknown =>
  value instanceof Tensor ? value.to("float64").tolist() : (value as readonly MetricValue[]).map(plain);
const UNSAFE: Readonly<Record<string, number>> = { nan: NaN, inf: Infinity, "-inf": -Infinity };

function close(got: unknown, expected: unknown, path: string): void {
  if (Array.isArray(expected)) {
    assert.ok(
      Array.isArray(got) && got.length === expected.length,
      `${path}: ${JSON.stringify(got)} of another length`,
    );
    expected.forEach((each, i) => {
      close(got[i], each, `${path}[${i}]`);
    });
    return;
  }
  const wanted = typeof expected === "string" ? (UNSAFE[expected] as number) : (expected as number);
  const same = Object.is(got, wanted) || Math.abs((got as number) - wanted) <= 2e-6 * Math.max(1, Math.abs(wanted));
  assert.ok(same, `${path}: ${String(got)} instead of ${wanted}`);
}

const cases = readFileSync(new URL("../parity/metrics.jsonl", import.meta.url), "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as Case);

test(`${cases.length} cases come to torchmetrics' numbers, batch by batch and over all`, () => {
  assert.ok(cases.length >= 350);
  const wrong: string[] = [];
  for (const each of cases) {
    const title = `${each.metric}(${JSON.stringify(each.options)}) of ${JSON.stringify(each.kind)}`;
    try {
      scope(() => {
        const type = Reflect.get(metrics, each.metric) as new (options: object) => Metric;
        const metric = new type(each.options);
        const whole = new type(each.options);
        each.forward.forEach((expected, i) => {
          const args = batch(each.kind, i);
          close(plain(Reflect.apply(metric.forward, metric, args) as MetricValue), expected, `batch ${i}`);
          Reflect.apply(whole.update, whole, args);
        });
        close(plain(metric.compute()), each.value, "over all");
        close(plain(whole.compute()), each.value, "by updates");
      });
    } catch (error) {
      wrong.push(`${title}: ${String(error)}`);
    }
  }
  assert.deepEqual(wrong.slice(0, 20), [], `${wrong.length} of ${cases.length}`);
});
