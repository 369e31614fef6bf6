import assert from "node:assert/strict";
import { test } from "node:test";
import {
  cuda,
  memory,
  nn,
  type optim,
  randn,
  scope,
  seedEverything,
  stack,
  tensor,
  zeros,
  type DType,
  type Tensor,
} from "@nbit/torch";
import * as lowbit from "@nbit/lowbit";
import { Callback, LightningModule, Trainer } from "@nbit/lightning";
import { collectGarbage } from "../helpers/collect-garbage.js";
import { SILENT } from "../helpers/training.js";
import { beyond32Bits } from "../lowbit/large.js";

const options = { skip: !cuda.isAvailable() && "needs a CUDA device" };
const { quantizeBlockwise, dequantizeBlockwise } = lowbit;

const apart = (a: Tensor, b: Tensor): number =>
  a.detach().cpu().to("float64").sub(b.detach().cpu().to("float64")).abs().max().item();
/** Share of codes that differ, and the most by which they do. */
function codesApart(a: Tensor, b: Tensor): readonly [number, number] {
  const d = a.cpu().to("int32").sub(b.cpu().to("int32")).abs();
  return [d.ne(0).to("float64").mean().item(), d.max().item()];
}
/** Codes one by one: in 4 bits two share a byte. */
const singly = (codes: Tensor, bits: 4 | 8): Tensor =>
  bits === 8 ? codes : stack([codes.bitwiseAnd(15), codes.bitwiseRightShift(4)]);

for (const blockSize of [256, 64, 100, 2048, 4096])
  test(`the GPU quantizes as the CPU does, code for code: blocks of ${blockSize}`, options, () =>
    scope(() => {
      seedEverything(21);
      const x = randn([30011]).mul(randn([30011]).mul(4).exp());
      x.slice(0, 0, 6).copy_(tensor([Infinity, -Infinity, NaN, 0, -0, 1e-42]));
      x.slice(0, 8192, 12288).zero_();
      for (const format of ["dynamic8", "linear8"] as const)
        for (const signed of [true, false])
          for (const dtype of ["float32", "bfloat16", "float16"] satisfies DType[]) {
            const cpu = quantizeBlockwise(x.to(dtype), { format, signed, blockSize });
            const gpu = quantizeBlockwise(x.to(dtype).to("cuda"), { format, signed, blockSize });
            assert.equal(apart(cpu.absmax, gpu.absmax), 0);
            assert.deepEqual(codesApart(cpu.codes, gpu.codes), [0, 0], format);
            assert.equal(
              apart(dequantizeBlockwise(cpu, { format, signed }), dequantizeBlockwise(gpu, { format, signed })),
              0,
            );
          }
      // Without alignment.
      const wide = x.to("cuda");
      assert.deepEqual(
        codesApart(
          quantizeBlockwise(x.slice(0, 1), { blockSize }).codes,
          quantizeBlockwise(wide.slice(0, 1), { blockSize }).codes,
        ),
        [0, 0],
      );
    }),
  );

const OPTIMIZERS: readonly (readonly [string, (p: Tensor[]) => lowbit.LowBitOptimizer])[] = [
  ["SGD8bit", (p) => new lowbit.SGD8bit(p, { weightDecay: 0.02, nesterov: true })],
  ["Lion8bit", (p) => new lowbit.Lion8bit(p, { weightDecay: 0.1 })],
  ["RMSprop8bit", (p) => new lowbit.RMSprop8bit(p, { weightDecay: 0.02 })],
  ["Adagrad8bit", (p) => new lowbit.Adagrad8bit(p, { weightDecay: 0.02 })],
  ["Adam8bit", (p) => new lowbit.Adam8bit(p, { weightDecay: 0.02 })],
  ["AdamW8bit", (p) => new lowbit.AdamW8bit(p, { weightDecay: 0.1 })],
  ["AdamW8bit, blocks of 2048", (p) => new lowbit.AdamW8bit(p, { blockSize: 2048 })],
  ["LAMB8bit", (p) => new lowbit.LAMB8bit(p, { weightDecay: 0.02, maxUnorm: 2 })],
  ["LARS8bit", (p) => new lowbit.LARS8bit(p, { weightDecay: 0.02 })],
  ["AdEMAMix8bit", (p) => new lowbit.AdEMAMix8bit(p)],
  ["AdamW32bit", (p) => new lowbit.AdamW32bit(p)],
  ["Adam4bit", (p) => new lowbit.Adam4bit(p)],
  ["AdamFp8", (p) => new lowbit.AdamFp8(p)],
];
for (const [name, make] of OPTIMIZERS)
  for (const dtype of ["float32", "bfloat16", "float16"] satisfies DType[])
    test(`${name} on the GPU equals the CPU's: ${dtype}`, options, () => {
      seedEverything(22);
      const values = randn([37, 301]).mul(0.1).to(dtype);
      const small = randn([9]).mul(0.1).to(dtype);
      const on = (device: string): Tensor[] => [values, small].map((v) => v.clone().to(device).requiresGrad_());
      const [cpu, gpu] = [on("cpu"), on("cuda")];
      const [first, second] = [make(cpu), make(gpu)];
      for (let i = 0; i < 4; i++) {
        const grads = [randn([37, 301]).mul(0.01), randn([9]).mul(0.01)];
        // What is not finite leaves its element alone; a row without gradient still decays.
        grads[0]?.select(0, 3).copy_(tensor([NaN, Infinity, -Infinity]).repeat([101]).slice(0, 0, 301));
        grads[0]?.select(0, 5).zero_();
        cpu.forEach((p, k) => (p.grad = (grads[k] as Tensor).to(dtype)));
        gpu.forEach((p, k) => (p.grad = (grads[k] as Tensor).to(dtype).to("cuda")));
        first.step();
        second.step();
      }
      cpu.forEach((p, k) => {
        const q = gpu[k] as Tensor;
        const [a, b] = [first.state.get(p), second.state.get(q)];
        // A code on the other side of a midpoint changes its element's next step by that code's width.
        const limit =
          dtype === "float32"
            ? name.includes("4bit")
              ? 2e-3
              : name.includes("Lion")
                ? 4e-4
                : 1e-4
            : dtype === "float16"
              ? 1e-3
              : 8e-3;
        assert.ok(apart(p, q) <= limit, `parameter ${k}: ${apart(p, q)}`);
        const typical = p.detach().to("float64").sub(q.detach().cpu().to("float64")).abs().mean().item();
        assert.ok(typical <= (dtype === "float32" ? 1e-6 : 2e-5), `parameter ${k}, mean: ${typical}`);
        assert.equal((b?.["step"] as Tensor).item(), 4);
        for (const key of Object.keys(a ?? {}).filter((n) => /^state\d$/.test(n))) {
          const [x, y] = [a?.[key] as Tensor, b?.[key] as Tensor];
          assert.equal(x.dtype, y.dtype);
          assert.deepEqual(x.shape, y.shape);
          if (x.dtype === "uint8") {
            const bits = name.includes("4bit") ? 4 : 8;
            const [share, most] = codesApart(singly(x, bits), singly(y, bits));
            assert.ok(share < 2e-3 && most <= 2, `${key}: ${share} of the codes differ, by up to ${most}`);
          }
          assert.ok(p.detach().select(0, 0).isfinite().all().item());
        }
      });
    });

for (const [name, make] of OPTIMIZERS)
  test(`${name} on the GPU: many parameters in one launch are stepped as each by itself, to the bit`, options, () =>
    scope(() => {
      seedEverything(24);
      // More than a launch takes of one kind; of several types, some not aligned, one not contiguous, one without elements.
      const values = Array.from({ length: 83 }, (_, i) => {
        const dtype = (["float32", "bfloat16", "float16"] as const)[i % 3] as DType;
        const base = randn([i % 5 === 0 ? 5003 + 256 * i : 7 + 3 * i])
          .mul(0.1)
          .to({ device: "cuda", dtype });
        return i % 7 === 0 ? base.slice(0, 1) : base;
      });
      values.push(randn([70, 90]).to("cuda").t(), zeros([0], { device: "cuda" }));
      const copies = (): Tensor[] => values.map((v) => v.detach().clone().requiresGrad_());
      const [together, apart] = [copies(), copies()];
      const joint = make(together);
      const single = apart.map((p) => make([p]));
      for (let step = 0; step < 3; step++) {
        const grads = values.map((v) =>
          randn([...v.shape])
            .mul(0.01)
            .to({ device: "cuda", dtype: v.dtype }),
        );
        for (const list of [together, apart])
          // Some begin a step later: their step's number is another.
          list.forEach((p, i) => (p.grad = step === 0 && i % 4 === 1 ? null : (grads[i] as Tensor).clone()));
        joint.step();
        for (const o of single) o.step();
      }
      together.forEach((p, i) => {
        const q = apart[i] as Tensor;
        assert.deepEqual(p.detach().cpu().toBytes(), q.detach().cpu().toBytes(), `parameter ${i}`);
        const [a, b] = [joint.state.get(p), single[i]?.state.get(q)];
        for (const key of Object.keys(b ?? {}).filter((k) => /^(state|absmax)\d$/.test(k)))
          assert.deepEqual(
            (a?.[key] as Tensor).cpu().toBytes(),
            (b?.[key] as Tensor).cpu().toBytes(),
            `${key} of ${i}`,
          );
      });
    }),
  );

for (const bits of [8, 4] as const)
  test(`one step from the same state: parameters within 1e-6, codes equal: ${bits} bits`, options, () => {
    seedEverything(23);
    const value = randn([70000]).mul(0.1);
    const grad = randn([70000]).mul(0.01);
    const pair = (["cpu", "cuda"] as const).map((device) => {
      const p = value.clone().to(device).requiresGrad_();
      p.grad = grad.clone().to(device);
      const o = bits === 8 ? new lowbit.AdamW8bit([p]) : new lowbit.Adam4bit([p]);
      o.step();
      return { p, s: o.state.get(p) };
    });
    const [a, b] = pair as [(typeof pair)[0], (typeof pair)[0]];
    assert.ok(apart(a.p, b.p) < 1e-6);
    for (const key of ["state1", "state2"])
      assert.ok(codesApart(singly(a.s?.[key] as Tensor, bits), singly(b.s?.[key] as Tensor, bits))[0] < 1e-4, key);
    for (const key of ["absmax1", "absmax2"]) assert.ok(apart(a.s?.[key] as Tensor, b.s?.[key] as Tensor) < 1e-7);
  });

test("a gradient scale divides, found-inf changes nothing, and neither is read by the host", options, () => {
  seedEverything(24);
  const value = randn([8192]);
  const grad = randn([8192]);
  const plain = value.clone().to("cuda").requiresGrad_();
  const scaled = value.clone().to("cuda").requiresGrad_();
  plain.grad = grad.to("cuda");
  scaled.grad = grad.mul(1024).to("cuda");
  const [a, b] = [new lowbit.AdamW8bit([plain]), new lowbit.AdamW8bit([scaled])];
  assert.equal(b.supportsAmpScaling, true);
  b.gradScale = zeros([1], { device: "cuda" }).add(1024);
  b.foundInf = zeros([1], { device: "cuda" });
  a.step();
  b.step();
  cuda.setSyncDebugMode("error");
  try {
    a.step();
    b.step();
  } finally {
    cuda.setSyncDebugMode("default");
  }
  assert.ok(apart(plain, scaled) < 1e-6);
  const before = scaled.detach().clone();
  const codes = (b.state.get(scaled)?.["state1"] as Tensor).clone();
  b.foundInf.fill_(1);
  b.step();
  assert.equal(apart(before, scaled), 0);
  assert.equal(apart(codes, b.state.get(scaled)?.["state1"] as Tensor), 0);
  assert.equal((b.state.get(scaled)?.["step"] as Tensor).item(), 2);
});

test("a second moment above zero keeps a code above zero", options, () => {
  const p = zeros([8192], { device: "cuda" }).requiresGrad_();
  const g = zeros([8192], { device: "cuda" }).add(1e-6);
  g.slice(0, 0, 1).fill_(1);
  p.grad = g;
  const o = new lowbit.Adam8bit([p], { lr: 1e-3 });
  o.step();
  assert.ok((o.state.get(p)?.["state2"] as Tensor).ge(1).all().item());
  o.step();
  assert.ok(p.detach().abs().max().item() < 0.01, "no element flies away");
});

test("code 0 is kept where it stands for more than zero", options, () => {
  // Adam4bit's second moment counts sixteenths of the largest from code 0 on: lifted to code 1 its small ones would
  // come back doubled.
  const p = zeros([8192], { device: "cuda" }).requiresGrad_();
  const g = zeros([8192], { device: "cuda" }).add(1e-3);
  for (let i = 0; i < 8192; i += 128) g.slice(0, i, i + 1).fill_(1);
  p.grad = g;
  const o = new lowbit.Adam4bit([p]);
  o.step();
  const codes = singly(o.state.get(p)?.["state2"] as Tensor, 4);
  assert.equal(codes.max().item(), 15);
  assert.equal(codes.eq(0).to("float64").sum().item(), 8192 - 64);
});

class Net extends LightningModule {
  readonly a = new nn.Linear(96, 128);
  readonly b = new nn.Linear(128, 4);
  override trainingStep(batch: unknown): Tensor {
    const [x, y] = batch as readonly [Tensor, Tensor];
    return nn.functional.mseLoss(this.b.forward(nn.functional.gelu(this.a.forward(x))), y);
  }
  override configureOptimizers(): optim.Optimizer {
    return new lowbit.AdamW8bit(this.parameters(), { lr: 3e-3 });
  }
}
class Losses extends Callback {
  readonly values: number[] = [];
  override onTrainBatchEnd(_: unknown, __: unknown, outputs: Readonly<Record<string, unknown>>): void {
    this.values.push((outputs["loss"] as Tensor).item());
  }
}
async function train(
  precision: 32 | 16 | "bf16",
  cudaGraph: boolean,
  accelerator: "gpu" | "cpu" = "gpu",
): Promise<number[]> {
  seedEverything(25);
  const batches = Array.from({ length: 30 }, () => [randn([32, 96]), randn([32, 4])]);
  const losses = new Losses();
  seedEverything(26);
  const trainer = new Trainer({
    ...SILENT,
    accelerator,
    devices: 1,
    precision,
    cudaGraph,
    maxEpochs: 1,
    callbacks: [losses],
  });
  await trainer.fit(new Net(), { trainDataloaders: batches });
  return losses.values;
}
for (const precision of [32, 16, "bf16"] as const)
  test(`AdamW8bit in a whole-step CUDA graph gives the losses of eager steps: ${precision}`, options, async () => {
    const [eager, graph] = [await train(precision, false), await train(precision, true)];
    eager.forEach((loss, i) =>
      assert.ok(
        Math.abs(loss - (graph[i] as number)) <= 2e-3 * Math.max(1, loss),
        `step ${i}: eager ${loss}, graph ${graph[i]}`,
      ),
    );
    if (precision === 32)
      (await train(32, false, "cpu")).forEach((loss, i) =>
        assert.ok(
          Math.abs(loss - (eager[i] as number)) <= 2e-3 * Math.max(1, loss),
          `step ${i}: CPU ${loss}, GPU ${eager[i]}`,
        ),
      );
  });

test("state travels between devices and through a state dict", options, () => {
  seedEverything(27);
  const value = randn([9000]);
  const p = value.clone().to("cuda").requiresGrad_();
  p.grad = randn([9000]).to("cuda");
  const gpu = new lowbit.AdamW8bit([p]);
  gpu.step();
  const q = p.detach().cpu().clone().requiresGrad_();
  const cpu = new lowbit.AdamW8bit([q]);
  cpu.loadStateDict(gpu.stateDict());
  assert.equal(cpu.state.get(q)?.["step"], 1);
  const r = p.detach().clone().requiresGrad_();
  const back = new lowbit.AdamW8bit([r]);
  back.loadStateDict(cpu.stateDict());
  for (const [t, o] of [
    [p, gpu],
    [q, cpu],
    [r, back],
  ] as const) {
    t.grad = value.to(t.device);
    o.step();
  }
  assert.equal(apart(p, r), 0);
  assert.ok(apart(p, q) < 1e-6);
});

test("two equal steps leave equally many tensors", options, () => {
  const p = randn([5000]).to("cuda").requiresGrad_();
  p.grad = randn([5000]).to("cuda");
  const o = new lowbit.LAMB8bit([p]);
  o.step();
  const before = memory().unreleased;
  o.step();
  assert.equal(memory().unreleased, before);
});

for (const bits of [8, 32] as const)
  test(
    `offloaded state gives the same parameters, bit for bit, with less device memory: ${bits} bits`,
    options,
    async () => {
      await collectGarbage(); // what earlier tests left outside scopes would be given back in between
      const Optimizer = bits === 8 ? lowbit.AdamW8bit : lowbit.AdamW32bit;
      const train = (
        offload: boolean,
      ): { readonly params: Tensor[]; readonly optimizer: lowbit.LowBitOptimizer; readonly bytes: number } => {
        seedEverything(28);
        const params = [300_000, 1_000_000, 77, 500_001, 1_000_000, 900_000].map((n) =>
          randn([n]).to("cuda").requiresGrad_(),
        );
        for (const p of params) p.grad = p.detach().mul(0.1);
        const before = cuda.memoryStats().allocated;
        const optimizer = new Optimizer(params, { offload });
        for (let i = 0; i < 4; i++) optimizer.step();
        cuda.synchronize();
        return { params, optimizer, bytes: cuda.memoryStats().allocated - before };
      };
      const kept = train(false);
      const offloaded = train(true);
      kept.params.forEach((p, i) => assert.equal(apart(p, offloaded.params[i] as Tensor), 0, `parameter ${i}`));
      assert.ok(
        offloaded.bytes < 0.7 * kept.bytes,
        `${offloaded.bytes} bytes on the device, ${kept.bytes} without offload`,
      );
      const [a, b] = [kept.optimizer.stateDict(), offloaded.optimizer.stateDict()];
      for (const key of Object.keys(a.state)) {
        const [x, y] = [a.state[key]?.["state1"] as Tensor, b.state[key]?.["state1"] as Tensor];
        assert.equal(y.device.type, "cpu");
        assert.equal(y.isPinned(), true);
        assert.equal(apart(x, y), 0);
      }
    },
  );

test(
  "steps, codes and values of more than 2³¹ elements on the GPU",
  { skip: options.skip || (cuda.memoryStats().free < 32 * 2 ** 30 && "needs 32 GiB of free GPU memory") },
  () => beyond32Bits("cuda"),
);
