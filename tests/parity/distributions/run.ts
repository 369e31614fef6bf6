/**
 * The cases of the tables as make_fixtures.py runs them, on the default device: where that is a GPU, what is drawn is
 * compared by dtype and shape, and what is computed from it is computed from PyTorch's own sample.
 */
import type { FixtureOrigin } from "../../helpers/reproducible.js";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import * as torch from "@nbit/torch";
import { distributions, type Tensor } from "@nbit/torch";
import { camel } from "../../helpers/camel.js";

interface Numbers {
  readonly shape: readonly number[];
  readonly values: readonly (number | string)[];
  /** "none": PyTorch cannot differentiate it. */
  readonly grads?: readonly (Numbers | null)[] | "none" | null;
}
interface Bytes {
  readonly shape: readonly number[];
  readonly dtype: torch.DType;
  readonly bytes: string;
}
interface Spec {
  readonly new: string;
  readonly args?: readonly unknown[];
  readonly kwargs?: Readonly<Record<string, unknown>>;
}
export interface CaseRecord {
  readonly table: "cases" | "transforms" | "kl";
  readonly name: string;
  readonly dtype: "float32" | "float64";
  readonly [field: string]: unknown;
}

const here = new URL("../../../parity/distributions/", import.meta.url);
const load = <T>(name: string): T => JSON.parse(readFileSync(new URL(name, here), "utf8")) as T;

/** Reads the specs of the tables, as Reader does in make_fixtures.py. */
class Reader {
  readonly leaves: Tensor[] = [];
  constructor(readonly dtype: torch.DType) {}
  value(v: unknown): unknown {
    if (typeof v !== "object" || v === null) return v;
    const [[kind, inner] = ["", null]] = Object.entries(v) as [string, unknown][];
    if (kind === "t" || kind === "n") {
      const t = torch.tensor(inner as torch.TensorData, { dtype: this.dtype, requiresGrad: kind === "t" });
      if (kind === "t") this.leaves.push(t);
      return t;
    }
    if (kind === "p") return inner;
    if (kind === "l") return (inner as unknown[]).map((each) => this.value(each));
    if (kind === "d") return this.made(inner as Spec);
    if (kind === "inv") return (this.made(inner as Spec) as distributions.Transform).inv;
    if (kind === "c") return Reflect.get(distributions.constraints, camel(inner as string));
    throw new Error(`unknown kind ${kind}`);
  }
  made(spec: Spec): object {
    const type = Reflect.get(distributions, spec.new) as new (...args: unknown[]) => object;
    const args = (spec.args ?? []).map((a) => this.value(a));
    const named = Object.fromEntries(Object.entries(spec.kwargs ?? {}).map(([k, v]) => [camel(k), this.value(v)]));
    // Transforms take their arguments by position.
    if (spec.new.endsWith("Transform")) return new type(...args, ...Object.values(named));
    return Object.keys(named).length === 0 ? new type(...args) : new type(...args, named);
  }
  gradients(result: Tensor): readonly (Tensor | null)[] | null {
    if (!result.requiresGrad) return null;
    const flat = result.reshape(-1);
    const n = flat.numel();
    const w = torch.arange(1, n + 1, { dtype: flat.dtype }).div(n);
    return torch.grad(flat.mul(w).sum(), this.leaves, { allowUnused: true, retainGraph: true });
  }
}

const value = (v: number | string): number =>
  typeof v === "number" ? v : v === "inf" ? Infinity : v === "-inf" ? -Infinity : NaN;

function checkNumbers(what: string, actual: Tensor, expected: Numbers, dtype: string): void {
  assert.deepEqual(actual.shape, expected.shape, `${what}: shape`);
  const list = Array.from(actual.detach().to("cpu").to("float64").contiguous().toTypedArray() as Float64Array);
  const [rtol, atol] = dtype === "float64" ? [1e-8, 1e-9] : [1e-4, 2e-5];
  list.forEach((a, i) => {
    const e = value(expected.values[i] as number | string);
    const near = Object.is(a, e) || a === e || Math.abs(a - e) <= atol + rtol * Math.abs(e);
    assert.ok(near, `${what}[${i}]: ${a}, expected ${e}`);
  });
}
function checkGradients(
  what: string,
  actual: readonly (Tensor | null)[] | null,
  expected: readonly (Numbers | null)[] | null | undefined,
  dtype: string,
): void {
  assert.equal(actual === null, (expected ?? null) === null, `${what}: whether it has gradients`);
  actual?.forEach((g, i) => {
    const e = expected?.[i] ?? null;
    assert.equal(g === null, e === null, `${what}: whether parameter ${i} has a gradient`);
    if (g !== null && e !== null) checkNumbers(`${what}, gradient of parameter ${i}`, g, e, dtype);
  });
}
function check(read: Reader, what: string, make: () => Tensor, expected: unknown): void {
  if (expected === undefined) return;
  if (expected === null) {
    assert.throws(make, { code: "ERR_NOT_IMPLEMENTED" }, what);
    return;
  }
  const actual = make();
  const { grads } = expected as Numbers;
  checkNumbers(what, actual, expected as Numbers, read.dtype);
  if (grads === "none") assert.throws(() => read.gradients(actual), { code: "TORCH_NOT_IMPLEMENTED" });
  else checkGradients(what, read.gradients(actual), grads, read.dtype);
}
const drawnHere = (): boolean => torch.getDefaultDevice().type === "cpu";
function recorded({ bytes, dtype, shape }: Bytes): Tensor {
  return torch.tensorFromBytes(Buffer.from(bytes, "base64"), dtype, shape).to(torch.getDefaultDevice());
}
/** What is drawn. A GPU has another generator: its numbers are of the same dtype and shape. */
function checkDrawn(what: string, actual: Tensor, expected: Bytes): void {
  assert.deepEqual([actual.dtype, actual.shape], [expected.dtype, expected.shape], what);
  assert.equal(actual.device.type, torch.getDefaultDevice().type, `${what}: device`);
  if (!drawnHere()) return;
  const wanted = recorded(expected);
  const bytes = Buffer.from(actual.detach().contiguous().toBytes()).toString("base64");
  assert.ok(bytes === expected.bytes, `${what}: ${actual.toString()}, expected ${wanted.toString()}`);
}

function runCase(spec: Spec, record: CaseRecord): void {
  const read = new Reader(record.dtype);
  const d = read.made(spec) as distributions.Distribution;
  assert.deepEqual([d.batchShape, d.eventShape, d.hasRsample], [record["batch"], record["event"], record["rsamples"]]);
  torch.manualSeed(0);
  const drawn = d.sample([2]);
  assert.equal(drawn.requiresGrad, false);
  checkDrawn("sample", drawn, record["sample"] as Bytes);
  const sample = drawnHere() ? drawn : recorded(record["sample"] as Bytes);
  if (d.hasRsample) {
    torch.manualSeed(1);
    const r = d.rsample({ sampleShape: [3] });
    checkDrawn("rsample", r, record["rsample"] as Bytes);
    if ("rsampleGrads" in record && drawnHere())
      checkGradients("rsample", read.gradients(r), record["rsampleGrads"] as (Numbers | null)[] | null, read.dtype);
  }
  for (const name of ["mean", "mode", "variance", "stddev"] as const) check(read, name, () => d[name], record[name]);
  check(read, "entropy", () => d.entropy(), record["entropy"]);
  check(read, "logProb", () => d.logProb(sample), record["logProb"]);
  check(read, "cdf", () => d.cdf(sample), record["cdf"]);
  const n = d.batchShape.reduce((product, size) => product * size, 1);
  const probs = torch.linspace(0.1, 0.9, Math.max(1, n), { dtype: read.dtype }).reshape(d.batchShape);
  check(read, "icdf", () => d.icdf(probs), record["icdf"]);
  assert.equal(d.hasEnumerateSupport, "support" in record, "hasEnumerateSupport");
  if (Array.isArray(record["support"])) {
    checkNumbers("support", d.enumerateSupport(), record["support"][0] as Numbers, read.dtype);
    checkNumbers("support", d.enumerateSupport({ expand: false }), record["support"][1] as Numbers, read.dtype);
  }
  const expanded = d.expand([2, ...d.batchShape]);
  torch.manualSeed(2);
  checkDrawn("sample of an expanded one", expanded.sample(), record["expanded"] as Bytes);
  check(read, "mean of an expanded one", () => expanded.mean.detach(), record["expandedMean"]);
}

interface TransformSpec {
  readonly constraint: string;
  readonly args?: readonly unknown[];
  readonly shape: readonly number[];
}
function runTransform(spec: TransformSpec, record: CaseRecord): void {
  const read = new Reader(record.dtype);
  const found: unknown = Reflect.get(distributions.constraints, camel(spec.constraint));
  const constraint = (
    spec.args === undefined ? found : (found as (...args: unknown[]) => unknown)(...spec.args.map((a) => read.value(a)))
  ) as distributions.constraints.Constraint;
  const t = (record["which"] === "biject_to" ? distributions.bijectTo : distributions.transformTo)(constraint);
  const n = spec.shape.reduce((product, size) => product * size, 1);
  const x = torch.arange(n, { dtype: read.dtype }).div(n).mul(3).sub(1.4).sin().reshape(spec.shape).requiresGrad_();
  read.leaves.push(x);
  const y = t.call(x);
  check(read, "y", () => y, record["y"]);
  checkNumbers("x", t.inv.call(y), record["x"] as Numbers, read.dtype);
  assert.equal(constraint.check(y).all().item() !== 0, record["valid"]);
  check(read, "logAbsDetJacobian", () => t.logAbsDetJacobian(x, y), record["jacobian"]);
  assert.deepEqual([t.forwardShape(x.shape), t.inverseShape(y.shape)], record["shapes"]);
}

export const [origin, ...records] = readFileSync(new URL("fixtures.jsonl", here), "utf8")
  .trimEnd()
  .split("\n")
  .map((line): unknown => JSON.parse(line)) as [FixtureOrigin, ...CaseRecord[]];

const cases = load<readonly ({ readonly name: string } & Spec)[]>("cases.json");
const transforms = load<readonly ({ readonly name: string } & TransformSpec)[]>("transforms.json");
const kl = load<Readonly<Record<string, readonly [[string, unknown[]], [string, unknown[]]]>>>("kl.json");

export const titleOf = ({ table, name, dtype, ...record }: CaseRecord): string =>
  `${table}: ${name}, ${String(record["which"] ?? "")} ${dtype}`;

/** @throws {AssertionError} Where it is not as PyTorch's. */
export function checkRecord(record: CaseRecord): void {
  torch.setDefaultDtype(record.dtype);
  try {
    torch.scope(() => {
      if (record.table === "cases") runCase(cases.find((c) => c.name === record.name) as Spec, record);
      else if (record.table === "transforms")
        runTransform(transforms.find((c) => c.name === record.name) as TransformSpec, record);
      else {
        const read = new Reader(record.dtype);
        const [typeP, argsP] = (kl[record["p"] as string] as (typeof kl)[string])[0];
        const [typeQ, argsQ] = (kl[record["q"] as string] as (typeof kl)[string])[1];
        const p = read.made({ new: typeP, args: argsP }) as distributions.Distribution;
        const q = read.made({ new: typeQ, args: argsQ }) as distributions.Distribution;
        check(read, "klDivergence", () => distributions.klDivergence(p, q), record["kl"]);
      }
    });
  } finally {
    torch.setDefaultDtype("float32");
  }
}
