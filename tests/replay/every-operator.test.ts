/** Every operator that the fixtures call, forward and backward: a replay computes the bits of the eager call. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { grad, isTensor, manualSeed, program, scope, type Tensor } from "@nbit/torch";
import { digestOf } from "../helpers/digest.js";
import { makeBase, layOut } from "../helpers/formula-input.js";
import { decodeArgument, lookUp, type OpCase } from "../helpers/op-check.js";

const file = new URL("../../parity/ops/fixtures.jsonl", import.meta.url);
const [, ...lines] = readFileSync(file, "utf8").trimEnd().split("\n");
const cases = lines.map((line) => JSON.parse(line) as OpCase);

let replayed = 0;

const tensorsIn = (value: unknown): Tensor[] =>
  isTensor(value) ? [value] : Array.isArray(value) ? value.flatMap(tensorsIn) : [];

/** Null: it is replayed as it ran, or cannot be recorded. */
function problemOf(c: OpCase): string | null {
  // What writes its input begins from other values in a second run.
  const fn = c.op.endsWith("_") ? null : lookUp(c.op);
  if (fn === null) return null;
  const bases = c.inputs.map((spec) => makeBase(spec));
  const views = c.inputs.map((spec, i) => {
    if (c.grads !== undefined && spec.grad === true) bases[i]?.requiresGrad_();
    return layOut(spec, bases[i] as Tensor);
  });
  const args = c.args.map((value) => decodeArgument(value, views));
  if (c.options !== undefined) args.push(decodeArgument(c.options, views));
  const leaves = bases.filter((b) => b.requiresGrad);
  const run = (): Record<string, Tensor> => {
    const outputs = tensorsIn(fn(...args));
    const differentiable = outputs.filter((t) => t.requiresGrad && !t.isComplex());
    const gradients =
      leaves.length === 0 || differentiable.length === 0
        ? []
        : grad(
            differentiable.map((t) => t.mul(0.5).sum()),
            leaves,
            { allowUnused: true },
          );
    const made = [...outputs.map((t) => t.detach()), ...gradients.filter((g) => g !== null)];
    return Object.fromEntries(made.map((t, i) => [String(i), t]));
  };
  const step = new program.RecordedStep();
  manualSeed(42);
  const eager = step.record(run);
  if (step.refusal !== null) return null;
  const values = Object.entries(eager).map(([name, t]) => [name, t.clone()] as const);
  const written = bases.map((b) => digestOf(b.detach()));
  if (
    step.program.operators.some((o) =>
      o.writes.some((v) => step.program.buffers[step.program.values[v]?.buffer ?? 0]?.origin === "external"),
    )
  )
    return null; // a second run begins from other values
  manualSeed(42);
  const again = step.replay();
  replayed++;
  for (const [name, value] of values) {
    const other = again[name];
    if (other !== undefined && digestOf(other) !== digestOf(value)) return `${c.name}: result ${name} differs`;
  }
  return bases.every((b, i) => digestOf(b.detach()) === written[i]) ? null : `${c.name}: an input has changed`;
}

test("operators of the fixtures are replayed to the last bit", () => {
  const problems = cases.flatMap((c) => {
    try {
      return scope(() => problemOf(c)) ?? [];
    } catch (error) {
      return [`${c.name}: ${String(error).slice(0, 200)}`];
    }
  });
  assert.deepEqual(problems, []);
  assert.ok(replayed > 400, `${replayed} of ${cases.length} calls were replayed`);
});
