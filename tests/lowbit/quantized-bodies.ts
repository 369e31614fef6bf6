/**
 * Tests of quantized weights and adapters whose device is a parameter: the same bodies run on the CPU and, where there
 * is one, on a GPU. Values are drawn on the CPU, so that both see the same.
 */
import assert from "node:assert/strict";
import {
  addLora,
  dequantizeWeight,
  Float8Linear,
  loadLoraStateDict,
  loraParameters,
  loraStateDict,
  LoRALinear,
  mergeLora,
  QuantizedLinear,
  quantizeWeight,
  quantizeWeights,
  WEIGHT_FORMATS,
} from "@nbit/lowbit";
import { autocast, keep, nn, optim, randn, scope, seedEverything, zeros, type Tensor } from "@nbit/torch";

export type DeviceName = "cpu" | "cuda";
const FORMATS = WEIGHT_FORMATS.map((format) => ({ format }));

export class Block extends nn.Module {
  readonly embedding = new nn.Embedding(16, 64);
  readonly query = new nn.Linear(64, 64);
  readonly value = new nn.Linear(64, 64, { bias: false });
  readonly mlp = new nn.Sequential(new nn.Linear(64, 128), new nn.GELU(), new nn.Linear(128, 64));
  readonly head = new nn.Linear(64, 16, { bias: false });
  forward(x: Tensor): Tensor {
    const h = x.add(this.query.forward(x).tanh().mul(this.value.forward(x)));
    return this.head.forward(h.add(this.mlp.forward(h)));
  }
}

function codes(on: DeviceName): void {
  for (const options of FORMATS)
    for (const shape of [
      [64, 128],
      [7, 33],
    ] as const)
      for (const dtype of ["float32", "bfloat16", "float16"] as const)
        scope(() => {
          seedEverything(1);
          const weight = randn([...shape]).to(dtype);
          const [there, here] = [quantizeWeight(weight.to(on), options), quantizeWeight(weight, options)];
          assert.equal(there.codes.device.type, on);
          const back = dequantizeWeight(there, dtype);
          assert.deepEqual([back.device.type, back.dtype, back.shape], [on, dtype, [...shape]]);
          // A quotient whose last bit falls the other way may be nearer to the next code.
          const different = there.codes.cpu().ne(here.codes).sum().item() / here.codes.numel();
          assert.ok(different < 0.005, `${options.format}: ${different} of the codes differ from the CPU's`);
          const error = back.cpu().float().sub(weight.float()).abs().mean().item();
          assert.ok(error > 0.001 && error < 0.12, `${options.format} ${dtype}: ${error}`);
        });
}

function products(on: DeviceName): void {
  for (const options of FORMATS)
    scope(() => {
      seedEverything(2);
      const linear = new nn.Linear(96, 48).to(on);
      const layer = QuantizedLinear.from(linear, options);
      const dense = new nn.Linear(96, 48, { device: on });
      dense.loadStateDict(
        new Map<string, Tensor>([
          ["weight", layer.dequantize()],
          ["bias", linear.bias as Tensor],
        ]),
      );
      const x = randn([2, 5, 96]).to(on);
      const [a, b] = [x.clone().requiresGrad_(), x.clone().requiresGrad_()];
      const [y, z] = [layer.forward(a), dense.forward(b)];
      assert.equal(y.device.type, on);
      assert.ok(y.sub(z).abs().max().item() < 1e-5);
      y.square().sum().backward();
      z.square().sum().backward();
      assert.ok(
        (a.grad as Tensor)
          .sub(b.grad as Tensor)
          .abs()
          .max()
          .item() < 1e-3,
      );
      assert.equal(layer.bias?.grad, null);
      assert.deepEqual(
        layer.parameters().map((p) => p.requiresGrad),
        [false],
      );
      const cast = autocast({ deviceType: on, dtype: "bfloat16" }, () => layer.forward(a));
      assert.equal(cast.dtype, "bfloat16");
      assert.ok(cast.float().sub(z).abs().max().item() < 0.1);
      // Casting the module leaves codes and scales alone.
      const before = layer.dequantize();
      layer.bfloat16();
      assert.equal(layer.dequantize().sub(before).abs().max().item(), 0);
      assert.equal(layer.forward(x.bfloat16()).dtype, "bfloat16");
    });
}

function moves(on: DeviceName): void {
  for (const options of FORMATS)
    scope(() => {
      seedEverything(7);
      const layer = QuantizedLinear.from(new nn.Linear(96, 48), options);
      const x = randn([4, 96]);
      const y = layer.forward(x);
      const bits = layer.dequantize();
      layer.to(on);
      for (const t of layer.stateDict().values()) assert.equal(t.device.type, on);
      assert.ok(layer.forward(x.to(on)).cpu().sub(y).abs().max().item() < 1e-5, options.format);
      layer.to("cpu");
      assert.ok(layer.dequantize().equal(bits), `${options.format}: there and back`);
    });
}

function adapters(on: DeviceName): void {
  scope(() => {
    seedEverything(3);
    const net = new Block().to(on);
    const x = keep(randn([32, 64]).to(on));
    const target = randn([32, 16]).to(on);
    quantizeWeights(net, { format: "nf4", filter: (_, path) => path !== "head" });
    const before = net.forward(x).detach();
    const report = addLora(net, { rank: 4, alpha: 8, targets: ["query", "value", "mlp.2"] });
    assert.deepEqual(
      report.layers.map((l) => [l.path, l.converted]),
      [
        ["query", true],
        ["value", true],
        ["mlp.0", false],
        ["mlp.2", true],
        ["head", false],
      ],
    );
    assert.equal(net.forward(x).sub(before).abs().max().item(), 0);
    assert.deepEqual(
      [...net.namedParameters()].filter(([, p]) => p.requiresGrad).map(([name]) => name),
      ["query.lora_a", "query.lora_b", "value.lora_a", "value.lora_b", "mlp.2.lora_a", "mlp.2.lora_b"],
    );
    for (const p of loraParameters(net)) assert.equal(p.device.type, on);
    assert.deepEqual(addLora(net, { rank: 4, targets: ["query"] }).converted, []);
    const frozen = new Map(
      [...net.stateDict()].filter(([name]) => !name.includes("lora")).map(([name, t]) => [name, t.clone()]),
    );
    const optimizer = new optim.AdamW(loraParameters(net), { lr: 1e-2 });
    const losses = Array.from({ length: 30 }, () =>
      scope(() => {
        const loss = net.forward(x).sub(target).square().mean();
        loss.backward();
        optimizer.step();
        optimizer.zeroGrad();
        return loss.item();
      }),
    );
    assert.ok((losses.at(-1) ?? NaN) < 0.9 * (losses[0] ?? NaN), String(losses));
    for (const [name, t] of frozen) assert.equal(net.stateDict().get(name)?.ne(t).sum().item(), 0, name);
    const state = loraStateDict(net);
    assert.equal(
      [...state.keys()].join(),
      "query.lora_a,query.lora_b,value.lora_a,value.lora_b,mlp.2.lora_a,mlp.2.lora_b",
    );
    const trained = net.forward(x).detach();
    const copy = new Map([...state].map(([name, t]) => [name, t.detach().clone()]));
    for (const [, m] of net.namedModules()) if (m instanceof LoRALinear) m.resetParameters();
    assert.equal(net.forward(x).sub(before).abs().max().item(), 0);
    loadLoraStateDict(net, copy);
    assert.equal(net.forward(x).sub(trained).abs().max().item(), 0);
    copy.delete("query.lora_a");
    copy.set("extra", zeros([1]));
    copy.set("value.lora_a", zeros([2, 64]));
    assert.throws(
      () => loadLoraStateDict(net, copy),
      /missing query\.lora_a; value\.lora_a has shape \[2, 64\], expected \[4, 64\]; unexpected extra/,
    );
  });
}

function merging(on: DeviceName): void {
  for (const make of [
    (l: nn.Linear) => l,
    (l: nn.Linear) => Float8Linear.from(l),
    ...FORMATS.map((options) => (l: nn.Linear) => QuantizedLinear.from(l, options)),
  ])
    scope(() => {
      seedEverything(4);
      const base = make(new nn.Linear(64, 64).to(on));
      const layer = new LoRALinear(base, { rank: 4, alpha: 4, dropout: 0.5 });
      layer.loraB.detach().copy_(randn([64, 4]).mul(0.1));
      layer.eval();
      const x = randn([16, 64]).to(on);
      const y = layer.forward(x).detach();
      const weight = layer.mergedWeight();
      layer.merge();
      assert.ok(layer.merged);
      const difference = layer.forward(x).detach().sub(y).norm().item() / y.norm().item();
      assert.ok(difference < (base instanceof nn.Linear ? 1e-5 : 0.2), `${base.constructor.name} ${difference}`);
      assert.throws(() => layer.merge(), { code: "LORA_MERGED" });
      layer.unmerge();
      assert.deepEqual(layer.forward(x).tolist(), y.tolist());
      assert.throws(() => layer.unmerge(), { code: "LORA_NOT_MERGED" });
      const holder = new nn.Sequential(layer);
      assert.equal(mergeLora(holder), 1);
      assert.equal(holder[0]?.constructor, nn.Linear);
      assert.equal((holder[0] as unknown as nn.Linear).weight.sub(weight).abs().max().item(), 0);
      assert.ok(holder.forward(x).sub(y).norm().item() / y.norm().item() < (base instanceof Float8Linear ? 0.1 : 1e-5));
    });
}

export const BODIES: Readonly<Record<string, (on: DeviceName) => void>> = {
  "codes of a device are the CPU's, and decode near the weight in every format, shape and dtype": codes,
  "a quantized layer computes with the weight that its codes stand for, forward and backward, alone, in bfloat16 and under autocast":
    products,
  "a quantized layer moves between devices without a bit lost": moves,
  "adapters: begin as their base, alone learn, are saved and loaded alone": adapters,
  "merge and unmerge: one product instead of three, and back to the last bit": merging,
};
