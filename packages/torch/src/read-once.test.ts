import assert from "node:assert/strict";
import { test } from "node:test";
import {
  amp,
  backward,
  ConcatDataset,
  defaultConvert,
  finfo,
  grad,
  itemSize,
  nn,
  ones,
  operatorNames,
  operators,
  optim,
  parseIdx,
  Slice,
  Subset,
  TensorDataset,
} from "./index.js";
import { having, iterable, listOf, real, text, whole } from "./kinds.js";
import { elementsOf, iterated, MOST_ELEMENTS } from "./read-once.js";

/** An array that says that it is as long as an array can be, and holds nothing. */
const endless = new Array<never>(2 ** 32 - 1);
const { clipGradNorm, clipGradValue, getTotalNorm } = optim;
const coded = (fn: () => unknown, message: RegExp): void => {
  assert.throws(fn, (error: Error & { code?: unknown }) => {
    assert.match(error.message, message);
    assert.equal(error.code, "ERR_ARGUMENT");
    return true;
  });
};
/** As JavaScript would give it. */
const given = (value: unknown): never => value as never;

test("an array's length is known before its elements are walked", () => {
  coded(() => elementsOf(endless), /at most 16,777,215 elements/);
  coded(() => iterated("f", "values", endless), /^f: expected values to have at most 16,777,215 elements/);
  assert.equal(listOf(whole()).accepts(endless), false);
  assert.equal(iterable.accepts(endless), false);
  coded(() => new nn.AdaptiveAvgPool1d(endless), /outputSize/);
  coded(() => new nn.Conv1d(1, 1, endless), /kernelSize/);
  coded(() => new optim.AdamW(endless), /expected params to be parameters, or groups/);
  coded(() => clipGradNorm(endless, 1), /at most/);
  coded(() => {
    backward(endless);
  }, /^backward: expected tensors to have at most/);
  coded(() => {
    backward(ones([1], { requiresGrad: true }), endless);
  }, /gradTensors to have at most/);
  coded(() => grad(ones([1], { requiresGrad: true }), endless), /at most/);
  coded(() => new TensorDataset(ones([2])).getBatch(endless), /positions/);
  coded(() => new Subset(given([1]), endless), /indices/);
});

test("a list has no holes, and what never ends is given up", () => {
  assert.equal(listOf(whole()).accepts(Object.assign(new Array<number>(3), { 1: 2 })), false);
  function* forever(): Generator<number> {
    for (;;) yield 1;
  }
  coded(() => iterated("f", "values", forever()), /an iterable with more/);
  assert.equal(MOST_ELEMENTS, 2 ** 24 - 1);
  assert.deepEqual(iterated("f", "values", new Set([1, 2])), [1, 2]);
  assert.deepEqual(iterated("f", "values", new Float32Array([1, 2])), [1, 2]);
  const { buffer } = new Float32Array(4);
  const detached = new Float32Array(buffer);
  structuredClone(buffer, { transfer: [buffer] });
  assert.deepEqual(iterated("f", "values", detached), []);
  for (const none of [null, undefined, 3, "ab", {}])
    coded(() => iterated("f", "values", none), /^f: expected values to be an array or another iterable/);
});

test("an object with fields is known by their kinds, whatever else it has", () => {
  const of = having<{ name: string; size: number }>("a file", { name: text, size: real() });
  assert.equal(of.accepts({ name: "a", size: 1, more: null }), true);
  for (const other of [null, undefined, 3, {}, { name: "a" }, { name: 1, size: 1 }, []])
    assert.equal(of.accepts(other), false);
});

test("what is no tensor, list or optimizer is refused by name", () => {
  let deep: unknown = 1;
  for (let i = 0; i < 20_000; i++) deep = [deep];
  coded(
    () => getTotalNorm(given(null)),
    /^getTotalNorm: expected tensors to be a tensor, or an array or another iterable\. Received: null\./,
  );
  coded(() => {
    clipGradValue([], given(deep));
  }, /clipValue to be a number/);
  coded(() => new TensorDataset(given(undefined)), /Received: undefined/);
  coded(() => new TensorDataset(ones([2])).getBatch(given(null)), /Received: null/);
  coded(() => new ConcatDataset(given([undefined])), /a length/);
  coded(() => new amp.WeightCasts(given(null)), /weights/);
  coded(() => new amp.WeightCasts([]).run(given(1)), /fn to be a function/);
  coded(() => new nn.LayerNorm(2).forward(given(null)), /null/);
  coded(() => (Reflect.construct(nn.Module, []) as nn.Module).call(), /a module with a forward/);
  coded(() => parseIdx(given([])), /a Uint8Array/);
  coded(() => nn.snakeCase(given(3)), /a string/);
  coded(() => itemSize(given([])), /a dtype/);
  coded(() => operatorNames(given([Symbol("x")])), /prefix to be a string/);
  coded(() => operators(given(null)), /prefix to be a string/);
  coded(() => finfo(given(endless)), /dtype/);
  coded(() => new Slice(0, 1, given(deep)), /step to be/);
  coded(() => Reflect.construct(optim.Optimizer, [[ones([1])], {}]), /one of the optimizers/);
});

test("lists of modules and of values to convert are read by positions, and no longer than a list may be", () => {
  const detached = new Float32Array(4);
  structuredClone(detached.buffer, { transfer: [detached.buffer] });
  assert.equal(new nn.ModuleList(detached as unknown as nn.Module[]).length, 0);
  const endless = new Array<number>(2 ** 32 - 1);
  assert.throws(() => defaultConvert([endless]), {
    code: "ERR_ARGUMENT",
    message: /^defaultConvert: expected lists to have at most/,
  });
  assert.throws(() => new nn.ModuleList(endless as unknown as nn.Module[]), { code: "ERR_ARGUMENT" });
});
