import assert from "node:assert/strict";
import { test } from "node:test";
import * as lowbit from "@nbit/lowbit";
import "@nbit/apex";
import {
  AdamW8bit,
  dequantizeBlockwise,
  FAMILIES,
  FORMATS,
  keep32bit,
  LAMB8bit,
  Lion8bit,
  LowBitOptimizer,
  SGD8bit,
  StableEmbedding,
  type FormatName,
} from "@nbit/lowbit";
import { LightningModule, Trainer } from "@nbit/lightning";
import {
  keep,
  memory,
  nn,
  ones,
  optim,
  packState,
  randint,
  randn,
  scope,
  seedEverything,
  tensor,
  unpackState,
  type Tensor,
} from "@nbit/torch";
import { QUIET, warningsOf } from "../helpers/training.js";

type Make = (params: Iterable<Tensor>) => optim.Optimizer;
const parameter = (...shape: number[]): nn.Parameter => new nn.Parameter(randn(shape).mul(0.1));

/** Mean difference of parameters after some steps from the same start over the same gradients. */
function compare(
  a: Make,
  b: Make,
  shape: readonly number[],
  steps: number,
  dtype: "float32" | "bfloat16" | "float16" = "float32",
): { absolute: number; relative: number } {
  return scope(() => {
    seedEverything(0);
    const p1 = new nn.Parameter(
      randn([...shape])
        .mul(0.1)
        .to(dtype),
    );
    const p2 = new nn.Parameter(p1.detach().clone());
    const [o1, o2] = [a([p1]), b([p2])];
    for (let i = 0; i < steps; i++)
      scope(() => {
        const g = randn([...shape])
          .mul(0.01)
          .to(dtype);
        p1.grad = g.clone();
        p2.grad = g.clone();
        o1.step();
        o2.step();
      });
    const d = p1.detach().float().sub(p2.detach().float()).abs();
    return { absolute: d.mean().item(), relative: d.div(p2.detach().float().abs().add(1e-9)).mean().item() };
  });
}

test("the 32-bit forms are PyTorch's where it has them", () => {
  const close = (a: Make, b: Make): void => {
    const { absolute } = compare(a, b, [64, 70], 20);
    assert.ok(absolute < 1e-6, `${absolute}`);
  };
  close(
    (p) => new lowbit.Adam32bit(p, { lr: 2e-3, weightDecay: 0.1, betas: [0.8, 0.95] }),
    (p) => new optim.Adam(p, { lr: 2e-3, weightDecay: 0.1, betas: [0.8, 0.95] }),
  );
  close(
    (p) => new lowbit.AdamW32bit(p, { lr: 2e-3, weightDecay: 0.1 }),
    (p) => new optim.AdamW(p, { lr: 2e-3, weightDecay: 0.1 }),
  );
  close(
    (p) => new lowbit.SGD32bit(p, { lr: 0.1, momentum: 0.8, weightDecay: 0.1, nesterov: true }),
    (p) => new optim.SGD(p, { lr: 0.1, momentum: 0.8, weightDecay: 0.1, nesterov: true }),
  );
});

const PAIRS: readonly (readonly [string, Make, Make, number])[] = [
  [
    "AdamW",
    (p) => new lowbit.AdamW8bit(p, { weightDecay: 0.1 }),
    (p) => new lowbit.AdamW32bit(p, { weightDecay: 0.1 }),
    1e-4,
  ],
  [
    "Lion",
    (p) => new lowbit.Lion8bit(p, { weightDecay: 0.1 }),
    (p) => new lowbit.Lion32bit(p, { weightDecay: 0.1 }),
    6e-4,
  ],
  [
    "SGD",
    (p) => new lowbit.SGD8bit(p, { weightDecay: 0.1, nesterov: true }),
    (p) => new lowbit.SGD32bit(p, { weightDecay: 0.1, nesterov: true }),
    1e-3,
  ],
  [
    "RMSprop",
    (p) => new lowbit.RMSprop8bit(p, { lr: 1e-3, weightDecay: 0.1 }),
    (p) => new lowbit.RMSprop32bit(p, { lr: 1e-3, weightDecay: 0.1 }),
    1e-3,
  ],
  [
    "Adagrad",
    (p) => new lowbit.Adagrad8bit(p, { lr: 1e-3, weightDecay: 0.1 }),
    (p) => new lowbit.Adagrad32bit(p, { lr: 1e-3, weightDecay: 0.1 }),
    1e-3,
  ],
  [
    "LAMB",
    (p) => new lowbit.LAMB8bit(p, { weightDecay: 0.1 }),
    (p) => new lowbit.LAMB32bit(p, { weightDecay: 0.1 }),
    1e-4,
  ],
  [
    "LARS",
    (p) => new lowbit.LARS8bit(p, { weightDecay: 0.1 }),
    (p) => new lowbit.LARS32bit(p, { weightDecay: 0.1 }),
    1e-4,
  ],
  [
    "AdEMAMix",
    (p) => new lowbit.AdEMAMix8bit(p, { weightDecay: 0.1 }),
    (p) => new lowbit.AdEMAMix32bit(p, { weightDecay: 0.1 }),
    3e-4,
  ],
];
for (const [name, low, full, limit] of PAIRS)
  test(`${name}8bit follows ${name}32bit at a decay that is not zero, with a ragged block`, () => {
    const { absolute } = compare(low, full, [17, 301], 30);
    assert.ok(absolute < limit, `mean |Δp| ${absolute}`);
    assert.ok(compare(low, full, [17, 301], 20, "bfloat16").absolute < 4 * limit + 1e-3);
  });

const families = Object.keys(FAMILIES) as (keyof typeof FAMILIES)[];
test("the fused step equals the reference step: every family, every format, every dtype", () => {
  const own: Partial<Record<keyof typeof FAMILIES, object>> = {
    momentum: { nesterov: true },
    lars: { nesterov: true },
    lamb: { maxUnorm: 5 },
  };
  const make =
    (family: keyof typeof FAMILIES, format: FormatName | null, fused: boolean): Make =>
    (p) => {
      const made = new LowBitOptimizer(p, family, format, { weightDecay: 0.05, ...own[family] });
      if (!fused) Object.defineProperty(made, "family", { value: { ...made.family, fused: null } });
      return made;
    };
  for (const family of families)
    for (const format of ["dynamic8", "linear8", "moments4", "float8", null] as const)
      for (const dtype of ["float32", "bfloat16", "float16"] as const) {
        const { absolute, relative } = compare(
          make(family, format, true),
          make(family, format, false),
          [50, 201],
          3,
          dtype,
        );
        // A rounding that falls the other way moves one 4-bit code; in 16 bits, the last bit of a parameter. Lion's
        // step is a sign.
        const limit = (format === "moments4" || format === "float8" ? 1e-5 : 1e-6) + (dtype === "float32" ? 0 : 2e-5);
        assert.ok(absolute < limit && relative < 1e-2, `${family} ${String(format)} ${dtype}: ${absolute} ${relative}`);
      }
});

test("optimizers with 4-bit and float8 state reduce the loss", () => {
  for (const make of [
    (p: Iterable<Tensor>) => new lowbit.Adam4bit(p),
    (p: Iterable<Tensor>) => new lowbit.AdamFp8(p),
  ]) {
    const { absolute } = compare(make, (p) => new lowbit.Adam32bit(p), [64, 128], 20);
    assert.ok(absolute < 3e-3, `${absolute}`);
  }
});

test("state is in 8 bits from min8bitSize on, a quarter of float32's and a little", () => {
  const big = parameter(128, 64);
  const small = parameter(63, 65);
  const o = new lowbit.AdamW8bit([big, small], { min8bitSize: 4096 });
  big.grad = randn([128, 64]);
  small.grad = randn([63, 65]);
  o.step();
  assert.equal((o.state.get(big)?.["state1"] as Tensor).dtype, "uint8");
  assert.equal((o.state.get(small)?.["state1"] as Tensor).dtype, "float32");
  assert.deepEqual(Object.keys(o.state.get(big) ?? {}).sort(), [
    "absmax1",
    "absmax2",
    "blockSize",
    "qmap1",
    "qmap2",
    "state1",
    "state2",
    "step",
    "version",
  ]);
  const one = new lowbit.AdamW8bit([big]);
  big.grad = randn([128, 64]);
  one.step();
  assert.ok(one.stateBytes() <= 0.27 * 8 * big.numel(), `${one.stateBytes()}`);
});

test("elements whose gradient is not finite keep parameter and state, in every family and format, fused and plain; their neighbours move", () => {
  for (const family of families)
    for (const format of ["dynamic8", "linear8", "moments4", "float8", null] as const)
      for (const fused of [true, false])
        scope(() => {
          seedEverything(6);
          const p = parameter(7, 90);
          const optimizer = new LowBitOptimizer([p], family, format, { min8bitSize: 1, weightDecay: 0.1 });
          if (!fused) Object.defineProperty(optimizer, "family", { value: { ...optimizer.family, fused: null } });
          const step = (bad: readonly number[]): void => {
            const g = randn([7, 90]).mul(0.01);
            bad.forEach(
              (value, i) =>
                void g
                  .select(0, 3)
                  .select(0, 10 + i)
                  .fill_(value),
            );
            p.grad = g;
            optimizer.step();
          };
          const states = (): Tensor[] => {
            const s = optimizer.state.get(p) ?? {};
            return optimizer.family.states.map((signed, i) => {
              const codes = s[`state${i + 1}`] as Tensor;
              if (format === null) return codes.clone();
              return dequantizeBlockwise(
                {
                  codes,
                  absmax: s[`absmax${i + 1}`] as Tensor,
                  shape: p.shape,
                  blockSize: format === "moments4" ? 128 : 256,
                },
                { format, signed },
              );
            });
          };
          step([]);
          step([]);
          const [weights, kept] = [p.detach().clone(), states()];
          step([NaN, Infinity, -Infinity]);
          const what = `${family} ${String(format)} ${fused ? "fused" : "plain"}`;
          const bad = (t: Tensor): Tensor => t.detach().select(0, 3).narrow(0, 10, 3);
          assert.ok(bad(p).equal(bad(weights)), `${what}: parameters`);
          assert.ok(
            p.detach().isfinite().all().item() && p.detach().ne(weights).sum().item() > 0.9 * 627,
            `${what}: the others move`,
          );
          states().forEach((state, i) => {
            const before = kept[i] as Tensor;
            const error = bad(state).sub(bad(before)).abs().max().item();
            // Codes of a block whose largest value has changed are made anew: to the nearest one.
            const most = format === null ? 0 : format === "moments4" ? 0.11 : format === "float8" ? 0.04 : 0.01;
            assert.ok(
              error <= most * Math.max(state.abs().max().item(), before.abs().max().item()),
              `${what}: state ${i + 1} off by ${error}`,
            );
            assert.ok(state.isfinite().all().item(), what);
          });
        });
});

test("a second moment that is not zero does not round to zero", () => {
  const step = (keepPositive: boolean): number => {
    const p = new nn.Parameter(tensor(new Float32Array(256)));
    const o = new lowbit.Adam8bit([p], { min8bitSize: 1, keepPositive, lr: 1e-3 });
    const g = new Float32Array(256).fill(1e-3);
    g[0] = 100;
    for (let i = 0; i < 3; i++) {
      p.grad = tensor(g);
      o.step();
      // From now on the small ones are zero: their first moment is still there, their second is what its code says.
      g.fill(0, 1);
    }
    return p.abs().max().item();
  };
  assert.ok(step(true) < 0.2, `${step(true)}`);
  assert.ok(step(false) > 2, `${step(false)}`);
});

test("overrides: parameters, modules, patterns; one that matches nothing is an error", () => {
  const net = new nn.Sequential(new nn.Linear(128, 128), new nn.Linear(128, 128), new nn.Linear(128, 128));
  const [a, b, c] = [
    net[0]?.parameters()[0] as Tensor,
    net[1]?.parameters()[0] as Tensor,
    net[2]?.parameters()[0] as Tensor,
  ];
  keep32bit(a);
  assert.deepEqual(keep32bit(net, ["1.*"]), ["1.weight", "1.bias"]);
  assert.throws(() => keep32bit(net, ["head.*"]), /patterns that match parameters/);
  assert.throws(() => keep32bit(net, []), /at least one pattern/);
  assert.throws(() => keep32bit(new nn.ReLU()), /a module with parameters/);
  assert.throws(() => keep32bit("head" as unknown as nn.Module), /a parameter or a module/);
  const o = new lowbit.Adam8bit(net.parameters());
  assert.deepEqual(
    [a, b, c].map((p) => o.isLowBit(p)),
    [false, false, true],
  );
  const groups = new lowbit.Adam8bit([
    { params: [c] },
    { params: [b], optimBits: 8 },
    { params: [new nn.Parameter(randn([128, 128]))], optimBits: 32 },
  ]);
  assert.deepEqual(
    groups.paramGroups.map((g) => groups.isLowBit(g.params[0] as Tensor)),
    [true, false, false],
  );
  const table = new StableEmbedding(1000, 64);
  assert.equal(new lowbit.Adam8bit(table.parameters()).isLowBit(table.weight), false);
  assert.deepEqual(table.forward(randint(1000, [2, 3])).shape, [2, 3, 64]);
});

test("overrides hold for float32 masters: an embedding under APEX O2 keeps its state in 32 bits, as forecast", async () => {
  class Words extends LightningModule {
    readonly table = new StableEmbedding(128, 64);
    readonly head = new nn.Linear(64, 128);
    override trainingStep(batch: unknown): Tensor {
      const x = batch as Tensor;
      return nn.functional.crossEntropy(this.head.forward(this.table.forward(x).half()).float(), x);
    }
    override configureOptimizers(): optim.Optimizer {
      return new lowbit.AdamW8bit(this.parameters(), { lr: 1e-3 });
    }
  }
  seedEverything(5);
  const words = new Words();
  const trainer = new Trainer({ ...QUIET, precision: 16, ampBackend: "apex", ampLevel: "O2", maxEpochs: 1 });
  await trainer.fit(words, { trainDataloaders: [randint(128, [32]), randint(128, [32])] });
  const [optimizer] = trainer.optimizers;
  assert.ok(optimizer instanceof LowBitOptimizer);
  const big = optimizer.paramGroups.flatMap((g) => g.params).filter((p) => p.numel() >= 4096);
  assert.deepEqual(
    big.map((p) => [p.dtype, (optimizer.state.get(p)?.["state1"] as Tensor).dtype]),
    [
      ["float32", "float32"],
      ["float32", "uint8"],
    ],
  );
  assert.equal(trainer.precision.explain({ print: false }).memory?.optimizerState, optimizer.stateBytes());
});

test("resuming equals going through, bit for bit, also through files; conversions between 8 and 32 bits", () => {
  const shape = [40, 128];
  const gradients = Array.from({ length: 6 }, (_, i) => {
    seedEverything(i);
    return keep(randn(shape).mul(0.01));
  });
  const start = (() => {
    seedEverything(9);
    return keep(randn(shape));
  })();
  const run = (o: optim.Optimizer, p: Tensor, from: number, to: number): void => {
    for (let i = from; i < to; i++) {
      p.grad = (gradients[i] as Tensor).clone();
      o.step();
    }
  };
  const p1 = new nn.Parameter(start.clone());
  const through = new lowbit.AdamW8bit([p1]);
  run(through, p1, 0, 6);
  const p2 = new nn.Parameter(start.clone());
  const first = new lowbit.AdamW8bit([p2]);
  run(first, p2, 0, 3);
  const saved = unpackState(packState({ ...first.stateDict() })) as Record<string, unknown>;
  const p3 = new nn.Parameter(p2.detach().clone());
  const second = new lowbit.AdamW8bit([p3]);
  second.loadStateDict(saved);
  run(second, p3, 3, 6);
  assert.deepEqual(p3.tolist(), p1.tolist());
  const p4 = new nn.Parameter(p2.detach().clone());
  const wide = new lowbit.AdamW32bit([p4]);
  wide.loadStateDict(first.stateDict());
  assert.equal((wide.state.get(p4)?.["state1"] as Tensor).dtype, "float32");
  run(wide, p4, 3, 6);
  assert.ok(p4.sub(p1).abs().mean().item() < 2e-4);
  const back = new lowbit.AdamW8bit([new nn.Parameter(start.clone())]);
  back.loadStateDict(wide.stateDict());
  assert.equal((back.state.get(back.paramGroups[0]?.params[0] as Tensor)?.["state2"] as Tensor).dtype, "uint8");
});

test("wrong options are refused", () => {
  const p = [parameter(4)];
  assert.throws(() => new lowbit.Adam8bit(p, { lr: -1 }), /Adam8bit: expected lr to be ≥ 0/);
  assert.throws(() => new lowbit.Adam8bit(p, { betas: [1, 0.9] }), /betas/);
  assert.throws(() => new lowbit.Adam8bit(p, { blockSize: 0 }), /blockSize/);
  assert.throws(() => new lowbit.Adam8bit([new nn.Parameter(randn([2]).double())]), /float32, bfloat16 or float16/);
  assert.throws(
    () => new lowbit.Adam4bit(p, { blockSize: 33 }),
    /Adam4bit: expected blockSize to be even in 4 bits\. Received: 33\. Two codes share a byte/,
  );
  assert.throws(() => new lowbit.AdEMAMix8bit(p, { beta3: 1 }), /beta3 to be in \[0, 1\)/);
  assert.throws(() => new lowbit.AdEMAMix8bit(p, { alpha: NaN }), /alpha to be ≥ 0/);
  assert.throws(() => new lowbit.LARS8bit(p, { trustCoefficient: -1 }), /trustCoefficient to be ≥ 0/);
  assert.throws(() => new lowbit.LAMB8bit(p, { maxUnorm: Infinity }), /maxUnorm to be ≥ 0/);
  assert.throws(() => new lowbit.Adam8bit(p, { min8bitSize: -1 }), /min8bitSize to be ≥ 0/);
  assert.throws(() => new lowbit.SGD8bit(p, { nesterov: 1 as unknown as boolean }), /nesterov to be true or false/);
  assert.throws(() => new lowbit.Adam8bit([{ params: p, optimBits: 16 }]), /optimBits to be 8 or 32/);
});

test("steps leave no tensors behind", async () => {
  const p = parameter(100, 100);
  for (const o of [
    new lowbit.AdamW8bit([p]),
    new lowbit.LAMB8bit([p]),
    new lowbit.Adam4bit([p]),
    new lowbit.Lion32bit([p]),
  ]) {
    const step = (): void =>
      scope(() => {
        p.grad = randn([100, 100]);
        o.step();
        p.grad = null;
      });
    step();
    const before = memory().unreleased;
    for (let i = 0; i < 3; i++) step();
    assert.equal(memory().unreleased, before, o.constructor.name);
  }
  assert.equal(Object.keys(FORMATS).length, 6);
});

class Model extends LightningModule {
  readonly net = new nn.Sequential(
    new nn.Linear(16, 128),
    new nn.ReLU(),
    new nn.Linear(128, 64),
    new nn.ReLU(),
    new nn.Linear(64, 4),
  );
  readonly losses: number[] = [];
  constructor(readonly make: Make) {
    super();
  }
  override trainingStep(batch: unknown): Tensor {
    const [x, y] = batch as readonly [Tensor, Tensor];
    const loss = nn.functional.crossEntropy(this.net.forward(x), y);
    this.losses.push(loss.item());
    return loss;
  }
  override configureOptimizers(): optim.Optimizer {
    return this.make(this.parameters());
  }
}
test("through the Trainer: AdamW8bit ends where AdamW ends, in every precision of 32 and 16 bits", async () => {
  const fit = async (precision: 32 | 16 | "bf16" | "16-true" | "bf16-true", make: Make): Promise<number> => {
    seedEverything(3);
    const x = randn([64, 16]);
    const y = x.matmul(randn([16, 4])).argmax(1);
    const batches = Array.from({ length: 60 }, () => [keep(x), keep(y)]);
    const model = new Model(make);
    const trainer = new Trainer({ ...QUIET, precision, maxEpochs: 1 });
    await trainer.fit(model, { trainDataloaders: batches });
    return model.losses.slice(-5).reduce((a, b) => a + b, 0) / 5;
  };
  const full = await fit(32, (p) => new optim.AdamW(p, { lr: 3e-3 }));
  // Float16 has no 1e-8, but the step is made in float32: with the usual eps for 16-true, and with the default one,
  // which is no reason to warn.
  const warnings = await warningsOf(async () => {
    for (const [precision, eps] of [
      [32, 1e-8],
      [16, 1e-8],
      ["bf16", 1e-8],
      ["bf16-true", 1e-8],
      ["16-true", 1e-4],
      ["16-true", 1e-8],
    ] as const) {
      const low = await fit(precision, (p) => new lowbit.AdamW8bit(p, { lr: 3e-3, eps }));
      assert.ok(Math.abs(low - full) < 0.03, `${precision}, eps ${eps}: 8 bits ${low}, 32 bits ${full}`);
    }
  });
  assert.ok(!warnings.some((w) => w.code === "WARN_EPS_VANISHES"));
});

test("every family: a gradient that comes late, or a parameter put in another's place, begins with state of its own and leaves the others' alone", () => {
  for (const family of Object.keys(FAMILIES) as (keyof typeof FAMILIES)[])
    for (const format of ["dynamic8", null] as const)
      scope(() => {
        seedEverything(4);
        const [a, b] = [randn([64, 80]), randn([70, 80])];
        const gradients = Array.from({ length: 5 }, () => [randn([64, 80]), randn([70, 80])] as const);
        const make = (...values: Tensor[]): [LowBitOptimizer, nn.Parameter[]] => {
          const params = values.map((v) => new nn.Parameter(v.clone()));
          return [new LowBitOptimizer(params, family, format, { lr: 0.01 }), params];
        };
        const [together, [p, q]] = make(a, b) as [LowBitOptimizer, [nn.Parameter, nn.Parameter]];
        const [first, [alone]] = make(a) as [LowBitOptimizer, [nn.Parameter]];
        const [second, [late]] = make(b) as [LowBitOptimizer, [nn.Parameter]];
        const [swapped, [old]] = make(a) as [LowBitOptimizer, [nn.Parameter]];
        const next = new nn.Parameter(b.clone());
        gradients.forEach(([g, h], i) => {
          [p.grad, alone.grad] = [g, g];
          first.step();
          q.grad = i < 2 ? null : h;
          together.step();
          if (i >= 2) {
            late.grad = h;
            second.step();
            swapped.paramGroups[0]?.params.splice(0, 1, next);
            next.grad = h;
          } else old.grad = g;
          swapped.step();
          if (i === 1) old.grad = null;
        });
        assert.ok(p.equal(alone) && q.equal(late), `${family}, ${String(format)}: late`);
        assert.ok(
          next.equal(late) && !old.equal(a) && !next.equal(b),
          `${family}, ${String(format)}: in another's place`,
        );
      });
});

test("an option that a family's arithmetic does not read is refused", () => {
  const p = new nn.Parameter(ones([2]));
  assert.throws(() => new SGD8bit([p], { betas: [0.9, 0.99] }), {
    code: "ERR_ARGUMENT",
    message: /^SGD8bit: expected options among lr, .*momentum, nesterov\. Received: "betas"\.$/,
  });
  assert.throws(() => new Lion8bit([p], { eps: 1 }), { code: "ERR_ARGUMENT", message: /Received: "eps"/ });
  assert.throws(() => new AdamW8bit([p], { maxUnorm: 1 }), { code: "ERR_ARGUMENT", message: /Received: "maxUnorm"/ });
  assert.equal(new LAMB8bit([p], { maxUnorm: 1 }).paramGroups[0]?.["maxUnorm"], 1);
});
