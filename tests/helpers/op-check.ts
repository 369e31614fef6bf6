/**
 * One call checks an operator against what PyTorch recorded: shape, dtype, value and gradient; as a function and, where
 * there is one, as a method.
 */
import assert from "node:assert/strict";
import * as torch from "@nbit/torch";
import { isTensor, Tensor } from "@nbit/torch";
import { difference, type Recorded, type Tolerance } from "./compare.js";
import { decodeNumber, fromDoubles, hashed, layOut, makeBase, type InputSpec } from "./formula-input.js";

export interface OpCase {
  readonly name: string;
  /** As a user spells it: `logSoftmax`, `linalg.svd`, `aten._foreach_add_`. */
  readonly op: string;
  readonly args: readonly unknown[];
  readonly options?: Readonly<Record<string, unknown>>;
  readonly inputs: readonly InputSpec[];
  readonly outputs?: readonly Recorded[];
  /** Gradients of sum(outputs · fixed weights), one per input that wants one. */
  readonly grads?: readonly (Recorded | null)[];
  /** For operators that return a plain number or boolean. */
  readonly value?: unknown;
  readonly tolerance?: readonly [number, number];
}

type Callable = (...args: readonly unknown[]) => unknown;
const isCallable = (value: unknown): value is Callable => typeof value === "function";

const LOSSES = /(?:Loss(?:Nd)?|klDiv|binaryCrossEntropy(?:WithLogits)?)$/;
/**
 * The function that a dotted name stands for; null when there is none (in-place operators are methods only, as in
 * PyTorch).
 */
export function lookUp(path: string): Callable | null {
  // Losses take words for their reduction, and what PyTorch's functions take; the operators are below aten.
  if (LOSSES.test(path)) return torch.aten[torch.nn.snakeCase(path)] ?? null;
  let at: unknown = torch;
  for (const part of path.split("."))
    at = (typeof at === "object" && at !== null) || isCallable(at) ? Reflect.get(at, part) : undefined;
  return isCallable(at) ? at : null;
}

/** The method of the same operator, when a tensor comes first. */
function methodOf(c: OpCase): Callable | null {
  if (c.op.includes(".") || typeof c.args[0] !== "object" || Array.isArray(c.args[0])) return null;
  // The method of where has self in the second place: x.where(condition, other).
  if (c.op === "where") return null;
  const found: unknown = Object.getOwnPropertyDescriptor(Tensor.prototype, c.op)?.value;
  return isCallable(found) ? found : null;
}

function flatten(result: unknown): Tensor[] {
  if (isTensor(result)) return [result];
  return Array.isArray(result) ? result.flatMap(flatten) : [];
}

/** Python spells memory formats with underscores. */
const MEMORY_FORMATS: Readonly<Record<string, string>> = {
  channels_last: "channelsLast",
  contiguous_format: "contiguousFormat",
  preserve_format: "preserveFormat",
};

/** A recorded argument, with `tensors` for the inputs that it names. */
export function decodeArgument(value: unknown, tensors: readonly Tensor[]): unknown {
  if (Array.isArray(value)) return value.map((v) => decodeArgument(v, tensors));
  if (typeof value === "string") return MEMORY_FORMATS[value] ?? value;
  if (typeof value !== "object" || value === null) return value;
  if ("input" in value && typeof value.input === "number") return tensors[value.input];
  if ("number" in value && typeof value.number === "string") return decodeNumber({ number: value.number });
  if ("bigint" in value && typeof value.bigint === "string") return BigInt(value.bigint);
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, decodeArgument(v, tensors)]));
}

function check(c: OpCase, how: string, call: (args: readonly unknown[]) => unknown): string[] {
  const inPlace = c.op.replace(/\..*$/, "").endsWith("_") || /^aten\.\w+_(\.|$)/.test(c.op);
  const bases = c.inputs.map((spec) => makeBase(spec));
  bases.forEach((base, i) => {
    if (c.grads !== undefined && c.inputs[i]?.grad === true) base.requiresGrad_();
  });
  const views = c.inputs.map((spec, i) => {
    const view = layOut(spec, bases[i] as Tensor);
    return inPlace ? view.clone() : view;
  });
  const decode = (value: unknown): unknown => decodeArgument(value, views);
  const args = c.args.map(decode);
  if (c.options !== undefined) args.push(decode(c.options));
  torch.manualSeed(42);
  const result = call(args);
  const at = `${c.name}, ${how}`;
  if (c.outputs === undefined)
    return Object.is(result, decode(c.value)) ? [] : [`${at}: ${String(result)}, expected ${String(c.value)}`];
  let outputs = flatten(result);
  if (inPlace) {
    // The first argument itself comes back (lists come back as nothing: they were written).
    if (outputs.length === 0) outputs = flatten(args[0]);
    else if (isTensor(result) && result !== args[0])
      return [`${at}: an in-place operator returned another object than its first argument`];
  }
  const tolerance: Tolerance | null = c.tolerance === undefined ? null : { rtol: c.tolerance[0], atol: c.tolerance[1] };
  if (outputs.length !== c.outputs.length) return [`${at}: ${outputs.length} results, expected ${c.outputs.length}`];
  const problems = outputs.map((t, i) => difference(`${at}: result ${i}`, t, c.outputs?.[i] as Recorded, tolerance));
  if (c.grads !== undefined) {
    const leaves = bases.filter((b) => b.requiresGrad);
    const weighted = outputs.map((t, k) => ({ t, k })).filter(({ t }) => t.requiresGrad);
    const gradOutputs = weighted.map(({ t, k }) =>
      fromDoubles(
        hashed(1000 + k, t.numel() * (t.isComplex() ? 2 : 1)).map((u) => u * 2 - 1),
        t.shape,
        t.dtype,
      ),
    );
    const grads = torch.grad(
      weighted.map(({ t }) => t),
      leaves,
      { gradOutputs, allowUnused: true },
    );
    if (grads.length !== c.grads.length) problems.push(`${at}: ${grads.length} gradients, expected ${c.grads.length}`);
    c.grads.forEach((expected, i) => {
      const got = grads[i] ?? null;
      if (expected === null || got === null)
        problems.push(
          expected === got
            ? null
            : `${at}: gradient ${i} is ${got === null ? "missing" : "there"}, expected ${expected === null ? "none" : "one"}`,
        );
      else problems.push(difference(`${at}: gradient ${i}`, got, expected, tolerance));
    });
  }
  return problems.filter((p): p is string => p !== null);
}

/**
 * Run a recorded call and compare shape, dtype, value and gradient: to the last bit, unless the case states a
 * tolerance. Also that no tensor is left behind.
 * @throws {AssertionError} one readable line per difference, with the elements and their bits.
 */
export function checkOp(c: OpCase): void {
  const fn = lookUp(c.op);
  const method = methodOf(c);
  assert.ok(fn !== null || method !== null, `@nbit/torch has neither a function nor a method ${c.op}`);
  const before = torch.memory().unreleased;
  const problems = torch.scope(() => [
    ...(fn === null ? [] : check(c, "as a function", (args) => fn(...args))),
    ...(method === null ? [] : check(c, "as a method", ([self, ...rest]) => method.apply(self, rest))),
  ]);
  const left = torch.memory().unreleased - before;
  if (left !== 0) problems.push(`${c.name}: ${left} tensors left behind`);
  if (problems.length > 0) assert.fail(problems.join("\n"));
}
