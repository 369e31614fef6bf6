/** How low-bit optimizers keep state: where in few bits, through state dicts, as parameters come and go; their options. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as lowbit from "@nbit/lowbit";
import {
  AdamW8bit,
  FAMILIES,
  FORMATS,
  keep32bit,
  LAMB8bit,
  Lion8bit,
  LowBitOptimizer,
  SGD8bit,
  StableEmbedding,
} from "@nbit/lowbit";
import {
  keep,
  memory,
  nn,
  ones,
  type optim,
  packState,
  randint,
  randn,
  scope,
  seedEverything,
  unpackState,
  type Tensor,
} from "@nbit/torch";
import { parameter } from "./parameters.js";

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
