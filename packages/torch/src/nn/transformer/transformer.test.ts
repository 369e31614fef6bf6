import assert from "node:assert/strict";
import { test } from "node:test";
import { ArgumentError, nn, noGrad, ones, randn, tensor, tril, zeros, type Tensor } from "../../index.js";

const keys = (module: nn.Module): string[] => [...module.stateDict().keys()];
const layer = (options = {}): nn.TransformerEncoderLayer =>
  new nn.TransformerEncoderLayer(8, 2, { dimFeedforward: 12, dropout: 0, ...options });

test("keys", () => {
  assert.deepEqual(keys(new nn.MultiheadAttention(4, 2, { addBiasKv: true })), [
    "in_proj_weight",
    "in_proj_bias",
    "bias_k",
    "bias_v",
    "out_proj.weight",
    "out_proj.bias",
  ]);
  assert.deepEqual(keys(new nn.MultiheadAttention(4, 2, { kdim: 3, bias: false })), [
    "q_proj_weight",
    "k_proj_weight",
    "v_proj_weight",
    "out_proj.weight",
  ]);
  const decoder = keys(new nn.TransformerDecoderLayer(8, 2, 12));
  assert.deepEqual(
    [...new Set(decoder.map((key) => key.split(".")[0]))],
    ["self_attn", "multihead_attn", "linear1", "linear2", "norm1", "norm2", "norm3"],
  );
  const model = new nn.Transformer({
    dModel: 8,
    nhead: 2,
    numEncoderLayers: 1,
    numDecoderLayers: 2,
    dimFeedforward: 12,
  });
  assert.ok(keys(model).includes("decoder.layers.1.multihead_attn.out_proj.bias"));
  assert.ok(keys(model).includes("encoder.norm.weight"));
  assert.match(
    String(model),
    /\(out_proj\): NonDynamicallyQuantizableLinear\(in_features=8, out_features=8, bias=True\)/,
  );
});

test("layers of a stack begin with equal weights, and are of their own", () => {
  const encoder = new nn.TransformerEncoder(layer(), 3, new nn.LayerNorm(8), false);
  const [first, second] = [encoder.layers[0], encoder.layers[1]] as nn.TransformerEncoderLayer[];
  assert.ok(first?.linear1.weight.equal(second?.linear1.weight as Tensor));
  assert.notEqual(first?.linear1.weight, second?.linear1.weight);
  assert.equal(encoder.numLayers, 3);
  const transformer = new nn.Transformer(8, 2, 2, 1, 12);
  const layers = transformer.encoder as nn.TransformerEncoder;
  const [a, b] = [layers.layers[0], layers.layers[1]] as nn.TransformerEncoderLayer[];
  assert.ok(!a?.linear1.weight.equal(b?.linear1.weight as Tensor), "the transformer draws them anew");
});

test("an activation that is a layer is one of the module's; functions are copied by reference", () => {
  const own = layer({ activation: new nn.PReLU() });
  assert.ok(keys(own).includes("activation.weight"));
  const tanh = (x: Tensor): Tensor => x.tanh();
  const encoder = new nn.TransformerEncoder(layer({ activation: tanh }), 2);
  assert.equal((encoder.layers[1] as nn.TransformerEncoderLayer).activation, tanh);
});

test("masks of every kind mean the same", () => {
  const attention = new nn.MultiheadAttention(8, 2, { batchFirst: true });
  const x = randn([3, 4, 8]);
  const seen = tril(ones([4, 4])).bool();
  const hidden = seen.logicalNot();
  const added = nn.Transformer.generateSquareSubsequentMask(4);
  assert.deepEqual(added.eq(0).tolist(), seen.tolist());
  const [expected, weights] = attention.forward(x, x, x, null, true, hidden);
  assert.deepEqual(weights?.shape, [3, 4, 4]);
  for (const options of [
    { attnMask: added },
    { attnMask: hidden, isCausal: true },
    { attnMask: hidden, needWeights: false },
    { attnMask: added, needWeights: false, isCausal: true },
    { attnMask: added.expand([6, 4, 4]), needWeights: false },
    { attnMask: hidden, keyPaddingMask: zeros([3, 4]).bool(), isCausal: true, needWeights: false },
  ]) {
    const [output, none] = attention.forward(x, x, x, options);
    assert.ok(output.allclose(expected, 1e-4, 1e-5), JSON.stringify(Object.keys(options)));
    assert.equal(none === null, options.needWeights === false);
  }
});

test("an encoder finds a causal mask, whatever its dtype", () => {
  const encoder = new nn.TransformerEncoder(layer({ batchFirst: true }), 2);
  const x = randn([2, 5, 8]);
  const mask = nn.Transformer.generateSquareSubsequentMask(5);
  const bool = mask.ne(0);
  const expected = encoder.forward(x, { mask, isCausal: true });
  for (const each of [mask, bool]) assert.ok(encoder.forward(x, each).allclose(expected, 1e-4, 1e-5));
  const calls: unknown[] = [];
  (encoder.layers[0] as nn.Module).registerForwardPreHook(
    (_, args) => void calls.push((args[1] as { isCausal: boolean }).isCausal),
  );
  encoder.forward(x, mask);
  encoder.forward(x, bool.logicalNot());
  encoder.forward(x);
  encoder.forward(x, mask, null, false);
  assert.deepEqual(calls, [true, false, false, false]);
});

test("padded positions come out as PyTorch leaves them", () => {
  const encoder = new nn.TransformerEncoder(layer({ batchFirst: true }), 2).eval();
  const x = randn([2, 3, 8]);
  const padding = tensor([
    [false, false, true],
    [false, false, false],
  ]);
  const zero = (y: Tensor): boolean => y.select(0, 0).select(0, 2).eq(0).all().item() === 1;
  assert.ok(zero(noGrad(() => encoder.forward(x, { srcKeyPaddingMask: padding }))));
  assert.ok(!zero(encoder.forward(x, { srcKeyPaddingMask: padding })), "not where gradients are needed");
  const inFront = tensor([
    [true, false, false],
    [false, false, false],
  ]);
  const first = noGrad(() => encoder.forward(x, { srcKeyPaddingMask: inFront }));
  assert.ok(first.select(0, 0).select(0, 0).ne(0).any().item() === 1, "nor where padding stands in front");
});

test("a subclass may put a head in the decoder's place, as PyTorch's language model does", () => {
  class Model extends nn.Transformer {
    declare decoder: nn.Linear;
    embedding = new nn.Embedding(10, 8);
    constructor() {
      super({ dModel: 8, nhead: 2, dimFeedforward: 12, numEncoderLayers: 1 });
      this.decoder = new nn.Linear(8, 10, { bias: false });
      this.decoder.weight = this.embedding.weight;
    }
    predict(tokens: Tensor): Tensor {
      const mask = nn.Transformer.generateSquareSubsequentMask(tokens.size(0));
      return this.decoder.forward(this.encoder.forward(this.embedding.forward(tokens), { mask }));
    }
  }
  const model = new Model();
  assert.deepEqual(model.predict(tensor([[1], [2], [3]], { dtype: "int64" })).shape, [3, 1, 10]);
  assert.deepEqual(keys(model).slice(-2), ["decoder.weight", "embedding.weight"]);
});

const q = randn([4, 2, 8]);
const attention = new nn.MultiheadAttention(8, 2);
const REFUSED: readonly (readonly [RegExp, () => unknown])[] = [
  [/^MultiheadAttention: expected embedDim \(8\) to be divisible by numHeads/, () => new nn.MultiheadAttention(8, 3)],
  [/^MultiheadAttention: expected embedDim to be a whole number ≥ 1/, () => new nn.MultiheadAttention(0, 1)],
  [/expected a query of 3 dimensions, or 2 without a batch/, () => attention.forward(randn([8]), q, q)],
  [/expected key to have 3 dimensions/, () => attention.forward(q, randn([4, 8]), q)],
  [/expected key and value of one shape/, () => attention.forward(q, q, randn([5, 2, 8]))],
  [/expected key and value of the query's batch \(2\)/, () => attention.forward(q, randn([4, 3, 8]), randn([4, 3, 8]))],
  [/expected a query of 8 features/, () => attention.forward(randn([4, 2, 6]), q, q)],
  [/expected keyPaddingMask of 2 dimensions/, () => attention.forward(q, q, q, zeros([4]).bool())],
  [/expected keyPaddingMask of shape \[2, 4\]/, () => attention.forward(q, q, q, zeros([2, 5]).bool())],
  [/expected attnMask of shape \[4, 4\]/, () => attention.forward(q, q, q, { attnMask: zeros([5, 4]) })],
  [/expected attnMask of shape \[4, 4, 4\]/, () => attention.forward(q, q, q, { attnMask: zeros([2, 4, 4]) })],
  [
    /expected attnMask to be bool or in floating point/,
    () => attention.forward(q, q, q, { attnMask: zeros([4, 4]).long() }),
  ],
  [/expected attnMask where isCausal is true/, () => attention.forward(q, q, q, { isCausal: true })],
  [/expected activation to be one of relu, gelu, or a function or a layer/, () => layer({ activation: "tanh" })],
  [
    /^Transformer\.forward: expected tgt of the batch of src \(2\)/,
    () => new nn.Transformer(8, 2, 1, 1, 8).forward(q, randn([4, 3, 8])),
  ],
  [
    /^Transformer\.forward: expected src of dModel features \(8\)/,
    () => new nn.Transformer(8, 2, 1, 1, 8).forward(randn([4, 2, 6]), q),
  ],
];
for (const [message, run] of REFUSED)
  test(`refused: ${message.source}`, () => {
    assert.throws(run, (error) => error instanceof ArgumentError && message.test(error.message));
  });
