import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { AdEMAMix8bit, Adam32bit, Adam4bit, Adam8bit, fromBitsandbytes } from "@nbit/lowbit";
import { loadSafetensors, nn, randn, SafetensorsFile, seedEverything, tensor, type Tensor } from "@nbit/torch";

const path = join(fileURLToPath(new URL("../../lowbit/fixtures", import.meta.url)), "upstream-adam8bit.safetensors");
const tensors = loadSafetensors(path);
const groups = JSON.parse(SafetensorsFile.open(path).metadata["param_groups"] ?? "[]") as Record<string, unknown>[];
const parameters = (): Tensor[] => [new nn.Parameter(randn([64, 70])), new nn.Parameter(randn([33]))];

test("a state dict of bitsandbytes is read: codes bit for bit, options by our names", () => {
  seedEverything(1);
  const params = parameters();
  const o = new Adam8bit(params);
  o.loadStateDict(fromBitsandbytes(tensors, groups));
  const [big, small] = params.map((p) => o.state.get(p) ?? {});
  for (const name of ["state1", "state2", "absmax1", "absmax2"])
    assert.ok((big?.[name] as Tensor).equal(tensors[`state.0.${name}`] as Tensor), name);
  assert.ok((small?.["state2"] as Tensor).equal(tensors["state.1.state2"] as Tensor));
  assert.equal(big?.["step"], 7);
  const { lr, betas, eps, weightDecay } = o.paramGroups[0] ?? {};
  assert.deepEqual({ lr, betas, eps, weightDecay }, { lr: 0.002, betas: [0.8, 0.95], eps: 1e-7, weightDecay: 0.1 });
  for (const p of params) p.grad = randn([...p.shape]);
  o.step();
  assert.equal(o.state.get(params[0] as Tensor)?.["step"], 8);
});

test("state of bitsandbytes loads into 32 bits, from there back into the same codes, and into 4 bits", () => {
  const params = parameters();
  const wide = new Adam32bit(params);
  wide.loadStateDict(fromBitsandbytes(tensors, groups));
  for (const k of [1, 2]) {
    const d = (wide.state.get(params[0] as Tensor)?.[`state${k}`] as Tensor)
      .sub(tensors[`expected.0.${k}`] as Tensor)
      .abs()
      .max()
      .item();
    assert.ok(d < 1e-8, `state${k}: ${d}`);
  }
  const again = parameters();
  const back = new Adam8bit(again);
  back.loadStateDict(wide.stateDict());
  assert.ok((back.state.get(again[0] as Tensor)?.["state1"] as Tensor).equal(tensors["state.0.state1"] as Tensor));
  const few = parameters();
  const four = new Adam4bit(few);
  four.loadStateDict(wide.stateDict());
  const fewer = parameters();
  const eight = new Adam8bit(fewer);
  eight.loadStateDict(four.stateDict());
  const kept = new Adam32bit(parameters());
  kept.loadStateDict(eight.stateDict());
  const m = kept.state.get(kept.paramGroups[0]?.params[0] as Tensor)?.["state1"] as Tensor;
  assert.ok(
    m
      .sub(tensors["expected.0.1"] as Tensor)
      .abs()
      .mean()
      .item() < 0.0025,
  );
});

test("nested dicts and AdEMAMix's stacked averages are read, and what does not fit is refused", () => {
  const p = new nn.Parameter(randn([3, 4]));
  const o = new AdEMAMix8bit([p]);
  const stacked = tensor([[...Array(12).keys()], [...Array(12).keys()].map((i) => i + 100)])
    .view([2, 3, 4])
    .float();
  const nested = {
    state: { 0: { step: 3, __bnb_optimizer_quant_state__: { state1: stacked, state2: p.detach().mul(p) } } },
    param_groups: [{ lr: 0.5, betas: [0.9, 0.99, 0.999], params: [0] }],
  };
  o.loadStateDict(fromBitsandbytes(nested));
  assert.deepEqual(
    (o.state.get(p)?.["state2"] as Tensor).view([-1]).tolist(),
    [...Array(12).keys()].map((i) => i + 100),
  );
  assert.equal(o.paramGroups[0]?.["beta3"], 0.999);
  assert.throws(() => fromBitsandbytes({}), /fromBitsandbytes: expected a state dict with state and param_groups/);
  const wrong = new Adam8bit([new nn.Parameter(randn([64, 71])), new nn.Parameter(randn([33]))]);
  assert.throws(() => wrong.loadStateDict(fromBitsandbytes(tensors, groups)), { code: "OPTIMIZER_STATE" });
});
