/** A whole step as a program: forward, backward, clipping and the optimizer, run again without JavaScript. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import {
  autocast,
  crossEntropyLoss,
  manualSeed,
  NbitError,
  nn,
  ones,
  optim,
  program,
  randint,
  randn,
  scope,
  tensor,
  type Tensor,
} from "@nbit/torch";
import { digestOf } from "../helpers/digest.js";

class Net extends nn.Module {
  readonly first = new nn.Linear(6, 8);
  readonly norm = new nn.BatchNorm1d(8);
  readonly drop = new nn.Dropout(0.3);
  readonly second = new nn.Linear(8, 4);
  forward(x: Tensor): Tensor {
    return this.second.forward(this.drop.forward(this.norm.forward(this.first.forward(x))));
  }
}

interface Parts {
  readonly net: Net;
  readonly optimizer: optim.Optimizer;
  readonly x: Tensor;
  readonly y: Tensor;
  readonly step: () => { loss: Tensor };
}
function parts(make: (p: Iterable<nn.Parameter>) => optim.Optimizer, dtype?: "bfloat16"): Parts {
  manualSeed(3);
  const net = new Net();
  const optimizer = make(net.parameters());
  const x = randn([5, 6]);
  const y = randint(0, 4, [5]);
  const forward = (): Tensor => crossEntropyLoss(net.forward(x), y);
  const step = () => {
    optimizer.zeroGrad();
    const loss = dtype === undefined ? forward() : autocast({ deviceType: "cpu", dtype, cacheEnabled: false }, forward);
    loss.backward();
    optim.clipGradNorm([...net.parameters()], 0.5);
    optimizer.step();
    return { loss: loss.detach() };
  };
  return { net, optimizer, x, y, step };
}
const adamw = (p: Iterable<nn.Parameter>): optim.Optimizer => new optim.AdamW(p, { lr: 1e-2, fused: true });
const sgd = (p: Iterable<nn.Parameter>): optim.Optimizer => new optim.SGD(p, { lr: 1e-2, momentum: 0.9, fused: true });

function left({ net, optimizer }: Parts, losses: readonly number[]): string {
  return digestOf(
    losses,
    net.stateDict(),
    optimizer.stateDict().state,
    [...net.parameters()].map((p) => p.grad),
  );
}

for (const [name, make] of Object.entries({ adamw, sgd }))
  for (const dtype of [undefined, "bfloat16"] as const)
    test(`${name}${dtype === undefined ? "" : `, ${dtype}`}: replays leave what steps leave, with learning rates that change`, () => {
      const run = (replays: boolean): string => {
        const own = parts(make, dtype);
        own.optimizer.keepRatesOn("cpu");
        const recorded = new program.RecordedStep({ inputs: { x: own.x, y: own.y }, parameters: own.net.parameters() });
        const losses: number[] = [];
        for (let i = 0; i < 8; i++)
          scope(() => {
            own.x.copy_(randn([5, 6]));
            own.y.copy_(randint(0, 4, [5]));
            for (const group of own.optimizer.paramGroups) group.lr = 1e-2 / (1 + i);
            own.optimizer.refreshRates();
            const { loss } = !replays || i < 2 ? own.step() : i === 2 ? recorded.record(own.step) : recorded.replay();
            losses.push(loss?.item() ?? NaN);
          });
        if (replays) assert.equal(recorded.refusal, null);
        const digest = left(own, losses);
        recorded.dispose();
        own.optimizer.releaseRates();
        return digest;
      };
      assert.equal(run(true), run(false));
    });

test("a program is plain data: it is printed, and the same after a file", () => {
  const own = parts(adamw);
  own.step();
  own.optimizer.keepRatesOn("cpu");
  const recorded = new program.RecordedStep({ inputs: { x: own.x, y: own.y }, parameters: own.net.parameters() });
  recorded.record(own.step);
  const step = recorded.program;
  assert.deepEqual(program.fromData(JSON.parse(JSON.stringify(step))), step);
  for (const wrong of [null, {}, { ...step, version: 2 }, { ...step, values: [] }, { ...step, inputs: { x: -1 } }])
    assert.throws(() => program.fromData(wrong), { code: "ERR_ARGUMENT" });
  assert.throws(() => program.print(null as never), { code: "ERR_ARGUMENT" });
  const text = program.print(step);
  assert.match(text, /^input x = %\d+: float32\[5, 6\]$/m);
  assert.match(text, /^state %\d+: float32\[8, 6\]$/m);
  assert.match(text, /= aten::addmm\(%\d+, %\d+, %\d+, beta=1, alpha=1\)$/m);
  assert.match(text, /aten::_fused_adamw_\.tensor_lr\(.*lr=|aten::_fused_adamw_\.tensor_lr\(/m);
  assert.match(text, /^result loss = %\d+$/m);
  // Running statistics are written, though the operator's schema does not say so.
  const norm = step.operators.find(({ name }) => name === "aten::native_batch_norm");
  assert.equal(norm?.writes.length, 2);
  for (const { arguments: given, results, writes } of step.operators) {
    for (const v of [...results, ...writes]) assert.ok(v === null || v < step.values.length);
    for (const a of Object.values(given)) assert.notEqual(a, undefined);
  }
  for (const { buffer } of step.values) assert.ok(buffer < step.buffers.length);
  const { operators, calls, arenaBytes } = recorded.plan;
  assert.equal(operators, step.operators.length);
  assert.ok(calls < operators && arenaBytes > 0);
  recorded.dispose();
  own.optimizer.releaseRates();
});

test("what cannot be repeated is named with its line; the step has run", () => {
  const refused = (fn: (x: Tensor) => unknown): string => {
    const x = tensor([1, 2, 3], { dtype: "float32" });
    const step = new program.RecordedStep({ inputs: { x } });
    step.record(() => fn(x));
    assert.throws(
      () => step.replay(),
      (error) => error instanceof NbitError && error.code === "PROGRAM_EMPTY",
    );
    assert.ok(step.refusal !== null);
    return step.refusal;
  };
  assert.match(
    refused((x) => x.sum().item()),
    /_local_scalar_dense reads a number.*recorded\.test\.[jt]s:\d+/,
  );
  assert.match(
    refused((x) => x.nonzero()),
    /nonzero reads a number or a shape.*recorded\.test/,
  );
  assert.match(
    refused((x) => x.mul(tensor([2, 3, 4]))),
    /made of JavaScript's numbers.*recorded\.test/,
  );
  assert.match(
    refused((x) => x.toTypedArray()),
    /read into JavaScript.*recorded\.test/,
  );
  assert.match(
    refused(() => manualSeed(1)),
    /random generator.*recorded\.test/,
  );
});

test("misuse is a coded error", () => {
  const step = new program.RecordedStep();
  assert.throws(() => step.replay(), { code: "PROGRAM_EMPTY" });
  assert.throws(() => step.program, { code: "PROGRAM_EMPTY" });
  step.record(() => assert.throws(() => new program.RecordedStep().record(() => 1), { code: "PROGRAM_NESTED" }));
  assert.throws(() => step.record(() => 1), { code: "PROGRAM_RECORDED" });
  step.dispose();
  assert.throws(() => step.replay(), { code: "PROGRAM_EMPTY" });
  const failing = new program.RecordedStep();
  assert.throws(() => failing.record(() => randn([2]).mm(randn([2]))), { code: "TORCH" });
  assert.throws(() => failing.replay(), { code: "PROGRAM_EMPTY" });
  assert.throws(() => new program.RecordedStep({ inputs: { x: 3 as never } }), { code: "ERR_ARGUMENT" });
  const weight = new nn.Parameter(randn([3]));
  const moved = new program.RecordedStep({ parameters: [weight] });
  moved.record(() => weight.detach().mul(2));
  moved.replay();
  weight.setData(randn([3]));
  assert.throws(() => moved.replay(), { code: "PROGRAM_MEMORY_MOVED" });
});

test("operators know the line that called them, those of backward that of their forward", () => {
  const layer = new nn.Linear(3, 2);
  const step = new program.RecordedStep({ parameters: layer.parameters(), lines: true });
  step.record(() => {
    const y = layer.forward(ones([4, 3]));
    y.exp().sum().backward();
  });
  const lines = new Map<string, (string | null)[]>();
  step.program.operators.forEach((o, i) => lines.set(o.name, [...(lines.get(o.name) ?? []), step.lineOf(i)]));
  const lineOf = (text: string): number =>
    readFileSync(new URL("../../replay/recorded.test.ts", import.meta.url), "utf8")
      .split("\n")
      .findIndex((l) => l.includes(text)) + 1;
  const at = (line: string | null | undefined): number => Number(line?.split(":").at(-2));
  assert.equal(at(lines.get("aten::addmm")?.[0]), lineOf("const y = layer.forward(ones([4, 3]));"));
  assert.equal(at(lines.get("aten::exp")?.[0]), lineOf("y.exp().sum().backward();"));
  const products = lines.get("aten::mm") ?? [];
  assert.ok(products.length > 0);
  for (const line of products) assert.equal(at(line), lineOf("const y = layer.forward(ones([4, 3]));"));
  const plain = new program.RecordedStep();
  plain.record(() => ones([2]).exp());
  assert.equal(plain.lineOf(0), null);
});

test("tensors that were there before are shown over their own memory", () => {
  const [weight, x] = [randn(3), randn(3)];
  const step = new program.RecordedStep({ inputs: { x } });
  step.record(() => ({ y: weight.mul_(x).sum() }));
  const externals = step.externals();
  const value = step.indexOf(weight);
  assert.equal(step.program.inputs.x, step.indexOf(x));
  assert.equal(externals.get(value ?? -1)?.dataPtr(), weight.dataPtr());
  assert.deepEqual([...externals.keys()].sort(), [value, step.indexOf(x)].sort());
  assert.equal(step.indexOf(randn(3)), null);
});
