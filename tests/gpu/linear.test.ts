/** A linear layer on the GPU: one node of the graph, and in recorded steps its gradients side by side. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { autocast, grad, nn, noGrad, optim, randn, scope, seedEverything, type DType, type Tensor } from "@nbit/torch";
import { LightningModule } from "@nbit/lightning";
import { native } from "@nbit/native";
import { on, options, train } from "./support.js";

const { linear } = nn.functional;
const bits = (t: Tensor): string =>
  `${t.dtype} [${t.shape.join(", ")}] ${t.stride().join(",")} ${Buffer.from(t.detach().cpu().contiguous().toBytes()).toString("base64")}`;

function switchedOff<T>(set: (on: boolean) => void, fn: () => T): T {
  set(false);
  try {
    return fn();
  } finally {
    set(true);
  }
}
/** As libtorch composes it of a view, a transposition, a product and a view. */
const composed = <T>(fn: () => T): T => switchedOff((on) => native.setLinearNode(on), fn);
/** As autocast casts by itself, gradients of weights rounded to 16 bits and cast back. */
const castBack = <T>(fn: () => T): T => switchedOff((on) => native.setMixedLinear(on), fn);

for (const dtype of ["float32", "bfloat16", "float16"] satisfies DType[])
  test(
    `linear on the GPU: output and gradients equal libtorch's composition, bit for bit and in layout: ${dtype}`,
    options,
    () => {
      seedEverything(1);
      for (const shape of [
        [24, 64],
        [3, 8, 64],
        [1, 64],
        [2, 2, 3, 64],
      ])
        for (const hasBias of [true, false])
          for (const wanted of [
            [true, true],
            [false, true],
            [true, false],
          ] as const)
            scope(() => {
              const x = on(randn(shape)).to(dtype).requiresGrad_(wanted[0]);
              const weight = on(randn([48, 64]))
                .to(dtype)
                .requiresGrad_(wanted[1]);
              const bias = hasBias
                ? on(randn([48]))
                    .to(dtype)
                    .requiresGrad_(wanted[1])
                : null;
              const along = on(randn([...shape.slice(0, -1), 48])).to(dtype);
              const inputs = [x, weight, ...(bias === null ? [] : [bias])].filter((t) => t.requiresGrad);
              const run = (): string[] => {
                const y = linear(x, weight, bias);
                return [y, ...grad(y.mul(along).sum(), inputs), ...grad(linear(x, weight, bias).sum(), inputs)].map(
                  bits,
                );
              };
              assert.deepEqual(
                run(),
                composed(run),
                `[${shape.join(", ")}], bias ${String(hasBias)}, gradients of ${String(wanted)}`,
              );
            });
    },
  );

test("linear on the GPU: one node, also under autocast", options, () =>
  scope(() => {
    const layer = new nn.Linear(16, 16).to("cuda");
    const x = on(randn([2, 4, 16]));
    assert.equal(layer.forward(x).gradFn, "AddmmBackward0");
    assert.equal(autocast({ deviceType: "cuda", dtype: "bfloat16" }, () => layer.forward(x)).gradFn, "AddmmBackward0");
  }),
);

for (const dtype of ["bfloat16", "float16"] as const)
  test(
    `linear under autocast without a cache: float32 parameters get float32 gradients straight from the products; all else is the same to the bit: ${dtype}`,
    options,
    () => {
      seedEverything(2);
      for (const shape of [
        [96, 64],
        [3, 32, 64],
      ])
        for (const hasBias of [true, false])
          scope(() => {
            const x = on(randn(shape)).requiresGrad_();
            const weight = on(randn([48, 64])).requiresGrad_();
            const bias = hasBias ? on(randn([48])).requiresGrad_() : null;
            const along = on(randn([...shape.slice(0, -1), 48])).to(dtype);
            const region = (fn: () => Tensor): Tensor =>
              autocast({ deviceType: "cuda", dtype, cacheEnabled: false }, fn);
            const run = (): readonly Tensor[] => {
              const y = region(() => linear(x, weight, bias));
              return [
                y,
                ...(grad(y, [x, weight, ...(bias === null ? [] : [bias])], { gradOutputs: along }) as Tensor[]),
              ];
            };
            const [mixed, plain] = [run(), castBack(run)];
            assert.equal(mixed[0]?.dtype, dtype);
            assert.equal(bits(mixed[0]), bits(plain[0] as Tensor));
            assert.equal(bits(mixed[1] as Tensor), bits(plain[1] as Tensor));
            // What the products are exactly, of the rounded factors.
            const exact = [
              along
                .view([-1, 48])
                .to("float64")
                .t()
                .mm(x.detach().to(dtype).view([-1, 64]).to("float64")),
              along.view([-1, 48]).to("float64").sum([0]),
            ];
            const error = (t: Tensor, i: number): number =>
              t
                .to("float64")
                .sub(exact[i] as Tensor)
                .norm()
                .item() / (exact[i] as Tensor).norm().item();
            mixed.slice(2).forEach((t, i) => {
              assert.equal(t.dtype, "float32");
              assert.deepEqual(t.shape, plain[2 + i]?.shape);
              assert.ok(error(t, i) < 1e-6, `${i}: ${error(t, i)}`);
              assert.ok(error(plain[2 + i] as Tensor, i) > 1e-5, `${i}: ${error(plain[2 + i] as Tensor, i)}`);
            });
            // Twice differentiated, both ways are the same graph of operators.
            const second = (): readonly string[] => {
              const y = region(() => linear(x, weight, bias));
              const first = grad(y.float().square().sum(), [x, weight], { createGraph: true }) as Tensor[];
              return (
                grad(
                  first.map((g) => g.float().square().sum()).reduce((a, b) => a.add(b)),
                  [x, weight],
                ) as Tensor[]
              ).map((t) => `${t.dtype} ${t.shape.join()} ${t.float().norm().item().toPrecision(2)}`);
            };
            assert.deepEqual(second(), castBack(second));
          });
    },
  );

test(
  "linear under autocast: a cache, a frozen weight, no gradients, 16-bit parameters take libtorch's way",
  options,
  () =>
    scope(() => {
      seedEverything(4);
      const x = on(randn([4, 16])).requiresGrad_();
      const weight = on(randn([16, 16])).requiresGrad_();
      const first = (cacheEnabled: boolean, w: Tensor): Tensor =>
        autocast({ deviceType: "cuda", dtype: "bfloat16", cacheEnabled }, () => linear(x, w));
      const gradients = (y: Tensor): string => bits((grad(y.float().square().sum(), [x]) as Tensor[])[0] as Tensor);
      const expected = gradients(castBack(() => first(false, weight)));
      for (const y of [first(false, weight), first(true, weight), first(false, weight.detach())])
        assert.equal(gradients(y), expected);
      assert.equal(noGrad(() => first(false, weight)).requiresGrad, false);
      assert.equal(first(false, weight.detach().bfloat16().requiresGrad_()).gradFn, "MmBackward0");
    }),
);

/** Three layers and no operator whose own backward has an order of its own. */
class Mlp extends LightningModule {
  readonly net = new nn.Sequential(
    new nn.Linear(16, 64),
    new nn.GELU(),
    new nn.Linear(64, 64),
    new nn.GELU(),
    new nn.Linear(64, 16),
  );
  override trainingStep(batch: unknown): Tensor {
    const [x] = batch as readonly [Tensor];
    return this.net.call(x).sub(x).square().mean();
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.AdamW(this.parameters(), { lr: 1e-2, fused: true });
  }
}

for (const precision of [32, "bf16", 16] as const)
  test(
    `gradients side by side in a recorded step are those of one after the other, bit for bit: ${precision}`,
    options,
    async () => {
      seedEverything(3);
      const batches = Array.from({ length: 24 }, () => [on(randn([32, 16]))]);
      const usual = 2 ** 30;
      const run = async (
        branches: number,
      ): Promise<{ readonly nodes: number; readonly weights: string[]; readonly losses: readonly number[] }> => {
        const before = native.setLinearBranches(branches);
        try {
          const { module, losses } = await train(() => new Mlp(), batches, {
            precision,
            cudaGraph: true,
            gradientClipVal: 1,
          });
          return {
            nodes: native.setLinearBranches(usual) - before,
            weights: [...module.parameters()].map(bits),
            losses,
          };
        } finally {
          native.setLinearBranches(usual);
        }
      };
      const [serial, parallel] = [await run(0), await run(usual)];
      assert.equal(serial.nodes, 0);
      assert.equal(parallel.nodes, 3 * 4); // three layers, in the three eager steps on the graph's stream and in the recording
      assert.deepEqual(parallel.losses, serial.losses);
      assert.deepEqual(parallel.weights, serial.weights);
    },
  );
