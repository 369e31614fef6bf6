import assert from "node:assert/strict";
import { test } from "node:test";
import type { program } from "@nbit/torch";
import { coveredOperators, lower, registerLowering, XlaError, type LowerOptions } from "../index.js";

type Value = Partial<program.StepValue> & { readonly shape: readonly number[] };
type Operator = Partial<program.StepOperator> & { readonly name: string };
const strides = (shape: readonly number[]): number[] =>
  shape.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1));

/** A program of values that are contiguous, each in a buffer of its own where nothing else is said. */
function programOf(
  values: readonly Value[],
  operators: readonly Operator[],
  inputs: Readonly<Record<string, number>>,
  results: Readonly<Record<string, number>>,
): program.StepProgram {
  const made = new Set(
    operators.flatMap((o) => (o.results ?? []).filter((v) => !(o.writes ?? []).includes(v as number))),
  );
  const written = new Set(operators.flatMap((o) => o.writes ?? []));
  const whole = values.map((v, i): program.StepValue => ({
    buffer: i,
    offset: 0,
    dtype: "float32",
    strides: strides(v.shape),
    ...v,
  }));
  const buffers = values.map((_, b): program.StepBuffer => {
    const inside = whole.flatMap((v, i) => (v.buffer === b ? [i] : []));
    const isNumber = inside.some((i) => whole[i].number !== undefined);
    return {
      bytes: 4096,
      origin: isNumber ? "number" : inside.some((i) => !made.has(i)) ? "external" : "made",
      written: inside.some((i) => written.has(i)),
    };
  });
  const full = operators.map((o) => ({ overload: "", arguments: {}, results: [], writes: [], ...o }));
  return { format: "nbit.step", version: 1, buffers, values: whole, operators: full, inputs, results };
}
/** The lines of the function, without what they are located at. */
const body = (text: string): string[] =>
  text
    .split("\n")
    .slice(2, -4)
    .map((line) => line.trim().replace(/ loc\(.*\)$/, ""));
const v = (value: number): program.ValueArgument => ({ value });

const sgd = programOf(
  [
    { shape: [2, 3] },
    { shape: [4, 3] },
    { shape: [3, 2], buffer: 0, strides: [1, 3] },
    { shape: [4, 2] },
    { shape: [] },
  ],
  [
    { name: "aten::t", arguments: { self: v(0) }, results: [2] },
    { name: "aten::mm", arguments: { self: v(1), mat2: v(2) }, results: [3] },
    {
      name: "aten::sum",
      overload: "dim_IntList",
      arguments: { self: v(3), dim: [], keepdim: false, dtype: null },
      results: [4],
    },
    { name: "aten::mul_", overload: "Tensor", arguments: { self: v(0), other: v(4) }, results: [0], writes: [0] },
  ],
  { x: 1 },
  { loss: 4 },
);

test("a step becomes a module: state is given away and comes back, inputs and results have their names", () => {
  const step = lower(sgd);
  assert.equal(
    step.text,
    `module @step attributes {mhlo.num_partitions = 1 : i32, mhlo.num_replicas = 1 : i32} {
  func.func public @main(%state0: tensor<2x3xf32> {tf.aliasing_output = 0 : i32},
    %input1: tensor<4x3xf32>) -> (tensor<2x3xf32>, tensor<f32>) {
    %0 = stablehlo.transpose %state0, dims = [1, 0] : (tensor<2x3xf32>) -> tensor<3x2xf32> loc("aten::mm.1")
    %1 = stablehlo.dot_general %input1, %0, contracting_dims = [1] x [0], precision = [HIGHEST, HIGHEST] : (tensor<4x3xf32>, tensor<3x2xf32>) -> tensor<4x2xf32> loc("aten::mm.1")
    %2 = stablehlo.constant dense<0.0> : tensor<f32> loc("aten::sum.dim_IntList.2")
    %3 = stablehlo.reduce(%1 init: %2) applies stablehlo.add across dimensions = [0, 1] : (tensor<4x2xf32>, tensor<f32>) -> tensor<f32> loc("aten::sum.dim_IntList.2")
    %4 = stablehlo.broadcast_in_dim %3, dims = [] : (tensor<f32>) -> tensor<2x3xf32> loc("aten::mul_.Tensor.3")
    %5 = stablehlo.multiply %state0, %4 : tensor<2x3xf32> loc("aten::mul_.Tensor.3")
    return %5, %3 : tensor<2x3xf32>, tensor<f32>
  }
}
`,
  );
  const memory = { buffer: 0, value: 0, dtype: "float32", offset: 0, strides: [3, 1] };
  assert.deepEqual(step.arguments, [
    { kind: "state", value: 0, name: null, dtype: "float32", shape: [2, 3], memory, donated: true, split: null },
    {
      ...{ kind: "input", value: 1, name: "x", dtype: "float32", shape: [4, 3] },
      ...{ memory: { ...memory, buffer: 1, value: 1 }, donated: false, split: null },
    },
  ]);
  assert.deepEqual(
    step.results.map((r) => [r.kind, r.name, r.value]),
    [
      ["state", null, 0],
      ["result", "loss", 4],
    ],
  );
  assert.deepEqual(step.operators, {
    all: 4,
    views: 1,
    kinds: ["aten::mm", "aten::mul_.Tensor", "aten::sum.dim_IntList", "aten::t"],
  });
  assert.equal(lower(structuredClone(sgd)).text, step.text);
});

test("products, donation and devices are as options say", () => {
  const of = (options: LowerOptions): string => lower(sgd, options).text;
  assert.match(of({ float32MatmulPrecision: "high" }), /precision = \[HIGH, HIGH\]/);
  assert.match(of({ float32MatmulPrecision: "medium" }), /precision = \[DEFAULT, DEFAULT\]/);
  assert.match(of({ donate: "donor" }), /%state0: tensor<2x3xf32> \{jax\.buffer_donor = true\}/);
  assert.doesNotMatch(of({ donate: "none" }), /donor|aliasing/);
  const replicated = of({ partitions: 4, shard: { batch: ["x"] } });
  assert.match(replicated, /num_partitions = 4/);
  assert.match(replicated, /%state0: .*mhlo\.sharding = "\{replicated\}"/);
  assert.match(replicated, /%input1: tensor<4x3xf32> \{mhlo\.sharding = "\{devices=\[4,1\]<=\[4\]\}"\}/);
  const sharded = lower(sgd, { partitions: 3, shard: { batch: [], state: "sharded" } });
  assert.deepEqual([sharded.arguments[0].split, sharded.results[0].split], [1, 1]);
  assert.match(sharded.text, /%state0: .*devices=\[1,3\]<=\[3\]/);
  assert.throws(() => of({ partitions: 3, shard: { batch: ["x"] } }), {
    code: "XLA_SHARDING",
    message: /input x .* multiple of 3/,
  });
});

test("writes to a part are seen through every other view of the memory", () => {
  const part = { buffer: 0, dtype: "float32" } as const;
  const text = lower(
    programOf(
      [
        { shape: [2, 4] },
        { ...part, shape: [4], offset: 4, strides: [1] }, // its second row
        { ...part, shape: [2], offset: 1, strides: [4] }, // its second column
        { shape: [2] },
      ],
      [
        { name: "aten::zero_", arguments: { self: v(1) }, results: [1], writes: [1] },
        { name: "aten::neg", arguments: { self: v(2) }, results: [3] },
      ],
      {},
      { column: 3 },
    ),
  ).text;
  assert.deepEqual(body(text), [
    "%0 = stablehlo.constant dense<0.0> : tensor<4xf32>",
    "%1 = stablehlo.reshape %0 : (tensor<4xf32>) -> tensor<1x4xf32>",
    "%2 = stablehlo.constant dense<1> : tensor<i32>",
    "%3 = stablehlo.constant dense<0> : tensor<i32>",
    "%4 = stablehlo.dynamic_update_slice %state0, %1, %2, %3 : (tensor<2x4xf32>, tensor<1x4xf32>, tensor<i32>, tensor<i32>) -> tensor<2x4xf32>",
    "%5 = stablehlo.slice %4 [0:2:1, 1:2:1] : (tensor<2x4xf32>) -> tensor<2x1xf32>",
    "%6 = stablehlo.reshape %5 : (tensor<2x1xf32>) -> tensor<2xf32>",
    "%7 = stablehlo.negate %6 : tensor<2xf32>",
  ]);
});

test("a program without lowerings for some operators names all of them, where they are and whose they are", () => {
  const program = programOf(
    [{ shape: [2] }, { shape: [2] }, { shape: [2] }, { shape: [2] }],
    [
      { name: "aten::unheard_of", arguments: { self: v(0) }, results: [1] },
      { name: "aten::never", overload: "Tensor", arguments: { self: v(1) }, results: [2] },
      { name: "aten::unheard_of", arguments: { self: v(2) }, results: [3] },
    ],
    {},
    { y: 3 },
  );
  assert.throws(() => lower(program, { lineOf: (i) => (i === 0 ? "model.ts:7:3" : null) }), {
    name: "XlaError",
    code: "XLA_NO_LOWERING",
    message:
      "lower: expected operators that have a lowering to StableHLO. Received: 2 without one.\n" +
      "  aten::unheard_of (operator 0 of 3, from model.ts:7:3), 2 times\n" +
      "  aten::never.Tensor (operator 1 of 3)\n" +
      '  Add one with registerLowering("aten::unheard_of", (emitter, operation) => …), or run this step without XLA.',
  });
  registerLowering("aten::unheard_of", (e, o) => [e.unary("cosine", o.tensor("self"))]);
  registerLowering("aten::never.Tensor", (e, o) => [o.tensor("self")]);
  assert.equal(body(lower(program).text).filter((line) => line.includes("cosine")).length, 2);
});

/** An operator alone, over a value of a type and with a result of one. */
const alone = (
  name: string,
  given: Operator["arguments"],
  from: Value = { shape: [2] },
  to: Value = { shape: [2] },
): program.StepProgram =>
  programOf([from, to], [{ name, arguments: { self: v(0), ...given }, results: [1] }], {}, { y: 1 });

test("what a lowering does not handle is refused, with the operator and the argument", () => {
  const refuses = (program: program.StepProgram, message: RegExp, code = "XLA_LOWERING"): void =>
    assert.throws(
      () => lower(program),
      (error) => error instanceof XlaError && error.code === code && message.test(error.message),
      String(message),
    );
  refuses(
    alone("aten::neg", { sideways: true }),
    /aten::neg \(operator 0 of 1\): expected sideways to be none .*: true/,
  );
  refuses(alone("aten::neg", { self: null }), /aten::neg .*: expected self to be a tensor/);
  refuses(alone("aten::tril", { self: 3 }), /aten::tril .*: expected self to be a tensor\. Received: 3/);
  refuses(alone("aten::gelu", { approximate: 1 }), /expected approximate to be a text\. Received: 1/);
  refuses(alone("aten::neg", {}, { shape: [3] }), /\[3\]|does not broadcast/);
  refuses(alone("aten::isnan", {}), /result 0: expected float32\[2\], as recorded\. Received: bool\[2\]/);
  refuses(alone("aten::neg", {}, { shape: [2], dtype: "float64" }), /no tensors of float64/);
  refuses(alone("aten::neg", {}, { shape: [2], dtype: "complex64" }), /a dtype that XLA has\. Received: complex64/);
  refuses(
    programOf(
      [{ shape: [4] }, { shape: [3], buffer: 0 }, { shape: [3], buffer: 0, offset: 1, strides: [1] }],
      [{ name: "aten::_foreach_zero_", arguments: { self: { values: [1, 2] } }, writes: [1, 2] }],
      {},
      {},
    ),
    /share no memory/,
  );
  assert.throws(() => lower(sgd, { donation: "alias" } as never), { code: "ERR_ARGUMENT" });
  assert.throws(() => lower(sgd, { shard: { batches: [] } } as never), { code: "ERR_ARGUMENT" });
  assert.throws(() => registerLowering("mm", () => []), { code: "ERR_ARGUMENT" });
});

test("numbers in a tensor's place are numbers; a learning rate in float64 is a float32 argument where there is no float64", () => {
  const program = programOf(
    [
      { shape: [2] },
      { shape: [], dtype: "float64" },
      { shape: [], dtype: "float64", number: { float: 0.5 } },
      { shape: [2] },
      { shape: [2] },
    ],
    [
      { name: "aten::mul", overload: "Tensor", arguments: { self: v(0), other: v(1) }, results: [3] },
      { name: "aten::add", overload: "Tensor", arguments: { self: v(3), other: v(2), alpha: 1 }, results: [4] },
    ],
    { rate: 1 },
    { y: 4 },
  );
  const [rate] = lower(program).arguments;
  assert.deepEqual([rate.name, rate.dtype, rate.memory?.dtype, rate.shape], ["rate", "float32", "float64", []]);
  assert.match(lower(program).text, /dense<5\.0000000000000000e-1> : tensor<2xf32>/);
  assert.equal(lower(program, { float64: true }).arguments[0].dtype, "float64");
});

test("random numbers come from a state that goes through the program", () => {
  const program = programOf(
    [{ shape: [8] }],
    [
      {
        name: "aten::uniform_",
        arguments: { self: v(0), from: 0, to: 1, generator: { generator: true } },
        results: [0],
        writes: [0],
      },
    ],
    {},
    {},
  );
  const step = lower(program);
  assert.equal(step.random, true);
  assert.deepEqual(
    step.arguments.map((a) => [a.kind, a.dtype, a.shape]),
    [
      ["state", "float32", [8]],
      ["random", "uint64", [2]],
    ],
  );
  assert.deepEqual(
    step.results.map((r) => r.kind),
    ["state", "random"],
  );
  assert.match(step.text, /%random: tensor<2xui64> \{tf\.aliasing_output = 1/);
});

test("the operators that can be lowered are listed", () => {
  const all = coveredOperators();
  assert.ok(all.length > 300);
  for (const name of ["aten::mm", "aten::view", "aten::add.Tensor", "aten::_fused_adamw_.tensor_lr"])
    assert.ok(all.includes(name), name);
  assert.deepEqual(all, [...all].sort());
});
