import assert from "node:assert/strict";
import { test } from "node:test";
import {
  addLora,
  dequantizeWeight,
  fp4Map,
  loadLoraStateDict,
  loraStateDict,
  LoRALinear,
  nf4Map,
  QuantizedLinear,
  quantizedBytes,
  quantizeWeight,
  quantizeWeights,
  WEIGHT_FORMATS,
  weightMemory,
} from "@nbit/lowbit";
import {
  keep,
  memory,
  nn,
  optim,
  packState,
  randn,
  scope,
  seedEverything,
  setNumThreads,
  tensor,
  unpackState,
  zeros,
  type Tensor,
} from "@nbit/torch";
import { collectGarbage } from "../helpers/collect-garbage.js";
import { BODIES, Block } from "./quantized-bodies.js";

setNumThreads(1);

test("nf4 has the values of its paper; fp4 those of its bits", () => {
  // QLoRA, appendix E.
  const published = [
    -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
  ];
  nf4Map().forEach((v, i) => assert.ok(Math.abs(v - (published[i] ?? NaN)) < 2e-7, `${i}: ${v}`));
  fp4Map().forEach((v, code) => {
    const [exponent, mantissa] = [(code >> 1) & 3, code & 1];
    const magnitude = exponent === 0 ? mantissa * 0.0625 : (1 + mantissa / 2) * 2 ** (4 - exponent);
    assert.equal(v, ((code & 8 ? -1 : 1) * magnitude) / 12);
  });
});

/** Mean |error| of a standard normal matrix. */
function error(format: (typeof WEIGHT_FORMATS)[number], blockSize?: number): number {
  return scope(() => {
    seedEverything(0);
    const x = randn([1024, 1024]);
    return dequantizeWeight(quantizeWeight(x, { format, ...(blockSize === undefined ? {} : { blockSize }) }))
      .sub(x)
      .abs()
      .mean()
      .item();
  });
}

test("errors on normal weights are the published ones", () => {
  // bitsandbytes' own figures by block: nf4 0.0728, 0.0768; fp4 0.0965, 0.1029.
  for (const [format, blockSize, expected] of [
    ["nf4", 64, 0.0728],
    ["nf4", 128, 0.0768],
    ["fp4", 64, 0.0965],
    ["fp4", 128, 0.1029],
  ] as const) {
    const e = error(format, blockSize);
    assert.ok(Math.abs(e - expected) < 0.0005, `${format} at ${blockSize}: ${e}`);
  }
  for (const format of ["nf4", "fp4"] as const)
    assert.ok(
      Math.abs(error(`${format}-dq`) - error(format)) < 0.0005,
      `${format}: double quantization costs almost nothing`,
    );
  assert.ok(error("int8") < 0.01);
});

test("bits per element: 4.5, 4.127 with quantized scales, 8 and a row's scale", () => {
  scope(() => {
    const x = randn([1024, 1024]);
    const bits = (format: (typeof WEIGHT_FORMATS)[number]): number =>
      (quantizedBytes(quantizeWeight(x, { format })) * 8) / x.numel();
    assert.equal(bits("nf4"), 4.5);
    assert.ok(Math.abs(bits("nf4-dq") - 4.127) < 0.0005, String(bits("nf4-dq")));
    assert.ok(Math.abs(bits("fp4-dq") - 4.127) < 0.0005);
    assert.equal(bits("int8"), 8 + 32 / 1024);
  });
});

test("each code is the nearest, the first of two in the high half; also for ragged blocks, odd sizes, zeros and other dtypes", () => {
  scope(() => {
    seedEverything(1);
    for (const format of ["nf4", "fp4"] as const) {
      const values = format === "nf4" ? nf4Map() : fp4Map();
      const w = quantizeWeight(tensor([values.concat(values.map((v) => v / 2))]), { format, blockSize: 16 });
      const back = dequantizeWeight(w).view([-1]).tolist() as number[];
      values.forEach((v, i) => {
        assert.equal(back[i], Math.fround(v) + 0);
        assert.equal(back[16 + i], Math.fround(v / 2) + 0);
      });
      const bytes = w.codes.tolist() as number[];
      if (format === "nf4") assert.deepEqual(bytes.slice(0, 8), [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
      // Nearest: no value of the codebook is closer than the one chosen.
      const x = randn([7, 33]);
      const q = quantizeWeight(x, { format, blockSize: 64 });
      assert.equal(q.codes.numel(), Math.ceil((7 * 33) / 2));
      const chosen = dequantizeWeight(q).sub(x).abs().view([-1]).tolist() as number[];
      const absmax = q.absmax.tolist() as number[];
      (x.view([-1]).tolist() as number[]).forEach((v, i) => {
        const scale = absmax[Math.floor(i / 64)] ?? NaN;
        assert.ok((chosen[i] ?? NaN) <= Math.min(...values.map((c) => Math.abs(c * scale - v))) + 1e-6);
      });
    }
    for (const format of WEIGHT_FORMATS) {
      assert.equal(
        dequantizeWeight(quantizeWeight(zeros([16, 64]), { format }))
          .abs()
          .max()
          .item(),
        0,
      );
      const x = randn([32, 64]);
      for (const dtype of ["bfloat16", "float16"] as const) {
        const back = dequantizeWeight(quantizeWeight(x.to(dtype), { format }), dtype);
        assert.equal(back.dtype, dtype);
        assert.ok(back.float().sub(x).abs().mean().item() < 0.12);
      }
    }
  });
});

const OPTIONS = WEIGHT_FORMATS.map((format) => ({ format }));

for (const [name, body] of Object.entries(BODIES)) test(name, () => body("cpu"));

test("between forward and backward no wide weight is held", async () => {
  await collectGarbage(); // what earlier tests left outside scopes
  const layer = QuantizedLinear.from(new nn.Linear(256, 256), { format: "nf4" });
  scope(() => {
    const x = randn([4, 256]).requiresGrad_();
    const { bytes } = memory();
    assert.ok(bytes > 0);
    const y = layer.forward(x);
    const wide = 256 * 256 * 4;
    assert.ok(
      memory().bytes - bytes < wide / 8,
      `${memory().bytes - bytes} bytes kept by forward, the wide weight has ${wide}`,
    );
    scope(() => y.sum().backward());
    assert.ok(memory().bytes - bytes < wide / 8);
    const kept = memory().bytes;
    const weight = layer.dequantize();
    assert.ok(memory().bytes - kept >= weight.nbytes); // the measure does see it
  });
});

test("quantizeWeights lists every layer; shared weights stay; the state dict goes around", () => {
  const net = new Block();
  net.embedding.weight.setData(net.head.weight);
  (net.head as { weight: nn.Parameter }).weight = net.embedding.weight;
  const report = quantizeWeights(net, { format: "nf4-dq", filter: (_, path) => path !== "mlp.0" });
  assert.deepEqual(
    report.layers.map((l) => [l.path, l.layer, l.reason]),
    [
      ["query", "Linear(64, 64, bias)", "nf4-dq"],
      ["value", "Linear(64, 64)", "nf4-dq"],
      ["mlp.0", "Linear(64, 128, bias)", "the filter refused it"],
      ["mlp.2", "Linear(128, 64, bias)", "nf4-dq"],
      ["head", "Linear(64, 16)", "its weight is shared with embedding"],
    ],
  );
  scope(() => {
    const other = new Block();
    quantizeWeights(other, { format: "nf4-dq", filter: (_, path) => path !== "mlp.0" && path !== "head" });
    const state = unpackState(packState(Object.fromEntries(net.stateDict()))) as Record<string, Tensor>;
    other.loadStateDict(state);
    const x = randn([3, 64]);
    assert.deepEqual(other.forward(x).tolist(), net.forward(x).tolist());
  });
  assert.match(
    quantizeWeights(net, { format: "int8" }).toString(),
    /query +QuantizedLinear\(64, 64\) +left +quantized already, nf4-dq/,
  );
});

test("state of another format, block size or shape is refused, strictly or not; files from before the format was saved are read", () => {
  scope(() => {
    seedEverything(7);
    const layers: readonly (readonly [string, QuantizedLinear])[] = [
      ...OPTIONS.map(
        (options) => [JSON.stringify(options), QuantizedLinear.from(new nn.Linear(64, 64), options)] as const,
      ),
      ["nf4 by 32", QuantizedLinear.from(new nn.Linear(64, 64), { format: "nf4", blockSize: 32 })],
      ["nf4, one block", QuantizedLinear.from(new nn.Linear(64, 64), { format: "nf4", blockSize: 4096 })],
      ["nf4 of another shape", QuantizedLinear.from(new nn.Linear(128, 32), { format: "nf4" })],
      ["fp4 by 2048", QuantizedLinear.from(new nn.Linear(64, 64), { format: "fp4", blockSize: 2048 })],
    ];
    for (const [from, source] of layers) {
      const state = unpackState(packState(Object.fromEntries(source.stateDict()))) as Record<string, Tensor>;
      for (const [to, target] of layers) {
        const before = target.dequantize();
        const load = (strict: boolean): unknown => target.loadStateDict(state, { strict });
        if (
          source.format === target.format &&
          source.blockSize === target.blockSize &&
          source.inFeatures === target.inFeatures
        ) {
          load(true);
          const { weight_format: _, ...without } = state;
          target.loadStateDict(without);
          assert.ok(target.dequantize().equal(source.dequantize()));
          continue;
        }
        for (const strict of [true, false])
          assert.throws(() => load(strict), { code: "STATE_DICT_MISMATCH" }, `${from} into ${to}`);
        assert.ok(target.dequantize().equal(before), `${from} into ${to}`);
      }
      const wide = new nn.Linear(64, 64);
      assert.throws(
        () => wide.loadStateDict(state, { strict: false }),
        { code: "STATE_DICT_MISMATCH", message: /weight/ },
        `${from} into a plain layer`,
      );
    }
    const nf4 = QuantizedLinear.from(new nn.Linear(64, 64), { format: "nf4" });
    const fp4 = Object.fromEntries(QuantizedLinear.from(new nn.Linear(64, 64), { format: "fp4" }).stateDict());
    assert.throws(
      () =>
        new nn.Sequential(nf4).loadStateDict(Object.fromEntries(Object.entries(fp4).map(([k, t]) => [`0.${k}`, t]))),
      /0 holds fp4 of \[64, 64\] in blocks of 64, expected nf4 of \[64, 64\] in blocks of 64/,
    );
    assert.throws(
      () => nf4.loadStateDict({ ...fp4, weight_format: tensor([9, 64, 64, 64], { dtype: "int32" }) }),
      /unknown format/,
    );
  });
});

test("a merged layer's state does not load into one that is not merged, and can be unmerged after loading", () => {
  for (const make of [
    (l: nn.Linear) => l,
    ...OPTIONS.map((options) => (l: nn.Linear) => QuantizedLinear.from(l, options)),
  ])
    scope(() => {
      seedEverything(6);
      const build = (): LoRALinear => {
        const layer = new LoRALinear(make(new nn.Linear(64, 64)), { rank: 2 });
        layer.loraB.detach().copy_(randn([64, 2]).mul(0.1));
        return layer.eval();
      };
      const [merged, other] = [build(), build()];
      const x = randn([8, 64]);
      const beside = merged.forward(x).detach();
      merged.merge();
      assert.match(String(merged), /merged/);
      const state = unpackState(packState(Object.fromEntries(merged.stateDict()))) as Record<string, Tensor>;
      const untouched = other.forward(x).detach();
      assert.throws(() => other.loadStateDict(state), {
        code: "STATE_DICT_MISMATCH",
        message: /unexpected: unmerged_weight/,
      });
      assert.ok(other.forward(x).equal(untouched));
      const plain = new Map([...other.stateDict()].map(([name, t]) => [name, t.detach().clone()]));
      other.merge();
      assert.throws(() => other.loadStateDict(plain), {
        code: "STATE_DICT_MISMATCH",
        message: /missing: unmerged_weight/,
      });
      assert.throws(() => loadLoraStateDict(new nn.Sequential(other), loraStateDict(new nn.Sequential(merged))), {
        code: "LORA_MERGED",
        message: /merged ones at "0"\. Call unmerge\(\)/,
      });
      other.loadStateDict(state);
      assert.ok(other.forward(x).equal(merged.forward(x)));
      other.unmerge();
      assert.ok(other.forward(x).equal(beside), "the adapter and the base that were saved");
      assert.deepEqual([...other.stateDict().keys()], [...plain.keys()]);
    });
});

test("the adapter's dropout applies only in training", () => {
  scope(() => {
    seedEverything(5);
    const layer = new LoRALinear(new nn.Linear(32, 32), { rank: 2, dropout: 0.5 });
    layer.loraB.detach().add_(1);
    const x = randn([4, 32]);
    const [a, b] = [layer.forward(x), layer.forward(x)];
    assert.ok(a.sub(b).abs().max().item() > 0);
    layer.eval();
    assert.equal(layer.forward(x).sub(layer.forward(x)).abs().max().item(), 0);
  });
});

test("the memory table lists bits, trainable parameters and the float32 bytes that they replace", () => {
  const net = new Block();
  const wide = weightMemory(net);
  assert.equal(wide.bytes, 4 * wide.elements);
  quantizeWeights(net, { format: "nf4", filter: (_, path) => path !== "head" });
  addLora(net, { rank: 2, targets: ["query"] });
  const table = weightMemory(net);
  assert.deepEqual(
    table.rows.map((r) => [r.kind, r.elements, r.trainable]),
    [
      ["float32", 16 * 64 * 2 + 64 + 128 + 64, false],
      ["adapters", 2 * 2 * 64, true],
      ["nf4", 64 * 64 * 2 + 2 * 64 * 128, false],
    ],
  );
  assert.equal(table.rows[2]?.bytes, ((table.rows[2]?.elements ?? 0) * 4.5) / 8);
  assert.equal(table.trainable, 256);
  assert.match(
    table.toString(),
    /^weights +elements +memory +bits each\nfloat32 +2,304 +9\.00 KiB +32\.000 {2}frozen\nadapters +256 +1\.00 KiB +32\.000 {2}learns\nnf4 +24,576 +13\.5 KiB +4\.500 {2}frozen\nall /,
  );
});

test("two equal steps end with equal live tensors", () => {
  const net = new Block();
  quantizeWeights(net, { format: "fp4-dq" });
  addLora(net, { rank: 2, dropout: 0.1 });
  const optimizer = new optim.AdamW(net.parameters(), { lr: 1e-3 });
  const x = keep(randn([8, 64]));
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

test("errors name the argument", () => {
  scope(() => {
    assert.throws(
      () => quantizeWeight(randn([4, 4]), { format: "nf3" as never }),
      /format to be one of "nf4", "nf4-dq", "fp4", "fp4-dq", "int8"\. Received: "nf3"/,
    );
    assert.throws(() => quantizeWeight(randn([64]), { format: "nf4" }), /a matrix in float32/);
    assert.throws(
      () => quantizeWeight(randn([64, 64]), { format: "nf4", blockSize: 8 }),
      /blockSize to be a whole number from 16 to 4096/,
    );
    assert.throws(
      () => quantizeWeight(tensor([[1, NaN]]), { format: "int8" }),
      /expected a finite weight.*holds NaN or infinity/,
    );
    assert.throws(() => quantizeWeights(new nn.Linear(4, 4), { format: "nf4" }), /QuantizedLinear\.from/);
    assert.throws(
      () => addLora(new Block(), { targets: ["keys"] }),
      /targets that match linear layers \(query, value, mlp\.0, mlp\.2, head\)\. Received: "keys"/,
    );
    for (const options of [{ rank: 0 }, { rank: 1.5 }, { alpha: 0 }, { dropout: 1 }])
      assert.throws(
        () => new LoRALinear(new nn.Linear(4, 4), options),
        /ArgumentError: LoRALinear: expected (rank|alpha|dropout)/,
      );
    assert.throws(() => new LoRALinear(new nn.ReLU() as never), /a Linear, QuantizedLinear or Float8Linear/);
    assert.throws(
      () => QuantizedLinear.from(new nn.Linear(64, 32), { format: "nf4" }).forward(randn([3, 63])),
      /input of shape \[…, 64\]/,
    );
  });
});
