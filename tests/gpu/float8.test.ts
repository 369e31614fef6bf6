import assert from "node:assert/strict";
import { test } from "node:test";
import {
  castFloat8,
  castReference,
  convertToFloat8,
  emulated,
  FLOAT8_RECIPES,
  Float8Linear,
  float8Support,
  scaledMm,
  type Amax,
  type Float8RecipeName,
} from "@nbit/lowbit";
import { cuda, device, linalg, nn, operators, optim, randn, scope, seedEverything, type Tensor } from "@nbit/torch";
import { MODELS, reachesFloat32 } from "../lowbit/float8-training.js";

const gpu = cuda.isAvailable() && cuda.getDeviceCapability(0).join("") >= "89";
const options = { skip: !gpu && "needs a CUDA device with float8" };
const RECIPES = Object.keys(FLOAT8_RECIPES) as Float8RecipeName[];
const sqnr = (r: Tensor, g: Tensor): number =>
  20 * Math.log10(r.double().norm().item() / r.double().sub(g.double()).norm().item());

const SIZES = [
  [16, 16],
  [128, 128],
  [48, 272],
  [1040, 144],
] as const;
const LAYOUTS = [
  { rows: true, columns: true },
  { rows: true, columns: false },
  { rows: false, columns: true },
];

/** All combinations of sizes, dtypes, formats, scales and layouts. */
function* casts() {
  for (const [m, k] of SIZES)
    for (const dtype of ["float32", "bfloat16", "float16"] as const)
      for (const format of ["float8_e4m3fn", "float8_e5m2"] as const)
        for (const rowwise of [false, true]) yield* LAYOUTS.map((wanted) => ({ m, k, dtype, format, rowwise, wanted }));
}

test("float8: the kernel's codes are the reference's, in both layouts, all dtypes and scales", options, () => {
  assert.ok(operators("nbit")["float8_cast"] !== undefined);
  scope(() => {
    seedEverything(0);
    for (const { m, k, dtype, format, rowwise, wanted } of casts()) {
      const x = randn([m, k], { device: "cuda" }).to(dtype);
      x.select(0, 3).select(0, 5).fill_(Infinity);
      x.select(0, 9).select(0, 2).fill_(NaN);
      x.select(0, 0).fill_(0);
      const finite = x.where(x.isfinite(), x.mul(0).nanToNum(0));
      const amax: Amax = rowwise
        ? {
            rows: linalg.vectorNorm(finite, Infinity, [1], true, { dtype: "float32" }),
            columns: linalg.vectorNorm(finite, Infinity, [0], true, { dtype: "float32" }),
          }
        : { rows: linalg.vectorNorm(finite, Infinity, null, false, { dtype: "float32" }).mul(0.5), columns: null }; // some are clamped
      const [ours, reference] = [castFloat8(x, amax, format, wanted), castReference(x, amax, format, wanted)];
      for (const name of ["rows", "columns", "rowInverse", "columnInverse"] as const) {
        const [a, b] = [ours[name], reference[name]];
        if (b === null && (a === null || name.endsWith("Inverse"))) continue;
        assert.ok(a !== null && b !== null, `${name} ${JSON.stringify(wanted)}`);
        assert.deepEqual(a.shape, b.shape);
        const [u, v] = [a.float().cpu(), b.float().cpu()];
        assert.equal(u.isnan().ne(v.isnan()).sum().item(), 0, `${name}: NaN at other places`);
        // Codes are equal; an inverse scale may differ in its last bit, as divisions on a GPU do.
        const limit = name.endsWith("Inverse") ? 1.2e-7 * v.nanToNum(0).abs().max().item() : 0;
        assert.ok(
          u.nanToNum(0).sub(v.nanToNum(0)).abs().max().item() <= limit,
          `${name} ${m}×${k} ${dtype} ${format} ${rowwise ? "rows" : "whole"}`,
        );
      }
    }
  });
});

test("float8: products of the device equal their float32 form", options, () => {
  scope(() => {
    seedEverything(1);
    const [a, b] = [randn([64, 96], { device: "cuda" }), randn([48, 96], { device: "cuda" })];
    for (const rowwise of [false, true]) {
      const [fa, fb] = [a, b].map((x) => {
        const m = castFloat8(
          x,
          { rows: rowwise ? x.abs().amax([1], true) : x.abs().amax(), columns: null },
          "float8_e4m3fn",
          { rows: true, columns: false },
        );
        return { codes: m.rows as Tensor, inverse: m.rowInverse as Tensor };
      }) as [{ codes: Tensor; inverse: Tensor }, { codes: Tensor; inverse: Tensor }];
      assert.ok(float8Support(device("cuda:0"), rowwise ? "row" : "tensor").native);
      const bias = randn([48], { device: "cuda" });
      const wide = emulated(fa, fb, bias, "float32");
      for (const out of ["bfloat16", "float16", "float32"] as const)
        assert.ok(
          sqnr(wide, scaledMm(fa, fb, bias.to(out === "float32" ? "float32" : out), out, true)) > 35,
          `${rowwise} ${out}`,
        );
    }
  });
});

for (const recipe of RECIPES)
  test(`float8, ${recipe}: output and gradients on CUDA, without synchronization, and as a CUDA graph`, options, () => {
    for (const dtype of ["bfloat16", "float16", "float32"] as const)
      scope(() => {
        seedEverything(2);
        const linear = new nn.Linear(256, 128, { device: "cuda", dtype });
        const layer = new Float8Linear(256, 128, { recipe, device: "cuda", dtype });
        layer.loadStateDict(linear.stateDict(), { strict: false });
        const x = randn([77, 256], { device: "cuda" }).to(dtype);
        const g = randn([77, 128], { device: "cuda" }).to(dtype);
        const [a, b] = [x.clone().requiresGrad_(), x.clone().requiresGrad_()];
        const y = linear.forward(a);
        y.backward({ gradient: g });
        layer.forward(b).backward({ gradient: g }); // what has to be set up
        b.grad = null;
        layer.weight.grad = null;
        cuda.setSyncDebugMode("error");
        let y8: Tensor;
        try {
          y8 = layer.forward(b);
          y8.backward({ gradient: g });
        } finally {
          cuda.setSyncDebugMode("default");
        }
        assert.ok(sqnr(y.detach(), y8.detach()) > 18, `${dtype} output`);
        assert.ok(sqnr(a.grad as Tensor, b.grad as unknown as Tensor) > 17, `${dtype} input gradient`);
        assert.ok(
          sqnr(linear.weight.grad as Tensor, layer.weight.grad as unknown as Tensor) > 17,
          `${dtype} weight gradient`,
        );
        const graph = new cuda.CudaGraph();
        for (let i = 0; i < 3; i++) graph.warmUp(() => scope(() => void layer.forward(b.detach())));
        const recorded = graph.capture(() => layer.forward(b.detach()));
        graph.replay();
        const doubled = layer.weight.detach().mul(2);
        layer.weight.detach().copy_(doubled); // the cast of the weight is part of the recording
        graph.replay();
        assert.ok(
          recipe === "delayed" ||
            sqnr(nn.functional.linear(x, linear.weight.detach().mul(2), linear.bias).detach(), recorded.detach()) > 18,
        );
      });
  });

test("float8: a converted model trains on CUDA", options, () => {
  for (const recipe of RECIPES) {
    seedEverything(3);
    const net = new nn.Sequential(new nn.Linear(64, 256), new nn.GELU(), new nn.Linear(256, 64)).to("cuda").bfloat16();
    assert.equal(convertToFloat8(net, { recipe }).converted.length, 2);
    const optimizer = new optim.AdamW(net.parameters(), { lr: 1e-2, fused: true });
    const losses = scope(() => {
      const x = randn([512, 64], { device: "cuda" }).bfloat16();
      return Array.from({ length: 40 }, () =>
        scope(() => {
          const loss = net
            .forward(x)
            .sub(x.flip([1]))
            .square()
            .mean();
          loss.backward();
          optimizer.step();
          optimizer.zeroGrad();
          return loss.item();
        }),
      );
    });
    assert.ok((losses.at(-1) ?? NaN) < 0.3 * (losses[0] ?? NaN), `${recipe}: ${losses[0]} → ${losses.at(-1)}`);
  }
});

for (const model of MODELS)
  test(`float8: ${model.name} trains to the loss of float32 on CUDA`, options, () => reachesFloat32(model, "gpu", 60));
