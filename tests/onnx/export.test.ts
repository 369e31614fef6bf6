/** ONNX: every case is exported, as a graph with the names that were asked for; what cannot be is refused with its line. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import {
  ArgumentError,
  cat,
  manualSeed,
  memory,
  nn,
  onnx,
  ones,
  rand,
  randn,
  relu,
  scope,
  tensor,
  zeros,
  type Tensor,
} from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { CASES, made } from "./cases.js";

const folder = temporaryFolder("onnx");
const path = join(folder, "a.onnx");

/** Fields of a message: numbers, or bytes. */
function fields(bytes: Uint8Array): Map<number, (bigint | Uint8Array)[]> {
  const found = new Map<number, (bigint | Uint8Array)[]>();
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++] as number;
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = Number(varint());
    const wire = tag & 7;
    const length = wire === 2 ? Number(varint()) : wire === 5 ? 4 : 0;
    const value = wire === 0 ? varint() : bytes.subarray(at, (at += length));
    const field = tag >> 3;
    found.set(field, [...(found.get(field) ?? []), value]);
  }
  return found;
}
const text = (v: bigint | Uint8Array | undefined): string => Buffer.from(v as Uint8Array).toString();
const all = (message: Uint8Array, field: number): Uint8Array[] => (fields(message).get(field) ?? []) as Uint8Array[];

interface Read {
  readonly opset: number;
  readonly operators: readonly string[];
  readonly weights: readonly string[];
  readonly inputs: Readonly<Record<string, readonly (number | string)[]>>;
  readonly outputs: Readonly<Record<string, readonly (number | string)[]>>;
}
function read(file: string): Read {
  const model = readFileSync(file);
  const [graph] = all(model, 7) as [Uint8Array];
  const infos = (field: number): Record<string, (number | string)[]> =>
    Object.fromEntries(
      all(graph, field).map((info) => {
        const [type] = all(info, 2) as [Uint8Array];
        const [tensorType] = all(type, 1) as [Uint8Array];
        const [shape] = all(tensorType, 2) as [Uint8Array];
        const sizes = all(shape, 1).map((dim) => {
          const [size] = fields(dim).get(1) ?? [];
          return size === undefined ? text(fields(dim).get(2)?.[0]) : Number(size);
        });
        return [text(fields(info).get(1)?.[0]), sizes];
      }),
    );
  return {
    opset: Number(fields(all(model, 8)[0] as Uint8Array).get(2)?.[0]),
    operators: all(graph, 1).map((node) => text(fields(node).get(4)?.[0])),
    weights: all(graph, 5).map((t) => text(fields(t).get(8)?.[0])),
    inputs: infos(11),
    outputs: infos(12),
  };
}

class Fn extends nn.Module {
  readonly fn: (t: Tensor) => unknown;
  constructor(run: (t: Tensor) => unknown) {
    super();
    this.fn = run;
  }
  forward(t: Tensor): unknown {
    return this.fn(t);
  }
}
const refused = (run: (t: Tensor) => unknown, code: string, message: RegExp, options: object = {}): void => {
  const before = readdirSync(folder).length;
  assert.throws(
    () => onnx.export(new Fn(run), ones([2, 3]), join(folder, "refused.onnx"), options),
    (error) => {
      assert.ok(error instanceof onnx.OnnxError, String(error));
      assert.deepEqual([error.code, message.test(error.message)], [code, true], error.message);
      return true;
    },
  );
  assert.equal(readdirSync(folder).length, before, "no file is written");
};

void describe("onnx.export", () => {
  void it("writes every case, which onnxruntime has run", () => {
    const agreement = readFileSync(new URL("../../onnx/agreement.txt", import.meta.url), "utf8").split("\n");
    for (const one of CASES) {
      const { model, args } = made(one);
      scope(() =>
        onnx.export(model, args, path, {
          dynamicAxes: one.dynamicAxes ?? null,
          opsetVersion: one.opsetVersion ?? null,
        }),
      );
      assert.ok(read(path).operators.length > 0, one.name);
      assert.ok(
        agreement.some((line) => line.startsWith(`ok    ${one.name}: `)),
        `${one.name} is not in agreement.txt: run write.ts and check.py`,
      );
    }
  });

  void it("names inputs, outputs, axes and weights", () => {
    const model = new nn.Sequential(new nn.Linear(3, 4), new nn.ReLU(), new nn.Linear(4, 2));
    onnx.export(model, ones([2, 3]), path, {
      inputNames: ["pixels"],
      outputNames: ["scores"],
      dynamicAxes: { pixels: { 0: "batch" } },
      opsetVersion: 17,
    });
    const { opset, operators, weights, inputs, outputs } = read(path);
    assert.equal(opset, 17);
    assert.deepEqual(operators, ["Gemm", "Relu", "Gemm", "Identity"]);
    assert.deepEqual(weights, ["0.weight", "0.bias", "2.weight", "2.bias"]);
    assert.deepEqual(inputs, { pixels: ["batch", 3] });
    assert.deepEqual(outputs, { scores: ["batch", 2] });
    onnx.export({ model, args: [ones([2, 3])], f: path });
    assert.deepEqual([read(path).opset, read(path).inputs], [18, { input: [2, 3] }]);
    onnx.export(model, ones([2, 3]), path, { dynamicAxes: { input: [0], output: { 0: "rows" } } });
    assert.deepEqual(read(path).outputs, { output: ["rows", 2] });
  });

  void it("runs in evaluation, and leaves each part as it was, and no tensor behind", () => {
    const model = new nn.Sequential(new nn.BatchNorm1d(3), new nn.Dropout(0.5));
    model[0]?.eval();
    const x = ones([2, 3]);
    const before = memory().tensors;
    onnx.export(model, x, path);
    assert.equal(memory().tensors, before);
    assert.deepEqual(read(path).operators, ["BatchNormalization", "Identity"]);
    assert.deepEqual([model.training, model[0]?.training, model[1]?.training], [true, false, true]);
  });

  void it("folds what does not depend on the inputs", () => {
    onnx.export(new Fn((t) => t.add(zeros([3]).add(1).mul(2))), ones([2, 3]), path);
    assert.deepEqual(read(path).operators, ["Add", "Identity"]);
  });

  void it("refuses an operator without a translation, with its line", () => {
    refused((t) => t.erfinv(), "ONNX_OPERATOR", /translated to ONNX, for erfinv\..*export\.test\.ts:\d+/);
    refused((t) => t.at(t.gt(0)), "ONNX_OPERATOR", /not masks, for index\./);
    const target = tensor([1, 2], { dtype: "int64" });
    refused(
      (t) => nn.functional.crossEntropy(t, target, { labelSmoothing: 0.1 }),
      "ONNX_OPERATOR",
      /labelSmoothing of 0, for cross_entropy_loss/,
    );
    refused((t) => nn.functional.crossEntropy(t, t), "ONNX_OPERATOR", /class indices: shares of classes/);
    refused((t) => nn.functional.multiMarginLoss(t, target), "ONNX_OPERATOR", /for multi_margin_loss/);
  });

  void it("refuses what a graph cannot say", () => {
    refused((t) => t.add(rand([2, 3])), "ONNX_TRACE", /at random, for add/);
    refused((t) => t.mul(tensor(t.at(0, 0).item() + t.sum().item())), "ONNX_TRACE", /no operator made/);
    refused(
      (t) => {
        const flat = t.mul(2);
        flat.view([6]).relu_();
        return flat;
      },
      "ONNX_TRACE",
      /written through views/,
    );
    refused((t) => (t.size(0) > 2 ? t.relu() : t.neg()), "ONNX_TRACE", /operators differ/, {
      dynamicAxes: { input: [0] },
    });
    refused((t) => t.reshape([-1]).repeat([t.size(0) ** 2]), "ONNX_TRACE", /arguments of repeat differ/, {
      dynamicAxes: { input: [0] },
    });
    refused(
      (t) =>
        t.add(
          ones([4, 3])
            .narrow(0, 0, t.size(0) + 1)
            .narrow(0, 0, t.size(0)),
        ),
      "ONNX_TRACE",
      /smaller/,
      { dynamicAxes: { input: [0] } },
    );
  });

  void it("takes steps back that write in place", () => {
    manualSeed(0);
    const model = new Fn((t) => cat([relu(t).add_(1).mul_(2), t], 0));
    onnx.export(model, randn([2, 3]), path);
    assert.deepEqual(read(path).operators, ["Relu", "Add", "Mul", "Concat", "Identity"]);
  });

  void it("refuses wrong arguments before anything runs", () => {
    const model = new nn.Linear(3, 2);
    const x = ones([2, 3]);
    const wrong = (...args: readonly unknown[]): void =>
      assert.throws(() => Reflect.apply(onnx.export, null, args), ArgumentError);
    wrong(model, x);
    wrong(relu, x, path);
    wrong(model, [1], path);
    wrong(model, [], path);
    wrong(model, x, path, { opsetVersion: 10 });
    wrong(model, x, path, { inputNames: ["a", "b"] });
    wrong(model, [x, x], path, { inputNames: ["a", "a"] });
    wrong(model, x, path, { dynamicAxes: { input: [2] } });
    wrong(model, x, path, { dynamicAxes: { input: { 0: "" } } });
    wrong(model, [x, ones([3, 3])], path, { dynamicAxes: { input: { 0: "n" }, input_1: { 0: "n" } } });
    wrong(model, x, path, { verbose: true });
    wrong(model, x, path, 18);
  });
});
