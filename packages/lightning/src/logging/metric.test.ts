import assert from "node:assert/strict";
import { test } from "node:test";
import { scope, tensor } from "@nbit/torch";
import type { DType, Tensor } from "@nbit/torch";
import { LoggedMetric } from "./metric.js";
import type { LogValue, MetricMeta, Reduction } from "./metric.js";

const meta = (reduceFx: Reduction): MetricMeta => ({
  hook: "trainingStep",
  name: "x",
  progBar: false,
  logger: true,
  onStep: true,
  onEpoch: true,
  reduceFx,
  dataloaderIdx: null,
});

/** A tensor that is taken to be on a device, where its value is not read until somebody asks. */
function elsewhere(value: number, dtype: DType): Tensor {
  const made = tensor([[value]], { dtype });
  Object.defineProperty(made, "device", { value: { type: "cuda" } });
  return made;
}

const SEQUENCES: readonly (readonly (readonly [value: number, dtype: DType | null, batchSize: number])[])[] = [
  [
    [0.1, "float32", 3],
    [0.2, "float32", 5],
    [1 / 3, "float32", 1],
  ],
  [
    [0.1, "float16", 3],
    [0.2, "bfloat16", 4],
  ],
  [
    [0.1, "float32", 3],
    [0.2, "float64", 3],
    [0.3, "float32", 3],
  ],
  [
    [0.1, null, 3],
    [0.2, "float32", 3],
    [16777217, "int64", 2],
  ],
  [
    [16777217, "int64", 1],
    [1, "int32", 1],
    [1, "bool", 4],
  ],
  [
    [1e10, "float32", 1],
    [0.7, null, 1],
    [-0.25, "float32", 2],
    [0.1, null, 1],
  ],
  [
    [2, "float32", 1],
    [Infinity, "float32", 1],
    [3, "float32", 1],
  ],
  [
    [2, null, 1],
    [-Infinity, "float32", 1],
    [NaN, null, 1],
  ],
];

test("values that stay on a device come to the same as those that are read at once, also across a checkpoint", () => {
  for (const reduceFx of ["mean", "sum", "min", "max"] as const) {
    for (const sequence of SEQUENCES) {
      for (let checkpointAt = 0; checkpointAt <= sequence.length; checkpointAt++) {
        const results = [tensor, elsewhere].map((make) => {
          let metric = new LoggedMetric(meta(reduceFx));
          const steps: number[] = [];
          for (const [i, [value, dtype, batchSize]] of sequence.entries()) {
            if (i > 0 && i === checkpointAt) {
              const state = metric.stateDict();
              metric = new LoggedMetric(meta(reduceFx));
              metric.loadStateDict(state);
            }
            scope(() => {
              const given: LogValue =
                dtype === null ? value : make === tensor ? tensor([[value]], { dtype }) : elsewhere(value, dtype);
              metric.update(given, batchSize);
            });
            if (i % 2 === 0) steps.push(metric.step());
          }
          return [metric.epoch(), metric.step(), ...steps];
        });
        assert.deepEqual(results[1], results[0], `${reduceFx} ${JSON.stringify(sequence)} ${checkpointAt}`);
      }
    }
  }
});

test("an epoch's dtype is that of its own values, whatever came before it", () => {
  const metric = new LoggedMetric(meta("mean"));
  metric.update(0.1, 1);
  metric.reset();
  for (const value of [0.1, 0.2, 0.4]) scope(() => metric.update(tensor(value), 3));
  const f = Math.fround;
  assert.equal(metric.epoch(), f(f(f(f(f(0.1) * 3) + f(f(0.2) * 3)) + f(f(0.4) * 3)) / 9));
});
