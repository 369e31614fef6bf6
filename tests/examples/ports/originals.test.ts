/** Ports at their originals' sizes: their weights have the originals' numbers, names and shapes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { isTensor, noGrad, randn, type nn } from "@nbit/torch";
import { Discriminator, Generator } from "nbit-examples/dcgan/model";
import { TransformerNet } from "nbit-examples/neural-style/transformer-net";
import { Net } from "nbit-examples/super-resolution/model";
import { UNet } from "nbit-examples/unet/unet";
import { VAE } from "nbit-examples/vae/model";

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
