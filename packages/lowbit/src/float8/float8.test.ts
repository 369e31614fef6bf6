import assert from "node:assert/strict";
import { test } from "node:test";
import {
  autocast,
  device,
  finfo,
  keep,
  linalg,
  memory,
  nn,
  noGrad,
  optim,
  randn,
  scope,
  seedEverything,
  setNumThreads,
  tensor,
  zeros,
  type DType,
  type Tensor,
} from "@nbit/torch";
import {
  castFloat8,
  castReference,
  convertToFloat8,
  emulated,
  FLOAT8_RECIPES,
  Float8Linear,
  float8Support,
  scaledMm,
  amaxOf,
  type Float8RecipeName,
} from "../index.js";

setNumThreads(1);
const RECIPES = Object.keys(FLOAT8_RECIPES) as Float8RecipeName[];

/** Signal to quantization noise, in decibels. */
function sqnr(reference: Tensor | null, got: Tensor | null): number {
  assert.ok(reference !== null && got !== null);
  const [r, g] = [reference.detach().double(), got.detach().double()];
  return 20 * Math.log10(r.norm().item() / r.sub(g).norm().item());
}
function pair(
  inFeatures: number,
  outFeatures: number,
  recipe: Float8RecipeName,
  options: { readonly bias?: boolean; readonly dtype?: DType } = {},
): { readonly linear: nn.Linear; readonly layer: Float8Linear } {
  const linear = new nn.Linear(inFeatures, outFeatures, options);
  const layer = new Float8Linear(inFeatures, outFeatures, { recipe, ...options });
  layer.loadStateDict(linear.stateDict(), { strict: false });
  return { linear, layer };
}

for (const recipe of RECIPES)
  test(`${recipe}: output and gradients against the linear layer, over shapes, dtypes, with and without a bias`, () => {
    for (const shape of [[16, 16], [32, 16], [16, 32], [37, 64], [3, 7, 48], [64]])
      for (const dtype of ["float32", "bfloat16", "float16"] as const)
        for (const bias of [true, false])
          scope(() => {
            seedEverything(0);
            const { linear, layer } = pair(shape[shape.length - 1] as number, 32, recipe, { bias, dtype });
            const x = randn(shape).to(dtype);
            const [a, b] = [x.clone().requiresGrad_(), x.clone().requiresGrad_()];
            const g = randn([...shape.slice(0, -1), 32]).to(dtype);
            const [y, y8] = [linear.forward(a), layer.forward(b)];
            assert.equal(y8.dtype, dtype);
            assert.deepEqual(y8.shape, y.shape);
            y.backward({ gradient: g });
            y8.backward({ gradient: g });
            const context = `${recipe} ${String(shape)} ${dtype}`;
            assert.equal(b.grad?.dtype, dtype);
            assert.equal(layer.weight.grad?.dtype, dtype);
            assert.ok(sqnr(y, y8) >= 18, `${context} output ${sqnr(y, y8)}`);
            assert.ok(sqnr(a.grad, b.grad) >= 17, `${context} input gradient ${sqnr(a.grad, b.grad)}`);
            assert.ok(
              sqnr(linear.weight.grad, layer.weight.grad) >= 17,
              `${context} weight gradient ${sqnr(linear.weight.grad, layer.weight.grad)}`,
            );
            if (bias) assert.ok(sqnr(linear.bias?.grad ?? null, layer.bias?.grad ?? null) >= 40);
          });
  });

test("the product equals its float32 form, per tensor and per row, with mixed formats and a bias", () => {
  scope(() => {
    seedEverything(1);
    const [a, b] = [randn([32, 48]), randn([16, 48])];
    for (const rowwise of [false, true])
      for (const [first, second] of [
        ["float8_e4m3fn", "float8_e4m3fn"],
        ["float8_e5m2", "float8_e4m3fn"],
      ] as const) {
        const amax = (x: Tensor): { rows: Tensor; columns: null } => ({
          rows: rowwise ? x.abs().amax([1], true) : amaxOf(x),
          columns: null,
        });
        const both = [
          castReference(a, amax(a), first, { rows: true, columns: false }),
          castReference(b, amax(b), second, { rows: true, columns: false }),
        ] as const;
        const [fa, fb] = both.map((m) => ({ codes: m.rows as Tensor, inverse: m.rowInverse as Tensor })) as [
          { codes: Tensor; inverse: Tensor },
          { codes: Tensor; inverse: Tensor },
        ];
        const bias = randn([16]);
        const wide = emulated(fa, fb, bias, "float32");
        assert.ok(scaledMm(fa, fb, bias, "float32", true).sub(wide).abs().max().item() < 1e-4);
        const narrow = scaledMm(fa, fb, bias.bfloat16(), "bfloat16", true);
        assert.equal(narrow.dtype, "bfloat16");
        assert.ok(sqnr(wide, narrow) > 40);
        assert.ok(sqnr(a.mm(b.t()).add(bias), wide) > 18);
      }
  });
  assert.match(float8Support(device("cpu"), "row").reason, /CPU|emulated/);
});

test("codes: the largest value fills the format, both layouts agree, values outside the range are clamped, zeros stay zeros", () => {
  scope(() => {
    seedEverything(2);
    const x = randn([32, 16]).mul(1e-3);
    for (const dtype of ["float8_e4m3fn", "float8_e5m2"] as const) {
      const m = castFloat8(x, { rows: amaxOf(x), columns: null }, dtype, { rows: true, columns: true });
      assert.equal(m.rows?.float().abs().max().item(), finfo(dtype).max);
      assert.equal(m.columns?.float().sub(m.rows.float().t()).abs().max().item(), 0);
      // An amax that is too small, as delayed scaling may have: clamped, not infinite.
      const clamped = castFloat8(x, { rows: amaxOf(x).mul(0.25), columns: null }, dtype, {
        rows: true,
        columns: false,
      });
      assert.equal(clamped.rows?.float().abs().max().item(), finfo(dtype).max);
      const nothing = castFloat8(zeros([16, 16]), { rows: tensor(0), columns: null }, dtype, {
        rows: true,
        columns: false,
      });
      assert.equal(nothing.rows?.float().abs().max().item(), 0);
      assert.ok(Number.isFinite(nothing.rowInverse?.item()));
    }
    const byRow = castFloat8(x, { rows: x.abs().amax([1], true), columns: x.abs().amax([0], true) }, "float8_e4m3fn", {
      rows: true,
      columns: true,
    });
    assert.deepEqual(
      [byRow.rowInverse?.shape, byRow.columnInverse?.shape, byRow.columns?.shape],
      [
        [32, 1],
        [16, 1],
        [16, 32],
      ],
    );
    for (const codes of [byRow.rows, byRow.columns])
      assert.equal(codes?.float().abs().amax([1]).sub(448).abs().max().item(), 0);
  });
});

test("the largest magnitude is the infinity norm's, in every dtype, of either sign, with NaN and infinities", () => {
  scope(() => {
    seedEverything(8);
    for (const dtype of ["float32", "bfloat16", "float16"] as const)
      for (const extreme of [null, -50, 50, -Infinity, NaN]) {
        const x = randn([33, 48]).to(dtype);
        if (extreme !== null) x.select(0, 7).select(0, 3).fill_(extreme);
        const [ours, norm] = [amaxOf(x), linalg.vectorNorm(x, Infinity, null, false, { dtype: "float32" })];
        assert.deepEqual([ours.dtype, ours.shape], ["float32", []]);
        assert.ok(Object.is(ours.item(), norm.item()), `${dtype} ${extreme}: ${ours.item()}, norm ${norm.item()}`);
      }
  });
});

for (const recipe of RECIPES)
  test(`${recipe}: NaN and infinities show in output and gradients, and do not stay`, () => {
    for (const bad of [NaN, Infinity, -Infinity])
      scope(() => {
        seedEverything(3);
        const layer = new Float8Linear(32, 16, { recipe });
        const good = randn([16, 32]);
        const reference = layer.forward(good).detach().clone(); // and a history for "delayed"
        const x = good.clone();
        x.select(0, 5).select(0, 7).fill_(bad);
        const input = x.requiresGrad_();
        const y = layer.forward(input);
        assert.ok(y.select(0, 5).isfinite().logicalNot().all().item(), `${bad} in the output`);
        y.sum().backward();
        assert.ok(layer.weight.grad?.isfinite().logicalNot().any().item(), `${bad} in the weight gradient`);
        // In a gradient only.
        layer.weight.grad = null;
        const clean = randn([16, 32]).requiresGrad_();
        const g = randn([16, 16]);
        g.select(0, 2).select(0, 3).fill_(bad);
        layer.forward(clean).backward({ gradient: g });
        assert.ok(clean.grad?.select(0, 2).isfinite().logicalNot().all().item(), `${bad} in the input gradient`);
        assert.ok(
          layer.weight.grad !== null && (layer.weight.grad as Tensor).select(0, 3).isfinite().logicalNot().all().item(),
        );
        // A weight.
        const again = layer.forward(good).detach();
        assert.ok(sqnr(reference, again) > 18);
        noGrad(() => layer.weight.select(0, 4).select(0, 0).fill_(bad));
        assert.ok(layer.forward(good).select(1, 4).isfinite().logicalNot().all().item(), `${bad} in the weight`);
      });
  });

test("the weight is cast once while it does not change, and again when it does, by whatever means", () => {
  scope(() => {
    seedEverything(4);
    const layer = new Float8Linear(32, 32);
    const optimizer = new optim.SGD(layer.parameters(), { lr: 0.5 });
    const x = randn([16, 32]);
    const codes = (): number | undefined => layer.castWeight({ rows: true, columns: true }).rows?.dataPtr();
    const run = (): void => layer.forward(x).square().mean().backward();
    run();
    const first = codes();
    run();
    assert.equal(codes(), first);
    const fresh = (): number => sqnr(nn.functional.linear(x, layer.weight, layer.bias), layer.forward(x));
    optimizer.step();
    assert.ok(fresh() > 18, `after a step ${fresh()}`);
    noGrad(() => layer.weight.mul_(-1));
    assert.ok(fresh() > 18);
    layer.weight.setData(randn([32, 32]));
    assert.ok(fresh() > 18);
    layer.eval();
    assert.ok(fresh() > 18);
    noGrad(() => layer.weight.mul_(3));
    assert.ok(noGrad(fresh) > 18);
    layer.clearWeightCodes();
    assert.ok(fresh() > 18);
  });
});

test("delayed scaling uses the history, which is in the state dict and survives a cast of the module", () => {
  scope(() => {
    seedEverything(5);
    const layer = new Float8Linear(32, 16, { recipe: "delayed", historyLength: 3 });
    const history = (of: Float8Linear): number[] => of.amaxHistoryInput.view("float32").tolist() as number[];
    for (const size of [1, 4, 2, 0.5])
      layer
        .forward(zeros([16, 32]).add(size))
        .sum()
        .backward();
    assert.deepEqual(history(layer), [0.5, 2, 4]);
    assert.deepEqual(
      [...layer.stateDict().keys()],
      ["weight", "bias", "amax_history_input", "amax_history_weight", "amax_history_gradient"],
    );
    const copy = new Float8Linear(32, 16, { recipe: "delayed", historyLength: 3 });
    copy.loadStateDict(layer.stateDict());
    const x = randn([16, 32]).mul(10); // beyond the history: both clamp alike
    assert.deepEqual(copy.forward(x).tolist(), layer.forward(x).tolist());
    assert.deepEqual(history(copy), history(layer));
    copy.bfloat16();
    assert.deepEqual(history(copy), history(layer));
    assert.equal(copy.amaxHistoryInput.dtype, "int32");
    // Evaluation and NaN leave it alone.
    const before = history(layer);
    layer.eval();
    layer.forward(x.mul(100));
    noGrad(() => layer.train().forward(x.mul(100)));
    assert.deepEqual(history(layer), before);
    layer.forward(x.mul(NaN));
    assert.ok(history(layer).every(Number.isFinite));
  });
});

test("autocast decides the output's dtype; parameters and their gradients stay float32", () => {
  for (const recipe of RECIPES)
    scope(() => {
      seedEverything(6);
      const { linear, layer } = pair(32, 16, recipe);
      const x = randn([16, 32]);
      const y = autocast({ dtype: "bfloat16" }, () => layer.forward(x));
      assert.equal(y.dtype, "bfloat16");
      y.float().square().mean().backward();
      linear.forward(x).square().mean().backward();
      assert.equal(layer.weight.grad?.dtype, "float32");
      assert.ok(sqnr(linear.weight.grad, layer.weight.grad) > 17);
    });
});

class Net extends nn.Module {
  readonly embedding = new nn.Embedding(10, 32);
  readonly blocks = new nn.Sequential(new nn.Linear(32, 64), new nn.ReLU(), new nn.Linear(64, 32, { bias: false }));
  readonly odd = new nn.Linear(30, 17);
  readonly head = new nn.Linear(32, 16);
  readonly tied = this.head;
  readonly norm = new nn.LayerNorm(32);
  readonly wide = new nn.Linear(16, 16, { dtype: "float64" });
  forward(x: Tensor): Tensor {
    return this.head.forward(this.blocks.forward(x));
  }
}

test("convertToFloat8 lists every layer with its reason and keeps parameters, order and sharing", () => {
  const net = new Net();
  const before = [...net.stateDict({ keepVars: true })].map(([name, t]) => [name, t] as const);
  const report = convertToFloat8(net, { recipe: "rowwise", filter: (_, path) => path !== "blocks.2" });
  assert.deepEqual(
    report.layers.map((l) => [l.path, l.layer, l.converted, l.reason]),
    [
      ["embedding", "Embedding", false, "only linear layers have a float8 form"],
      ["blocks.0", "Linear(32, 64, bias)", true, "rowwise"],
      ["blocks.2", "Linear(64, 32)", false, "the filter refused it"],
      ["odd", "Linear(30, 17, bias)", false, "inFeatures 30 and outFeatures 17 are not a multiple of 16"],
      ["head", "Linear(32, 16, bias)", true, "rowwise"],
      ["wide", "Linear(16, 16, bias)", false, "its weight is float64"],
    ],
  );
  assert.match(
    report.toString(),
    /^float8, rowwise: 2 of 6 layers converted\nembedding {2}Embedding {13}left {7}only linear layers/,
  );
  assert.ok((net.tied as unknown) instanceof Float8Linear && (net.tied as unknown) === net.head);
  assert.deepEqual(
    [...net.stateDict({ keepVars: true })].map(([name]) => name),
    before.map(([name]) => name),
  );
  for (const [name, t] of before) assert.equal(net.stateDict({ keepVars: true }).get(name), t, name);
  assert.match(String(net), /\(0\): Float8Linear\(in_features=32, out_features=64, bias=True, recipe=rowwise\)/);
  assert.deepEqual(convertToFloat8(net).layers.filter((l) => /float8 already, rowwise/.test(l.reason)).length, 2);
  assert.equal(convertToFloat8(new Net(), { minFeatures: 64 }).converted.length, 0);
  scope(() => assert.deepEqual(net.forward(randn([4, 32])).shape, [4, 16]));
});

test("errors name the argument and leave nothing behind", () => {
  scope(() => {
    assert.throws(
      () => new Float8Linear(30, 64),
      /^ArgumentError: Float8Linear: expected inFeatures and outFeatures to be multiples of 16\. Received: \[30, 64\]\.$/,
    );
    assert.throws(
      () => new Float8Linear(32, 64, { recipe: "fast" as never }),
      /recipe to be one of "tensorwise", "delayed", "rowwise", "rowwise-gw-hp"\. Received: "fast"/,
    );
    assert.throws(() => new Float8Linear(32, 64, { historyLength: 0 }), /historyLength/);
    assert.throws(() => convertToFloat8(new nn.Linear(16, 16)), /Use Float8Linear\.from\(linear\) for one layer/);
    assert.throws(() => convertToFloat8(new Net(), { recipe: "x" as never }), /convertToFloat8: expected recipe/);
    const layer = new Float8Linear(32, 16);
    assert.throws(() => layer.forward(randn([16, 31])), /an input of shape \[…, 32\]/);
    assert.throws(() => layer.forward(randn([16, 32]).double()), /an input in float32, bfloat16 or float16/);
    assert.deepEqual(layer.forward(zeros([0, 32])).shape, [0, 16]);
    const y = layer.forward(randn([16, 32]).requiresGrad_());
    assert.throws(
      () => y.square().sum().backward({ createGraph: true }),
      (e: Error & { code?: string }) => e.code === "FLOAT8_DOUBLE_BACKWARD" && /createGraph: true/.test(e.message),
    );
  });
});

test("two equal steps end with equal live tensors, also with a frozen weight or input", () => {
  const net = new nn.Sequential(...RECIPES.map((recipe) => new Float8Linear(32, 32, { recipe })));
  net[1]?.requiresGrad_(false);
  const optimizer = new optim.AdamW(net.parameters(), { lr: 1e-3 });
  const x = keep(randn([9, 32]));
  const live = Array.from({ length: 4 }, () => {
    scope(() => {
      net.forward(x).square().mean().backward();
      optimizer.step();
      optimizer.zeroGrad();
    });
    return memory().unreleased;
  });
  assert.equal(live[3], live[2]);
});

test("float8 layers learn as linear layers do", () => {
  const train = (recipe: Float8RecipeName | null): number => {
    seedEverything(7);
    const net = new nn.Sequential(new nn.Linear(32, 64), new nn.Tanh(), new nn.Linear(64, 16));
    const x = keep(randn([64, 32]));
    const target = keep(x.narrow(1, 0, 16).mul(x.narrow(1, 16, 16)));
    if (recipe !== null) convertToFloat8(net, { recipe });
    const optimizer = new optim.AdamW(net.parameters(), { lr: 1e-2 });
    let last = NaN;
    for (let i = 0; i < 60; i++)
      scope(() => {
        const loss = net.forward(x).sub(target).square().mean();
        loss.backward();
        optimizer.step();
        optimizer.zeroGrad();
        last = loss.item();
      });
    return last;
  };
  const reference = train(null);
  assert.ok(reference < 0.3, `float32 ${reference}`);
  for (const recipe of RECIPES) {
    const loss = train(recipe);
    assert.ok(Math.abs(loss - reference) < 0.05, `${recipe} ${loss}, float32 ${reference}`);
  }
});
