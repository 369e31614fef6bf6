/**
 * The TypeScript twin of make_fixtures.py: what nbit makes of a row in a mode, in the form of a record. On a device
 * other than the CPU, too: what is drawn is drawn by the CPU's generator and moved then, as far as the row lets it be.
 */
import { crc32 } from "node:zlib";
import * as torch from "@nbit/torch";
import { autocast, manualSeed, nn, optim, tensor, Tensor, viewAsReal, type DType } from "@nbit/torch";
import { camel } from "../../helpers/camel.js";
import { fromDoubles, hashed } from "../../helpers/formula-input.js";
import { digest, numeral, type Digest, type Numeral } from "./digests.js";
import { lookup, type CallSpec, type Mode, type Row, type TensorSpec, type Value } from "./table.js";

type Callable = (...args: readonly unknown[]) => unknown;
type Newable = new (...args: readonly unknown[]) => unknown;
const DTYPES: Readonly<Record<Mode, DType>> = {
  float32: "float32",
  float64: "float64",
  bfloat16: "bfloat16",
  autocast: "float32",
};
const WHOLE = /^(?:u?int|bool)/;

/** Where a row runs, and what the random numbers of its calls begin with. */
export interface Place {
  /** Default "cpu". */
  readonly device?: "cpu" | "cuda";
  /** Default: the twin's. */
  readonly seed?: number;
}

class Case {
  readonly dtype: DType;
  readonly device: "cpu" | "cuda";
  readonly seed: number;
  /** Where tensors of the table lie now. */
  #place: "cpu" | "cuda";
  constructor(
    readonly row: Row,
    readonly mode: Mode,
    { device = "cpu", seed = 1 }: Place,
  ) {
    this.dtype = DTYPES[mode];
    this.device = this.#place = device;
    this.seed = seed;
  }

  /** A module with the numbers that the CPU's generator draws, then on the device. */
  module<T extends nn.Module>(make: () => T): T {
    this.#place = "cpu";
    const made = make();
    this.#place = this.device;
    return made;
  }

  tensor(spec: TensorSpec, key: string): Tensor {
    const shape = spec.shape ?? [spec.values?.length ?? 0];
    const dtype = spec.dtype === undefined || spec.dtype === "float" ? this.dtype : spec.dtype;
    const floating = !WHOLE.test(dtype);
    const n = shape.reduce((a, b) => a * b, 1) * (dtype.startsWith("complex") ? 2 : 1);
    let data: Float64Array;
    if (spec.values !== undefined)
      data = Float64Array.from(spec.values, (v) => Number(String(v).replace("inf", "Infinity")));
    else {
      const [low, high] = [spec.low ?? (floating ? -2 : 0), spec.high ?? 2];
      data = hashed(crc32(`${this.row.name}#${key}`), n).map((u) => low + (high - low) * u);
      if (!floating) data = data.map(Math.floor);
    }
    const t = fromDoubles(data, shape, dtype).to(this.#place);
    return floating ? t.requiresGrad_(spec.grad ?? spec.values === undefined) : t;
  }

  /** What an argument of the table stands for. */
  value(v: Value, key: string): unknown {
    if (Array.isArray(v)) return v.map((each: Value, i) => this.value(each, `${key}.${i}`));
    if (typeof v !== "object" || v === null) return v;
    const named = v as Readonly<Record<string, Value>>;
    if ("$tensor" in named) return this.tensor(named["$tensor"] as TensorSpec, key);
    if ("$list" in named) return this.value(named["$list"] as Value, key);
    if ("$dtype" in named) return named["$dtype"];
    if ("$number" in named) return Number(String(named["$number"]).replace("inf", "Infinity"));
    if ("$fn" in named) return lookup(torch, named["$fn"] as string);
    if ("$new" in named)
      return this.call(lookup(torch, named["$new"] as string), named as unknown as CallSpec, key, []);
    return Object.fromEntries(Object.entries(named).map(([name, each]) => [name, this.value(each, `${key}.${name}`)]));
  }

  named(values: Readonly<Record<string, Value>> | undefined, key: string): Readonly<Record<string, unknown>> {
    return Object.fromEntries(
      Object.entries(values ?? {}).map(([name, each]) => [camel(name), this.value(each, `${key}.${name}`)]),
    );
  }

  call(target: unknown, spec: Omit<CallSpec, "call">, key: string, first: readonly unknown[]): unknown {
    const args = [...first, ...(spec.args ?? []).map((each, i) => this.value(each, `${key}.${i}`))];
    const kwargs = this.named(spec.kwargs, key);
    if (Object.keys(kwargs).length > 0) args.push(kwargs);
    return isClass(target) ? new target(...args) : (target as Callable)(...args);
  }

  run<T>(fn: () => T): T {
    return this.mode === "autocast" ? autocast({ deviceType: this.device, dtype: "bfloat16" }, fn) : fn();
  }
}

function isClass(target: unknown): target is Newable {
  return typeof target === "function" && /^class\b/.test(Function.prototype.toString.call(target));
}

/** `Tensor.fliplr`: the method of the first input. */
function methodOf(path: string): Callable {
  const method = lookup(torch, path.replace(".", ".prototype.")) as Callable;
  return (self, ...args) => method.call(self, ...args);
}

function tensorsOf(value: unknown): Tensor[] {
  if (value instanceof Tensor) return [value];
  if (Array.isArray(value)) return value.flatMap(tensorsOf);
  if (typeof value !== "object" || value === null) return [];
  if ("batchSizes" in value && "data" in value) return [value.data as Tensor, value.batchSizes as Tensor];
  return Object.values(value).flatMap(tensorsOf);
}

function lossOf(outputs: readonly Tensor[]): Tensor | null {
  let total: Tensor | null = null;
  for (const t of outputs) {
    if (!t.requiresGrad) continue;
    const real = t.isComplex() ? viewAsReal(t.resolveConj()) : t;
    const wide = real.to(real.dtype === "float64" ? "float64" : "float32");
    const w = tensor(hashed(11, wide.numel()).map((u) => u * 2 - 1))
      .reshape(wide.shape)
      .to({ dtype: wide.dtype, device: wide.device });
    const part = wide.numel() > 0 ? wide.mul(w).mean() : wide.sum();
    total = total === null ? part : total.add(part);
  }
  return total;
}

function digestsOf(named: Iterable<readonly [string, unknown]>): Readonly<Record<string, Digest>> {
  return Object.fromEntries(
    Array.from(named).flatMap(([name, t]) => (t instanceof Tensor ? [[name, digest(t)] as const] : [])),
  );
}
const gradOf = (t: Tensor): Digest | null => (t.grad === null ? null : digest(t.grad));

function runCall(c: Case): Readonly<Record<string, unknown>> {
  const { row } = c;
  const target = row.call.startsWith("Tensor.") ? methodOf(row.call) : lookup(torch, row.call);
  const inputs = (row.inputs ?? []).map((spec, i) => c.tensor(spec, `in${i}`));
  const record: Record<string, unknown> = {};
  manualSeed(0);
  let module: nn.Module | null = null;
  let call = (): unknown => c.call(target, row, "arg", inputs);
  if (isClass(target) && target.prototype instanceof nn.Module) {
    const made = (module = c.module(() => c.call(target, row, "arg", []) as nn.Module));
    made.train(row.train ?? true);
    record["state"] = digestsOf(made.stateDict());
    made.to({ device: c.device, dtype: c.dtype });
    const named = c.named(row.forward, "fwd");
    const given = Object.keys(named).length > 0 ? [...inputs, named] : inputs;
    call = (): unknown => (made as unknown as { call: Callable }).call(...given);
  }
  manualSeed(c.seed);
  const forward = (): Tensor[] => {
    const all = tensorsOf(c.run(call));
    return all;
  };
  const chosen = (all: readonly Tensor[]): readonly Tensor[] =>
    row.output === undefined ? all : [all[row.output] as Tensor];
  const outputs = forward();
  record["outputs"] = outputs.map(digest);
  const loss = lossOf(chosen(outputs));
  if (loss === null) return record;
  loss.backward();
  record["inputGrads"] = inputs.filter((t) => t.requiresGrad).map(gradOf);
  const parameters = module === null ? [] : [...module.namedParameters()];
  record["grads"] = Object.fromEntries(parameters.map(([name, p]) => [name, gradOf(p)]));
  const steps = row.steps ?? 5;
  if (module === null || parameters.length === 0 || steps === 0) return record;
  const optimizer = new optim.SGD(module.parameters(), { lr: 0.1 });
  const losses: Numeral[] = [];
  for (let i = 0; i < steps; i++) {
    optimizer.zeroGrad();
    const each = lossOf(chosen(forward())) as Tensor;
    each.backward();
    optimizer.step();
    losses.push(numeral(each.item()));
  }
  record["losses"] = losses;
  record["after"] = digestsOf(module.stateDict());
  return record;
}

function smallModel(c: Case): nn.Sequential {
  return c.row.model === "embedding"
    ? new nn.Sequential(new nn.Embedding(10, 4, { sparse: true }), new nn.Flatten(), new nn.Linear(8, 3))
    : new nn.Sequential(new nn.Linear(6, 8), new nn.Tanh(), new nn.Linear(8, 3));
}

function runOptimizer(c: Case): Readonly<Record<string, unknown>> {
  const { row } = c;
  manualSeed(0);
  const model = smallModel(c).to({ device: c.device, dtype: c.dtype });
  const sparse = row.model === "embedding";
  const x = c.tensor(sparse ? { shape: [5, 2], dtype: "int64", high: 10 } : { shape: [5, 6], grad: false }, "x");
  const y = c.tensor({ shape: [5, 3], grad: false }, "y");
  const all = model.parameters();
  const params = sparse ? all.slice(0, 1) : row.matrices === true ? all.filter((p) => p.dim() === 2) : all;
  const optimizer = c.call(lookup(torch, row.call), row, "arg", [params]) as optim.Optimizer;
  const closure = (): Tensor => {
    optimizer.zeroGrad();
    const loss = nn.functional.mseLoss(model.forward(x) as Tensor, y);
    loss.backward();
    return loss;
  };
  const losses: Numeral[] = [];
  const after: Digest[][] = [];
  for (let i = 0; i < (row.steps ?? 10); i++) {
    let loss: unknown;
    if (row.closure === true) loss = (optimizer.step as Callable).call(optimizer, closure);
    else {
      loss = closure();
      optimizer.step();
    }
    losses.push(numeral(loss instanceof Tensor ? loss.item() : Number(loss)));
    after.push(params.map(digest));
  }
  const state = params.map((p) => {
    const { state } = optim.toTorch({ state: { 0: optimizer.state.get(p) ?? {} }, paramGroups: [] });
    const own = (state as Readonly<Record<string, object>>)["0"] ?? {};
    const entries = Object.entries(own).map(([name, v]) => [name, entry(v)] as const);
    return Object.fromEntries(entries.filter(([, v]) => v !== null).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
  return { losses, params: after, state };
}
function entry(v: unknown): Digest | null {
  if (v instanceof Tensor) return v.dim() === 0 ? ["number", numeral(v.item())] : digest(v);
  return typeof v === "number" ? ["number", numeral(v)] : null;
}

function runScheduler(c: Case): Readonly<Record<string, unknown>> {
  const { row } = c;
  const spec = row.optimizer ?? { call: "optim.SGD", kwargs: { lr: 0.1 } };
  const params = [0, 1].map(() => new nn.Parameter(torch.ones([2])));
  for (const p of params) p.grad = torch.zeros([2]);
  const groups = [{ params: [params[0]] }, { params: [params[1]], lr: spec.second ?? 0.05 }];
  const optimizer = c.call(lookup(torch, spec.call), spec, "opt", [groups]) as optim.Optimizer;
  interface Scheduler {
    step(metric?: number): void;
  }
  const inverse =
    (by: number) =>
    (x: number): number =>
      1 / (1 + by * x);
  const build = (of: CallSpec & { readonly bare?: boolean }): Scheduler => {
    const made = (v: Value): unknown =>
      Array.isArray(v) ? v.map(made) : isScheduler(v) ? build(v.$scheduler) : isInverse(v) ? inverse(v.$inverse) : v;
    const kwargs = Object.entries(of.kwargs ?? {}).map(([name, v]) => [camel(name), made(v)] as const);
    const args = [...(of.bare === true ? [] : [optimizer]), ...(of.args ?? []).map(made)];
    if (kwargs.length > 0) args.push(Object.fromEntries(kwargs));
    return new (lookup(torch, of.call) as Newable)(...args) as Scheduler;
  };
  const scheduler = build(row);
  const rates = [ratesOf(optimizer)];
  for (let i = 0; i < (row.steps ?? 20); i++) {
    optimizer.step();
    if (row.epochs !== undefined) scheduler.step(row.epochs[i]);
    else if (row.metrics === undefined) scheduler.step();
    else scheduler.step(row.metrics[i % row.metrics.length] as number);
    rates.push(ratesOf(optimizer));
  }
  return { rates };
}
function isScheduler(v: Value): v is { readonly $scheduler: Value } & { readonly $scheduler: CallSpec & Value } {
  return typeof v === "object" && v !== null && "$scheduler" in v;
}
function isInverse(v: Value): v is { readonly $inverse: number } {
  return typeof v === "object" && v !== null && "$inverse" in v;
}
function ratesOf(optimizer: optim.Optimizer): (readonly [number, number])[] {
  return optimizer.paramGroups.map((g) => {
    const betas = g["betas"] as readonly number[] | undefined;
    return [g.lr, (g["momentum"] as number | undefined) ?? betas?.[0] ?? 0];
  });
}

/** The record of a row in a mode. Throws what nbit throws. */
export function run(row: Row, mode: Mode, place: Place = {}): Readonly<Record<string, unknown>> {
  const c = new Case(row, mode, place);
  if (row.call.startsWith("optim.lr_scheduler.") || row.call === "optim.swa_utils.SWALR") return runScheduler(c);
  return row.call.startsWith("optim.") ? runOptimizer(c) : runCall(c);
}
