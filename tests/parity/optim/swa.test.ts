/** Averages of weights against PyTorch's, which swa.jsonl has. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { arange, manualSeed, nn, noGrad, optim, type DType, type Tensor } from "@nbit/torch";

const { AveragedModel, getEmaAvgFn, getEmaMultiAvgFn, getSwaAvgFn, getSwaMultiAvgFn, updateBn } = optim.swaUtils;
type Numbers = Readonly<Record<string, readonly number[]>>;
interface Fixture {
  readonly name: string;
  readonly dtype: DType;
  readonly averaged: Numbers;
  readonly updated: Numbers;
}
const lines = readFileSync(new URL("../../../parity/optim/swa.jsonl", import.meta.url), "utf8")
  .trimEnd()
  .split("\n");

const HOW: Readonly<Record<string, object>> = {
  mean: {},
  "mean over lists": { multiAvgFn: getSwaMultiAvgFn() },
  "mean, one by one": { avgFn: getSwaAvgFn() },
  exponential: { avgFn: getEmaAvgFn(0.7) },
  "exponential over lists": { multiAvgFn: getEmaMultiAvgFn(0.7) },
  "mean, buffers too": { useBuffers: true },
  "exponential over lists, buffers too": { multiAvgFn: getEmaMultiAvgFn(0.9), useBuffers: true },
};
const batch = (n: number, dtype: DType): Tensor =>
  arange(24, { dtype: "float64" })
    .reshape([8, 3])
    .mul(n + 1)
    .sin()
    .to(dtype);
const numbers = (model: nn.Module): Numbers =>
  Object.fromEntries(
    Array.from(model.stateDict(), ([name, t]) => [name, (t as Tensor).double().reshape([-1]).tolist() as number[]]),
  );

/** Means of the batches' statistics are sums, whose order is the kernels'. */
function near(received: Numbers, expected: Numbers, dtype: DType): void {
  assert.deepEqual(Object.keys(received), Object.keys(expected));
  const tolerance = dtype === "float64" ? 1e-12 : dtype === "float32" ? 1e-6 : 1e-2;
  for (const [name, list] of Object.entries(expected)) {
    const ours = received[name] ?? [];
    assert.equal(ours.length, list.length, name);
    const exact = !/running/.test(name);
    list.forEach((v, i) => {
      const difference = Math.abs(v - (ours[i] as number));
      assert.ok(exact ? difference === 0 : difference <= tolerance, `${name}: ${ours[i]}, PyTorch ${v}`);
    });
  }
}
for (const line of lines.slice(1)) {
  const { name, dtype, averaged: expected, updated } = JSON.parse(line) as Fixture;
  test(`${name}, ${dtype}: weights to the last bit`, () => {
    manualSeed(0);
    const model = new nn.Sequential(new nn.Linear(3, 4), new nn.BatchNorm1d(4)).to(dtype);
    const averaged = new AveragedModel(model, HOW[name] ?? {});
    for (let n = 0; n < 6; n++) {
      model.forward(batch(n, dtype));
      noGrad(() =>
        model.parameters().forEach((p, i) => void p.add_(p, { alpha: 0.125 * (n + 1) * (i % 2 === 1 ? 1 : -1) })),
      );
      averaged.updateParameters(model);
    }
    near(numbers(averaged), expected, dtype);
    updateBn(
      [0, 1, 2].map((n) => batch(n, dtype)),
      averaged,
    );
    near(numbers(averaged), updated, dtype);
  });
}
