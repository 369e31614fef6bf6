/** What a precision leaves as it is: complex and whole numbers, and what modules of different precisions share. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { LightningModule, precisionFor, seedEverything, Trainer, type TrainerOptions } from "@nbit/lightning";
import { Complex, nn, ones, optim, setNumThreads, tensor, type Tensor } from "@nbit/torch";
import { OPTIONS } from "./probed-net.js";

setNumThreads(1);

class Tables extends nn.Module {
  readonly shift = new nn.Parameter(tensor([1000.125]));
  declare readonly table: Tensor;
  declare readonly spectrum: Tensor;
  declare readonly count: Tensor;
  constructor(shared: Tensor) {
    super();
    this.registerBuffer("table", tensor([3000.75, 0.1]));
    this.registerBuffer("spectrum", tensor([new Complex(1000.125, 0.1)]));
    this.registerBuffer("count", shared);
  }
  forward(x: Tensor): Tensor {
    return x.add(this.table.sum()).add(this.shift);
  }
}
class Positions extends LightningModule {
  readonly shared = tensor([2 ** 40 + 1], { dtype: "int64" });
  readonly pos = new Tables(this.shared);
  readonly rest = new Tables(this.shared);
  readonly head = new nn.Linear(2, 1);
  override trainingStep(x: Tensor): Tensor {
    return this.head.forward(this.rest.forward(this.pos.forward(x))).sum();
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.head.parameters(), { lr: 0 });
  }
}
for (const [base, inside] of [
  ["bf16-true", "32-true"],
  ["16-true", "64-true"],
  ["bf16-true", "16-mixed"],
  [64, "32-true"],
  ["16-true", "bf16"],
] as const)
  test(`${inside} in a model of ${base}: no tensor is rounded on its way through the other dtype, complex and whole ones stay, what is shared stays shared`, async () => {
    const model = new Positions();
    await new Trainer({ ...OPTIONS, maxSteps: 1, plugins: precisionFor({ pos: inside }, { base }) }).fit(model, {
      trainDataloaders: [ones([1, 2])],
    });
    const dtypes = {
      "bf16-true": "bfloat16",
      "16-true": "float16",
      64: "float64",
      "32-true": "float32",
      "64-true": "float64",
      "16-mixed": "float32",
      bf16: "float32",
    } as const;
    for (const [tables, precision] of [
      [model.pos, inside],
      [model.rest, base],
    ] as const) {
      const dtype = dtypes[precision];
      assert.deepEqual(
        [tables.table, tables.shift, tables.spectrum, tables.count].map((t) => t.dtype),
        [dtype, dtype, "complex64", "int64"],
      );
      assert.deepEqual(
        [tables.table, tables.shift].map((t) => t.tolist()),
        [tensor([3000.75, 0.1]), tensor([1000.125])].map((t) => t.to(dtype).tolist()),
      );
      assert.deepEqual(tables.spectrum.tolist(), tensor([new Complex(1000.125, 0.1)]).tolist());
      assert.equal(tables.count.item(), 2 ** 40 + 1);
    }
    assert.equal(model.pos.count, model.rest.count);
  });

for (const [precision, options] of [
  [64, {}],
  ["16-true", {}],
  ["bf16-true", {}],
  ["bf16", {}],
  [16, {}],
  [16, { ampBackend: "apex", ampLevel: "O1" }],
  [16, { ampBackend: "apex", ampLevel: "O2" }],
  [16, { ampBackend: "apex", ampLevel: "O3" }],
] as const)
  test(`${precision} ${JSON.stringify(options)}: a complex parameter keeps and learns its imaginary part as in 32`, async () => {
    class Waves extends LightningModule {
      readonly z = new nn.Parameter(tensor([new Complex(1, 2), new Complex(-0.5, 0.25)]));
      readonly fc = new nn.Linear(2, 2);
      override trainingStep(x: Tensor): Tensor {
        return this.z.sub(new Complex(0.5, -3)).abs().square().sum().add(this.fc.forward(x).float().square().mean());
      }
      override configureOptimizers(): optim.Optimizer {
        return new optim.Adam(this.parameters(), { lr: 0.125 });
      }
    }
    const fit = async (extra: TrainerOptions): Promise<Complex[]> => {
      seedEverything(1);
      const model = new Waves();
      await new Trainer({ ...OPTIONS, maxSteps: 4, gradientClipVal: 4, ...extra }).fit(model, {
        trainDataloaders: Array.from({ length: 4 }, () => ones([1, 2])),
      });
      assert.equal(model.z.dtype, "complex64");
      return model.z.tolist() as Complex[];
    };
    const [exact, learned] = [await fit({}), await fit({ precision, ...options })];
    assert.ok(
      exact.every((z, i) => Math.hypot(z.re - (learned[i] as Complex).re, z.im - (learned[i] as Complex).im) < 2e-2),
      `${JSON.stringify(learned)} for ${JSON.stringify(exact)}`,
    );
    assert.ok(Math.abs((exact[0] as Complex).im - 2) > 0.3);
  });
