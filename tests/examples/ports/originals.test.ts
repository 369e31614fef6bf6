/** Ports at their originals' sizes: their weights have the originals' numbers, names and shapes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { isTensor, noGrad, ones, randn, type nn } from "@nbit/torch";
import { Discriminator, Generator } from "nbit-examples/dcgan/model";
import { GPT } from "nbit-examples/nanogpt/model";
import { TransformerNet } from "nbit-examples/neural-style/transformer-net";
import { AttnDecoderRNN, EncoderRNN } from "nbit-examples/translation/model";
import { Net } from "nbit-examples/super-resolution/model";
import { UNet } from "nbit-examples/unet/unet";
import { VAE } from "nbit-examples/vae/model";
import { RNNModel, TransformerModel } from "nbit-examples/word-language-model/model";

/** Shapes of some weights by the keys that files of the originals have. */
function has(module: nn.Module, parameters: number, shapes: Readonly<Record<string, readonly number[]>>): void {
  const state = module.stateDict();
  assert.equal(
    module.parameters().reduce((sum, p) => sum + p.numel(), 0),
    parameters,
  );
  for (const [key, shape] of Object.entries(shapes)) assert.deepEqual(state.get(key)?.shape, shape, key);
}

test("VAE", () => has(new VAE(), 652_824, { "fc21.weight": [20, 400], "fc4.bias": [784] }));

test("DCGAN", () => {
  has(new Generator(100, 64, 3), 3_576_704, { "main.0.weight": [100, 512, 4, 4], "main.10.running_var": [64] });
  has(new Discriminator(64, 3), 2_765_568, { "main.2.weight": [128, 64, 4, 4], "main.11.weight": [1, 512, 4, 4] });
});

test("super-resolution", () => has(new Net(3), 59_657, { "conv4.weight": [9, 32, 3, 3] }));

test("neural style", () =>
  has(new TransformerNet(), 1_679_235, {
    "conv1.conv2d.weight": [32, 3, 9, 9],
    "res5.in2.weight": [128],
    "deconv3.conv2d.bias": [3],
  }));

test("U-Net, with transposed convolutions and with bilinear enlarging, at sizes that do not divide by 16", () => {
  has(new UNet(3, 2), 31_037_698, {
    "inc.double_conv.0.weight": [64, 3, 3, 3],
    "down4.maxpool_conv.1.double_conv.4.running_mean": [1024],
    "up1.up.weight": [1024, 512, 2, 2],
    "outc.conv.bias": [2],
  });
  has(new UNet(3, 2, true), 17_263_042, { "up1.conv.double_conv.0.weight": [512, 1024, 3, 3] });
  for (const bilinear of [false, true]) {
    const logits: unknown = noGrad(() => new UNet(3, 2, bilinear, 4).eval().forward(randn(1, 3, 37, 50)));
    assert.ok(isTensor(logits));
    assert.deepEqual(logits.shape, [1, 2, 37, 50]);
  }
});

test("word language models", () => {
  has(new RNNModel("LSTM", 33_278, 200, 200, 2, 0.2, true), 7_332_078, {
    "encoder.weight": [33_278, 200],
    "rnn.weight_hh_l1": [800, 200],
    "decoder.weight": [33_278, 200],
  });
  has(new TransformerModel(33_278, 200, 2, 200, 2, 0.2), 13_828_878, {
    "pos_encoder.pe": [5000, 1, 200],
    "encoder.layers.1.self_attn.in_proj_weight": [600, 200],
    "encoder.norm.bias": [200],
    "input_emb.weight": [33_278, 200],
  });
});

test("translation", () => {
  has(new EncoderRNN(4601, 128), 688_000, { "gru.weight_ih_l0": [384, 128] });
  has(new AttnDecoderRNN(128, 2991), 950_064, { "attention.Va.weight": [1, 128], "gru.weight_ih_l0": [384, 256] });
});

test("nanoGPT: on Shakespeare's characters, and words that it writes", () => {
  const gpt = new GPT({ nLayer: 6, nHead: 6, nEmbd: 384, blockSize: 256, vocabSize: 65, bias: false, dropout: 0.2 });
  assert.equal(gpt.getNumParams(), 10_646_784);
  has(gpt, 10_745_088, { "transformer.h.5.attn.c_attn.weight": [1152, 384], "lm_head.weight": [65, 384] });
  assert.equal(
    [...gpt.stateDict().keys()].slice(2, 4).join(" "),
    "transformer.h.0.ln_1.weight transformer.h.0.attn.c_attn.weight",
  );
  const small = new GPT({ nLayer: 1, nHead: 2, nEmbd: 8, blockSize: 4, vocabSize: 5, bias: true, dropout: 0 }).eval();
  const start = ones([2, 1], { dtype: "int64" });
  const written = small.generate(start, 6, 0.8, 2);
  assert.deepEqual(written.shape, [2, 7]);
  assert.ok(written.narrow(1, 0, 1).equal(start));
});
