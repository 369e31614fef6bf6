/** A family of cases as one recorded step, by XLA and by libtorch. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { getCpuKernels, manualSeed, randn, setCpuKernels, type DType, type Tensor } from "@nbit/torch";
import { tensorsOf, type Case } from "./cases/case.js";
import { DeviceStep, difference, needsCpu, recorded } from "./harness.js";

const DTYPES: readonly DType[] = ["float32", "bfloat16"];
const WITHIN: Partial<Record<DType, number>> = { float32: 2e-6, bfloat16: 2 ** -7 };

/** What one case gives: its results, and the gradients that come of random ones for them. */
function prepared(c: Case, dtype: DType): { run: () => Record<string, Tensor>; leaves: Tensor[] } {
  const tensors = tensorsOf(c, dtype);
  manualSeed(3);
  const cotangents = [c.run(tensorsOf(c, dtype))]
    .flat()
    .map((y) => (y.isFloatingPoint() ? randn(y.shape).to(y.dtype) : null));
  const leaves = Object.entries(tensors).filter(([, t]) => t.requiresGrad);
  const run = (): Record<string, Tensor> => {
    for (const [, leaf] of leaves) leaf.grad = null;
    const made = [c.run(tensors)].flat();
    const out = Object.fromEntries(made.map((y, i) => [`result ${i}`, y.detach()]));
    if (c.backward === false) return out;
    const sums = made.flatMap((y, i) => {
      const cotangent = cotangents[i];
      return cotangent != null && y.requiresGrad ? [y.mul(cotangent).sum().to("float32")] : [];
    });
    sums.reduce((a, b) => a.add(b)).backward();
    for (const [name, leaf] of leaves) if (leaf.grad !== null) out[`gradient of ${name}`] = leaf.grad;
    return out;
  };
  return { run, leaves: c.backward === false ? [] : leaves.map(([, leaf]) => leaf) };
}

/** Operators that the cases of this process recorded. */
export const covered = new Set<string>();

/** Registers a test for each dtype of a family. */
export function compareCases(family: string, cases: readonly Case[]): void {
  for (const dtype of DTYPES) {
    const mine = cases.filter((c) => (c.dtypes ?? DTYPES).includes(dtype));
    if (mine.length === 0) continue;
    test(`${family}, ${dtype}: ${mine.length} cases as libtorch computes them`, needsCpu, async () => {
      const kernels = getCpuKernels();
      setCpuKernels("libtorch");
      try {
        await compare(mine, dtype);
      } finally {
        setCpuKernels(kernels);
      }
    });
  }
}
async function compare(cases: readonly Case[], dtype: DType): Promise<void> {
  const all = cases.map((c) => ({ c, ...prepared(c, dtype) }));
  const run = (): Record<string, Tensor> =>
    Object.assign({}, ...all.map(({ c, run }) => rename(run(), (name) => `${c.name}: ${name}`))) as Record<
      string,
      Tensor
    >;
  const step = recorded(
    run,
    all.flatMap(({ leaves }) => leaves),
  );
  for (const { name, overload } of step.program.operators) covered.add(overload === "" ? name : `${name}.${overload}`);
  const device = await DeviceStep.of(step);
  await device.run();
  const got = await device.results();
  const want = run();
  const faults = Object.entries(want).flatMap(([name, value]) => {
    const c = cases.find((one) => name.startsWith(`${one.name}: `)) as Case;
    const limit = c.within?.[dtype] ?? WITHIN[dtype] ?? 0;
    const mine = got[name];
    const off = mine === undefined ? Infinity : difference(mine, value);
    return off <= limit ? [] : [`${name} is off by ${off} of ${limit}`];
  });
  step.dispose();
  assert.deepEqual(faults, []);
}
const rename = <T>(record: Record<string, T>, by: (name: string) => string): Record<string, T> =>
  Object.fromEntries(Object.entries(record).map(([name, value]) => [by(name), value]));
