/**
 * The training steps of programs that were moved from PyTorch (`examples/`), small. What they draw in a step (noise, times)
 * comes with the batch here, and dropout is off, so that both sides compute the same.
 */
import { amp, arange, cat, full, nn, optim, rand, randint, randn, type Tensor, zeros } from "@nbit/torch";
import { Discriminator, Generator, weightsInit } from "nbit-examples/dcgan/model";
import { GaussianDiffusion } from "nbit-examples/ddpm/diffusion";
import { Unet } from "nbit-examples/ddpm/unet";
import { GAT } from "nbit-examples/graphs/gat";
import { GCN } from "nbit-examples/graphs/gcn";
import { Net as DigitRows } from "nbit-examples/mnist-rnn/model";
import { GPT } from "nbit-examples/nanogpt/model";
import { Features } from "nbit-examples/neural-style/features";
import { TransformerNet } from "nbit-examples/neural-style/transformer-net";
import { Net as SuperResolution } from "nbit-examples/super-resolution/model";
import { AttnDecoderRNN, EncoderRNN } from "nbit-examples/translation/model";
import { diceLoss } from "nbit-examples/unet/dice";
import { UNet } from "nbit-examples/unet/unet";
import { lossFunction, VAE } from "nbit-examples/vae/model";
import { ViT } from "nbit-examples/vit/model";
import { RNNModel, TransformerModel } from "nbit-examples/word-language-model/model";
import { taskOf, type Task } from "./five-steps.js";

const F = nn.functional;
type Batch = readonly Tensor[];
const at = (batch: Batch, i: number): Tensor => batch[i] as Tensor;

/** Without dropout: other modules train. */
function steady<Net extends nn.Module>(net: Net): Net {
  for (const module of net.modules()) if (module instanceof nn.Dropout) module.eval();
  return net;
}
const adam =
  (options: optim.AdamOptions = {}) =>
  (p: Batch): optim.Optimizer =>
    new optim.Adam(p, { fused: true, ...options });

/** Two networks of one step, as one module. */
class Pair<A extends nn.Module, B extends nn.Module> extends nn.Module {
  constructor(
    readonly first: A,
    readonly second: B,
  ) {
    super();
  }
  override forward(): never {
    throw new Error("each of the two is called by itself");
  }
}
const pair = <A extends nn.Module, B extends nn.Module>(first: A, second: B): Pair<A, B> => new Pair(first, second);

/** Cross entropy of probabilities, outside autocast. */
const judged = (found: Tensor, label: number): Tensor =>
  amp.autocast({ enabled: false }, () => F.binaryCrossEntropy(found, full([found.size(0)], label)));
const edges = (nodes: number): Tensor => cat([randint(0, nodes, [2, 40]), arange(nodes).unsqueeze(0).expand(2, -1)], 1);
const planes = (masks: Tensor): Tensor => F.oneHot(masks, 2).permute(0, 3, 1, 2).float();
function gram(y: Tensor): Tensor {
  const [b = 0, ch = 0, h = 0, w = 0] = y.size();
  const features = y.view(b, ch, w * h);
  return features.bmm(features.transpose(1, 2)).div(ch * h * w);
}

export const PORTS: Readonly<Record<string, Task>> = {
  vae: taskOf({
    net: () => new VAE(),
    batch: () => [rand([4, 784]), randn([4, 20])],
    loss: (net, batch) => {
      const [mu, logvar] = net.encode(at(batch, 0));
      const z = at(batch, 1).mul(logvar.mul(0.5).exp()).add(mu);
      return lossFunction(net.decode(z), at(batch, 0), mu.float(), logvar.float()).div(784);
    },
    optimizer: adam(),
  }),
  "dcgan, discriminator and generator": taskOf({
    net: () => pair(new Generator(8, 4, 1).apply(weightsInit), new Discriminator(4, 1).apply(weightsInit)),
    batch: () => [randn([4, 1, 64, 64]), randn([4, 8, 1, 1])],
    loss: ({ first: generator, second: discriminator }, batch) => {
      const fake = generator.call(at(batch, 1));
      const real = judged(discriminator.call(at(batch, 0)), 1);
      return real.add(judged(discriminator.call(fake.detach()), 0)).add(judged(discriminator.call(fake), 1));
    },
    optimizer: (p) => new optim.SGD(p, { lr: 1e-3, momentum: 0.9, fused: true }),
  }),
  ddpm: taskOf({
    net: () => new GaussianDiffusion(new Unet(8, 1), 8, 1, 50),
    batch: () => [rand([2, 1, 8, 8]), randint(0, 50, [2]), randn([2, 1, 8, 8])],
    loss: (net, batch) => {
      const [t, noise] = [at(batch, 1), at(batch, 2)];
      return F.mseLoss(net.model.call(net.qSample(at(batch, 0).mul(2).sub(1), t, noise), t), noise);
    },
    optimizer: adam({ betas: [0.9, 0.99] }),
    clip: (p) => nn.utils.clipGradNorm_(p, 1),
  }),
  unet: taskOf({
    net: () => new UNet(3, 2, false, 4).to({ memoryFormat: "channelsLast" }),
    batch: () => [rand([2, 3, 38, 38]), randint(0, 2, [2, 38, 38])],
    loss: (net, batch) => {
      const found = net.call(at(batch, 0).to({ memoryFormat: "channelsLast" }));
      const masks = at(batch, 1);
      return F.crossEntropy(found, masks).add(diceLoss(F.softmax(found, 1).float(), planes(masks)));
    },
    optimizer: (p) => new optim.RMSprop(p, { lr: 3e-4, weightDecay: 1e-8, momentum: 0.9, foreach: true }),
    constantRate: true,
    clip: (p) => nn.utils.clipGradNorm_(p, 1),
  }),
  vit: taskOf({
    net: () =>
      steady(
        new ViT({ imageSize: 28, patchSize: 7, numClasses: 10, dim: 16, depth: 2, heads: 2, mlpDim: 32, channels: 1 }),
      ),
    batch: () => [rand([4, 1, 28, 28]), randint(0, 10, [4])],
    loss: (net, batch) => F.crossEntropy(net.call(at(batch, 0)), at(batch, 1)),
    // Adam would make whole steps of the bias of keys, whose gradient is rounding alone.
    optimizer: (p) => new optim.SGD(p, { lr: 1e-2, momentum: 0.9, fused: true }),
  }),
  gcn: taskOf({
    net: () => steady(new GCN(12, 8, 3)),
    batch: () => [rand([10, 12]), edges(10), randint(0, 3, [6])],
    loss: (net, batch) => F.nllLoss(net.call(at(batch, 0), at(batch, 1)).narrow(0, 0, 6), at(batch, 2)),
    optimizer: adam({ weightDecay: 5e-4 }),
  }),
  gat: taskOf({
    net: () => steady(new GAT(12, 4, 2, 3)),
    batch: () => [rand([10, 12]), edges(10), randint(0, 3, [6])],
    loss: (net, batch) => F.nllLoss(net.call(at(batch, 0), at(batch, 1)).narrow(0, 0, 6), at(batch, 2)),
    optimizer: adam({ weightDecay: 5e-4 }),
  }),
  nanogpt: taskOf({
    net: () => new GPT({ blockSize: 8, vocabSize: 17, nLayer: 2, nHead: 2, nEmbd: 16, dropout: 0, bias: false }),
    batch: () => [randint(0, 17, [4, 8]), randint(0, 17, [4, 8])],
    loss: (net, batch) => net.call(at(batch, 0), at(batch, 1))[1],
    accumulate: 2,
    clip: (p) => nn.utils.clipGradNorm_(p, 1),
  }),
  "super-resolution": taskOf({
    net: () => new SuperResolution(3),
    batch: () => [rand([2, 1, 8, 8]), rand([2, 1, 24, 24])],
    loss: (net, batch) => F.mseLoss(net.call(at(batch, 0)), at(batch, 1)),
    optimizer: adam(),
  }),
  "neural style": taskOf({
    net: () => pair(new TransformerNet(2), new Features(4)),
    batch: () => [rand([2, 3, 24, 24]), rand([2, 3, 24, 24])],
    loss: ({ first: painter, second: features }, batch) => {
      const [painted, content] = [features.call(painter.call(at(batch, 0))), features.call(at(batch, 0))];
      const style = features.call(at(batch, 1));
      const styles = (["relu12", "relu22", "relu33"] as const).map((name) =>
        F.mseLoss(gram(painted[name]), gram(style[name])),
      );
      return styles
        .reduce((a, b) => a.add(b))
        .mul(1e3)
        .add(F.mseLoss(painted.relu22, content.relu22));
    },
    optimizer: (p) => new optim.SGD(p, { lr: 1e-4, momentum: 0.9, fused: true }),
  }),
  "word language model, LSTM": taskOf({
    net: () => steady(new RNNModel("LSTM", 20, 8, 8, 2, 0, true)),
    batch: () => [randint(0, 20, [5, 3]), randint(0, 20, [15])],
    loss: (net, batch) => F.nllLoss(net.call(at(batch, 0), [zeros(2, 3, 8), zeros(2, 3, 8)])[0], at(batch, 1)),
    optimizer: (p) => new optim.SGD(p, { lr: 5, fused: true }),
    clip: (p) => nn.utils.clipGradNorm_(p, 0.25),
  }),
  "word language model, transformer": taskOf({
    net: () => steady(new TransformerModel(20, 8, 2, 8, 2, 0)),
    batch: () => [randint(0, 20, [5, 3]), randint(0, 20, [15])],
    loss: (net, batch) => F.nllLoss(net.call(at(batch, 0)), at(batch, 1)),
    optimizer: (p) => new optim.SGD(p, { lr: 5, fused: true }),
    clip: (p) => nn.utils.clipGradNorm_(p, 0.25),
  }),
  translation: taskOf({
    net: () => steady(pair(new EncoderRNN(14, 8), new AttnDecoderRNN(8, 15))),
    batch: () => [randint(0, 14, [3, 8]), randint(0, 15, [3, 8])],
    loss: ({ first: encoder, second: decoder }, batch) => {
      const [outputs, hidden] = encoder.call(at(batch, 0));
      const [found] = decoder.call(outputs, hidden, at(batch, 1));
      return F.nllLoss(found.view(-1, 15), at(batch, 1).view(-1));
    },
    // As above: of a bias before a softmax.
    optimizer: (p) => new optim.SGD(p, { lr: 0.05, momentum: 0.9, fused: true }),
  }),
  "mnist-rnn": taskOf({
    net: () => steady(new DigitRows()),
    batch: () => [rand([4, 1, 28, 28]), randint(0, 10, [4])],
    loss: (net, batch) => F.nllLoss(net.call(at(batch, 0)).float(), at(batch, 1)),
    optimizer: (p) => new optim.Adadelta(p, { lr: 0.1 }),
    constantRate: true,
  }),
};
