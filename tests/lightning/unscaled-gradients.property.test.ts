/**
 * Whatever order a module's code puts backwards, clipping, steps and clearing in, over optimizers that share a
 * parameter: under every precision it sees the gradients of float32, and ends with its weights.
 *
 * Gradients are small powers of two times whole numbers, which float16 and bfloat16 hold exactly, as every sum of them
 * does.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ApexPrecision, LightningModule, MixedPrecision, Trainer } from "@nbit/lightning";
import type { LightningOptimizer, TrainerOptions } from "@nbit/lightning";
import { full, nn, noGrad, ones, optim, scope, seedEverything, setNumThreads, tensor } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { QUIET } from "../helpers/training.js";

setNumThreads(1);
const OPTIONS: TrainerOptions = { ...QUIET, maxEpochs: 1 };

type Name = "first" | "second" | "shared" | "free";
type Op =
  | {
      readonly kind: "backward";
      readonly of: readonly Name[];
      readonly factor: number;
      readonly through: "manualBackward" | "toggled";
    }
  | { readonly kind: "clip"; readonly optimizer: 0 | 1; readonly by: "value" | "norm"; readonly limit: number }
  | { readonly kind: "step"; readonly optimizer: 0 | 1 }
  | { readonly kind: "zero"; readonly optimizer: 0 | 1; readonly how: "optimizer" | "in place" }
  | { readonly kind: "zeroModule" }
  | { readonly kind: "forget"; readonly name: Name }
  | { readonly kind: "set"; readonly name: Name; readonly value: number }
  | { readonly kind: "scale"; readonly name: Name }
  | { readonly kind: "look" };
type Program = readonly (readonly Op[])[];

const name = fc.constantFrom<Name>("first", "second", "shared", "free");
const optimizer = fc.constantFrom<0 | 1>(0, 1);
const op: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("backward" as const),
      of: fc.uniqueArray(name, { minLength: 1 }),
      factor: fc.constantFrom(-2, 0.5, 1, 3),
      through: fc.constantFrom("manualBackward" as const, "manualBackward" as const, "toggled" as const),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("clip" as const),
      optimizer,
      by: fc.constantFrom("value" as const, "norm" as const),
      limit: fc.constantFrom(0.5, 2, 4),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("step" as const), optimizer }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("zero" as const),
      optimizer,
      how: fc.constantFrom("optimizer" as const, "in place" as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("zeroModule" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("forget" as const), name }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("set" as const), name, value: fc.constantFrom(-1, 0.25, 2) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("scale" as const), name }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("look" as const) }) },
);
const program: fc.Arbitrary<Program> = fc.array(fc.array(op, { minLength: 1, maxLength: 6 }), {
  minLength: 1,
  maxLength: 5,
});

class Net extends LightningModule {
  override automaticOptimization = false;
  readonly first = new nn.Parameter(ones([1, 2]));
  readonly second = new nn.Parameter(ones([1, 2]));
  readonly shared = new nn.Parameter(ones([1, 2]));
  /** In no optimizer. */
  readonly free = new nn.Parameter(ones([1, 2]));
  readonly seen: (readonly [string, unknown])[] = [];
  constructor(
    readonly program: Program,
    readonly fused: boolean,
  ) {
    super();
  }
  /** Where the numbers of a parameter's gradient are: with its master, where it has one. */
  #look(where: string): void {
    scope(() => {
      this.trainer.optimizers.forEach((o, i) => {
        this.trainer.precision
          .mainParams(o)
          .forEach((p, j) => this.seen.push([`${where}: ${i}.${j}`, p.grad?.tolist() ?? null]));
      });
      for (const each of ["first", "second", "shared", "free"] as const)
        this.seen.push([`${where}: ${each}`, this[each].grad?.float().tolist() ?? null]);
    });
  }
  #lossOf(of: readonly Name[], factor: number, x: Tensor): Tensor {
    return of
      .map((each, i) =>
        nn.functional
          .linear(x.to(this[each].dtype), this[each])
          .float()
          .sum()
          .mul(factor * 2 ** i),
      )
      .reduce((a, b) => a.add(b));
  }
  #run(each: Op, at: string, optimizers: readonly LightningOptimizer[], x: Tensor): void {
    switch (each.kind) {
      case "backward": {
        const first = optimizers[0] as LightningOptimizer;
        const of = each.through === "toggled" ? each.of.filter((n) => n === "first" || n === "shared") : each.of;
        if (of.length === 0) return;
        if (each.through === "toggled") first.toggled(() => this.manualBackward(this.#lossOf(of, each.factor, x)));
        else this.manualBackward(this.#lossOf(of, each.factor, x));
        return;
      }
      case "clip":
        this.clipGradients(optimizers[each.optimizer] as LightningOptimizer, {
          gradientClipVal: each.limit,
          gradientClipAlgorithm: each.by,
        });
        return this.#look(at);
      case "step":
        this.#look(at);
        return optimizers[each.optimizer]?.step();
      case "zero":
        return optimizers[each.optimizer]?.zeroGrad({ setToNone: each.how === "optimizer" });
      case "zeroModule":
        return this.zeroGrad();
      case "forget":
        this[each.name].grad = null;
        return;
      case "set":
        this[each.name].grad = full([1, 2], each.value, { dtype: this[each.name].dtype });
        return;
      case "scale":
        noGrad(() => this[each.name].grad?.mul_(2));
        return;
      case "look":
        return this.#look(at);
    }
  }
  override trainingStep(x: Tensor, batchIdx: number): void {
    const optimizers = [this.optimizers()].flat();
    this.program[batchIdx]?.forEach((each, i) =>
      this.#run(each, `batch ${batchIdx}, ${i} (${each.kind})`, optimizers, x),
    );
  }
  override configureOptimizers(): optim.Optimizer[] {
    return [
      new optim.SGD([this.first, this.shared], { lr: 0.25, fused: this.fused }),
      new optim.SGD([this.second, this.shared], { lr: 0.125, fused: this.fused }),
    ];
  }
}

const batches = [
  [1, 2],
  [0.5, 4],
  [2, -1],
  [0.25, 1],
  [1, 1],
].map((row) => tensor([row]));

async function run(
  given: Program,
  options: TrainerOptions,
  fused = false,
): Promise<{ readonly seen: readonly (readonly [string, unknown])[]; readonly weights: readonly unknown[] }> {
  seedEverything(0);
  const net = new Net(given, fused);
  await new Trainer({ ...OPTIONS, ...options }).fit(net, { trainDataloaders: batches.slice(0, given.length) });
  const weights = Object.fromEntries([...net.stateDict()].map(([key, t]) => [key, t.float().tolist()]));
  return { seen: net.seen, weights: ["first", "second", "shared"].map((key) => weights[key]) };
}

const flat = (value: unknown): number[] =>
  Array.isArray(value) ? value.flatMap(flat) : value === null ? [] : [Number(value)];

function close(received: unknown, expected: unknown, tolerance: number, where: string): void {
  assert.equal(
    received === null,
    expected === null,
    `${where}: ${JSON.stringify(received)} for ${JSON.stringify(expected)}`,
  );
  const [a, b] = [flat(received), flat(expected)];
  assert.ok(
    a.length === b.length &&
      a.every((v, i) => Math.abs(v - (b[i] as number)) <= tolerance * Math.max(1, Math.abs(b[i] as number))),
    `${where}: ${JSON.stringify(received)} for ${JSON.stringify(expected)}`,
  );
}

// A scale that moves within a run: it grows after every second update.
const scaler = { initScale: 64, growthInterval: 2 } as const;
const precisions: readonly (readonly [string, () => TrainerOptions, number, boolean?])[] = [
  ["bf16", () => ({ precision: "bf16" }), 1e-6],
  ["16", () => ({ plugins: new MixedPrecision({ scaler }) }), 1e-6],
  ["16, lazy", () => ({ plugins: new MixedPrecision({ scaler: { ...scaler, lazy: true } }) }), 1e-6, true],
  [
    "16, a scale that is no power of two",
    () => ({ plugins: new MixedPrecision({ scaler: { initScale: 100, growthFactor: 1.5, growthInterval: 2 } }) }),
    1e-5,
  ],
  ["O0", () => ({ plugins: new ApexPrecision({ optLevel: "O0" }) }), 1e-6],
  ["O1", () => ({ plugins: new ApexPrecision({ optLevel: "O1", maxLossScale: 64 }) }), 1e-6],
  ["O2", () => ({ plugins: new ApexPrecision({ optLevel: "O2", maxLossScale: 64 }) }), 2e-3],
  ["O3", () => ({ plugins: new ApexPrecision({ optLevel: "O3" }) }), 4e-3],
  [
    "O3, scaled",
    () => ({ plugins: new ApexPrecision({ optLevel: "O3", lossScale: "dynamic", maxLossScale: 64 }) }),
    4e-3,
  ],
  ["16-true", () => ({ precision: "16-true" }), 4e-3],
];
for (const [precision, options, tolerance, fused] of precisions)
  test(`${precision}: gradients and weights of float32`, async () => {
    await fc.assert(
      fc.asyncProperty(program, async (given) => {
        const expected = await run(given, { precision: 32 });
        const received = await run(given, options(), fused);
        assert.equal(received.seen.length, expected.seen.length);
        received.seen.forEach(([where, value], i) => close(value, expected.seen[i]?.[1], tolerance, where));
        close(received.weights, expected.weights, tolerance, "weights");
      }),
      { seed: Number(process.env["SEED"] ?? 7), numRuns: Number(process.env["RUNS"] ?? 60) },
    );
  });
