/**
 * Losses under every option they have, values and gradients, against PyTorch's. The fixtures are made by
 * make_losses.py.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import {
  arange,
  crossEntropyLoss,
  ctcLoss,
  huberLoss,
  klDiv,
  mseLoss,
  multiMarginLoss,
  nn,
  nllLoss,
  tensor,
  type Tensor,
  type TensorData,
} from "@nbit/torch";
import { camel } from "../../helpers/camel.js";

type Numbers = number | readonly Numbers[];
interface Case {
  readonly loss: "CrossEntropyLoss" | "NLLLoss" | "BCEWithLogitsLoss" | "MSELoss" | "L1Loss" | "SmoothL1Loss";
  readonly options: Readonly<Record<string, Numbers | string | null>>;
  readonly inputs: TensorData;
  readonly target: TensorData;
  readonly classes: boolean;
  readonly value: Numbers;
  readonly gradient: Numbers;
}
const url = new URL("../../../parity/losses/losses.jsonl", import.meta.url);
const cases = readFileSync(url, "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as Case);
const flat = (v: unknown): number[] => (Array.isArray(v) ? v.flatMap(flat) : [Number(v)]);

function close(actual: unknown, expected: unknown, what: string): void {
  const [a, b] = [flat(actual), flat(expected)];
  assert.equal(a.length, b.length, what);
  a.forEach((v, i) =>
    assert.ok(Math.abs(v - (b[i] as number)) <= 1e-6 + 2e-6 * Math.abs(b[i] as number), `${what}: ${v} is not ${b[i]}`),
  );
}
function optionsOf(c: Case): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(c.options).map(([name, value]) => [
      camel(name),
      Array.isArray(value) ? tensor(value as TensorData) : value,
    ]),
  );
}
const make = (c: Case): { forward(x: Tensor, y: Tensor): Tensor } =>
  Reflect.construct(nn[c.loss], [optionsOf(c)]) as { forward(x: Tensor, y: Tensor): Tensor };

test(`values and gradients of ${cases.length} cases are PyTorch's`, () => {
  assert.ok(cases.length > 100);
  for (const c of cases) {
    const what = `${c.loss} ${JSON.stringify(c.options)}`;
    const x = tensor(c.inputs, { requiresGrad: true });
    const target = tensor(c.target, { dtype: c.classes ? "int64" : "float32" });
    const value = make(c).forward(x, target);
    close(value.tolist(), c.value, what);
    value
      .mul(arange(1, value.numel() + 1).view([...value.shape]))
      .sum()
      .backward();
    close(x.grad?.tolist(), c.gradient, `${what}, gradient`);
  }
});

test("classes may come as whole numbers of any dtype", () => {
  for (const c of cases.filter((one) => one.classes).slice(0, 20))
    for (const dtype of ["float32", "float64", "int32", "uint8"] as const)
      close(make(c).forward(tensor(c.inputs), tensor(c.target, { dtype })).tolist(), c.value, `${c.loss} of ${dtype}`);
  const logits = tensor([
    [1, 0, 0],
    [0, 1, 0],
  ]);
  const labels = tensor([0, 1]);
  close(crossEntropyLoss(logits, labels).item(), Math.log(Math.E + 2) - 1, "crossEntropyLoss");
  close(nllLoss(logits, labels).item(), -1, "nllLoss");
  close(multiMarginLoss(logits, labels).item(), multiMarginLoss(logits, labels.long()).item(), "multiMarginLoss");
  const logProbs = tensor([[[0.5, 0.5]], [[0.5, 0.5]]]).log();
  close(
    ctcLoss(logProbs, tensor([[1]]), tensor([2]), tensor([1])).item(),
    ctcLoss(logProbs, tensor([[1]], { dtype: "int64" }), [2], [1]).item(),
    "ctcLoss",
  );
  for (const bad of [
    [0, 1.5],
    [0, NaN],
    [0, Infinity],
  ]) {
    assert.throws(() => crossEntropyLoss(logits, tensor(bad)), {
      code: "ERR_ARGUMENT",
      message:
        /^crossEntropy: expected target to be class indices: int64, or whole numbers\. Received: Tensor float32 \[2\] cpu\./,
    });
    assert.throws(() => nn.functional.nllLoss(logits, tensor(bad)), {
      code: "ERR_ARGUMENT",
      message: /^nllLoss: expected target to be class indices/,
    });
  }
});

test("old positions, names and the words of a reduction", () => {
  const weight = tensor([1, 3]);
  assert.equal(new nn.CrossEntropyLoss(weight).weight, weight);
  assert.equal(new nn.NLLLoss(weight, { ignoreIndex: 1 }).ignoreIndex, 1);
  assert.equal(new nn.NLLLoss(weight, null, 1).ignoreIndex, 1);
  assert.equal(new nn.MSELoss({ sizeAverage: false }).reduction, "sum");
  assert.equal(new nn.MSELoss(null, false).reduction, "none");
  assert.equal(new nn.L1Loss({ sizeAverage: true, reduction: "sum" }).reduction, "mean");
  assert.throws(() => Reflect.construct(nn.MSELoss, ["sum"]), {
    code: "ERR_ARGUMENT",
    message: 'MSELoss: expected sizeAverage to be true or false, or null. Received: "sum".',
  });
  assert.throws(() => new nn.CrossEntropyLoss({ labelSmoothing: 1.5 }), {
    code: "ERR_ARGUMENT",
    message: "CrossEntropyLoss: expected labelSmoothing to be a number in [0, 1]. Received: 1.5.",
  });
  assert.deepEqual([...new nn.BCEWithLogitsLoss({ posWeight: weight }).stateDict().keys()], ["pos_weight"]);
});

test("ATen's numbers for reductions are refused with the word", () => {
  const x = tensor([0.5, 0.25]);
  const refused = (fn: (...args: never[]) => unknown, ...args: readonly unknown[]): void =>
    assert.throws(() => Reflect.apply(fn, undefined, args), {
      code: "ERR_ARGUMENT",
      message: /Write \{ reduction: "sum" \}/,
    });
  refused(mseLoss, x, x, 2);
  refused(nn.functional.binaryCrossEntropy, x, x, null, 2);
  refused(huberLoss, x, x, 2);
  refused(klDiv, x, x, { reduction: 2 });
  assert.equal(mseLoss, nn.functional.mseLoss);
  assert.equal(crossEntropyLoss, nn.functional.crossEntropy);
});
