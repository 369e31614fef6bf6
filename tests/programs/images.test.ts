/** What programs of docs/programs.md that are no examples do at their core: those over images and sound. They learn, small. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@nbit/torch";
import { manualSeed, nn, optim, type Tensor } from "@nbit/torch";
import { falls } from "./learns.js";

test("15, Siamese network: one ResNet for both images, their pair through a classifier, BCE, StepLR or Adadelta", () => {
  manualSeed(3);
  class BasicBlock extends nn.Module {
    readonly conv1: nn.Conv2d;
    readonly bn1: nn.BatchNorm2d;
    readonly downsample: nn.Sequential;
    constructor(inplanes: number, planes: number, stride: number) {
      super();
      this.conv1 = new nn.Conv2d(inplanes, planes, { kernelSize: 3, stride, padding: 1, bias: false });
      this.bn1 = new nn.BatchNorm2d(planes);
      this.downsample = new nn.Sequential(
        new nn.Conv2d(inplanes, planes, 1, { stride, bias: false }),
        new nn.BatchNorm2d(planes),
      );
    }
    forward(x: Tensor): Tensor {
      return nn.functional.relu(this.bn1.forward(this.conv1.forward(x)).add(this.downsample.forward(x) as Tensor));
    }
  }
  class SiameseNetwork extends nn.Module {
    readonly resnet = new nn.Sequential(new BasicBlock(1, 4, 2), new BasicBlock(4, 8, 2), new nn.AdaptiveAvgPool2d(1));
    readonly fc = new nn.Sequential(new nn.Linear(16, 16), new nn.ReLU({ inplace: true }), new nn.Linear(16, 1));
    readonly sigmoid = new nn.Sigmoid();
    constructor() {
      super();
      this.fc.apply((m) => {
        if (!(m instanceof nn.Linear)) return;
        nn.init.xavierUniform_(m.weight);
        m.bias?.data.fill_(0.01);
      });
    }
    forwardOnce(x: Tensor): Tensor {
      const output = this.resnet.forward(x) as Tensor;
      return output.view([output.size(0), -1]);
    }
    forward(a: Tensor, b: Tensor): Tensor {
      return this.sigmoid.forward(this.fc.forward(torch.cat([this.forwardOnce(a), this.forwardOnce(b)], 1)) as Tensor);
    }
  }
  const model = new SiameseNetwork();
  const optimizer = new optim.Adadelta(model.parameters(), { lr: 1 });
  const scheduler = new optim.lrScheduler.StepLR(optimizer, { stepSize: 20, gamma: 0.9 });
  const criterion = new nn.BCELoss();
  const [a, other] = [torch.randn([8, 1, 8, 8]), torch.randn([8, 1, 8, 8])];
  const same = torch.arange(8).remainder(2).to("float32");
  const b = torch.where(same.view([8, 1, 1, 1]).eq(1), a, other);
  falls(60, 0.3, () => {
    optimizer.zeroGrad();
    const loss = criterion.forward(model.forward(a, b).squeeze(), same);
    loss.backward();
    optimizer.step();
    scheduler.step();
    return loss;
  });
});

test("28, CIFAR-10: a pre-activation ResNet with SGD, momentum, weight decay and a cosine", () => {
  manualSeed(4);
  class Block extends nn.Module {
    readonly bn1: nn.BatchNorm2d;
    readonly conv1: nn.Conv2d;
    readonly bn2: nn.BatchNorm2d;
    readonly conv2: nn.Conv2d;
    readonly shortcut: nn.Sequential | null;
    constructor(inPlanes: number, planes: number, stride = 1) {
      super();
      this.bn1 = new nn.BatchNorm2d(inPlanes);
      this.conv1 = new nn.Conv2d(inPlanes, planes, { kernelSize: 3, stride, padding: 1, bias: false });
      this.bn2 = new nn.BatchNorm2d(planes);
      this.conv2 = new nn.Conv2d(planes, planes, { kernelSize: 3, stride: 1, padding: 1, bias: false });
      this.shortcut =
        stride !== 1 || inPlanes !== planes
          ? new nn.Sequential(new nn.Conv2d(inPlanes, planes, { kernelSize: 1, stride, bias: false }))
          : null;
    }
    forward(x: Tensor): Tensor {
      const out = nn.functional.relu(this.bn1.forward(x));
      const beside = this.shortcut === null ? x : (this.shortcut.forward(out) as Tensor);
      return this.conv2.forward(nn.functional.relu(this.bn2.forward(this.conv1.forward(out)))).add(beside);
    }
  }
  const net = new nn.Sequential(
    new nn.Conv2d(3, 8, { kernelSize: 3, padding: 1, bias: false }),
    new Block(8, 8),
    new Block(8, 16, 2),
    new nn.AvgPool2d(4),
    new nn.Flatten(),
    new nn.Linear(16, 10),
  );
  const [inputs, targets] = [torch.randn([20, 3, 8, 8]), torch.arange(20).remainder(10)];
  const optimizer = new optim.SGD(net.parameters(), { lr: 0.05, momentum: 0.9, weightDecay: 5e-4 });
  const scheduler = new optim.lrScheduler.CosineAnnealingLR(optimizer, { TMax: 200 });
  net.train();
  falls(40, 0.3, () => {
    optimizer.zeroGrad();
    const loss = new nn.CrossEntropyLoss().forward(net.forward(inputs) as Tensor, targets);
    loss.backward();
    optimizer.step();
    scheduler.step();
    return loss;
  });
  const [, predicted] = torch.noGrad(() => (net.forward(inputs) as Tensor).max(1)) as unknown as [Tensor, Tensor];
  assert.ok(predicted.eq(targets).sum().item() > 10);
});

test("31, airbench94: an optimizer of one's own with Newton–Schulz, half precision by channels last, whitened first layer", () => {
  manualSeed(5);
  const orthogonalized = (G: Tensor): Tensor => {
    const [a, b, c] = [3.4445, -4.775, 2.0315];
    let X = G.bfloat16();
    X = X.div(X.norm().add(1e-7));
    const tall = G.size(0) > G.size(1);
    if (tall) X = X.T;
    for (let i = 0; i < 3; i++) {
      const A = X.matmul(X.T);
      X = X.mul(a).add(A.mul(b).add(A.matmul(A).mul(c)).matmul(X));
    }
    return tall ? X.T : X;
  };
  class Muon extends optim.Optimizer {
    constructor(params: Iterable<nn.Parameter>, { lr = 1e-3, momentum = 0.6 } = {}) {
      super(params, { lr, momentum });
    }
    override step(): null {
      torch.noGrad(() => {
        for (const group of this.paramGroups)
          for (const p of group.params) {
            const g = p.grad;
            if (g === null) continue;
            const state = this.state.get(p) ?? {};
            const buffer = (state["momentumBuffer"] as Tensor | undefined) ?? torch.keep(torch.zerosLike(g));
            buffer.mul_(group["momentum"] as number).add_(g);
            this.state.set(p, { ...state, momentumBuffer: buffer });
            p.data.mul_(
              p.data
                .norm()
                .reciprocal()
                .mul(Math.sqrt(p.size(0))),
            );
            const update = orthogonalized(
              g.add(buffer, { alpha: group["momentum"] as number }).reshape([g.size(0), -1]),
            );
            p.data.add_(update.view(g.shape).to(p.dtype), { alpha: -group.lr });
          }
      });
      return null;
    }
  }
  const whiten = new nn.Conv2d(3, 24, { kernelSize: 2, padding: 0, bias: true });
  whiten.weight.requiresGrad = false;
  const net = new nn.Sequential(
    whiten,
    new nn.GELU(),
    new nn.Conv2d(24, 16, { kernelSize: 3, padding: 1, bias: false }),
    new nn.BatchNorm2d(16),
    new nn.GELU(),
    new nn.AdaptiveMaxPool2d(1),
    new nn.Flatten(),
    new nn.Linear(16, 4, { bias: false }),
  );
  net.to({ memoryFormat: "channelsLast" });
  torch.compile(net);
  const [inputs, labels] = [torch.randn([16, 3, 8, 8]), torch.arange(16).remainder(4)];
  const filters = net.parameters().filter((p) => p.ndim === 4 && p.requiresGrad);
  const others = net.parameters().filter((p) => p.ndim !== 4 && p.requiresGrad);
  const optimizers = [
    new Muon(filters, { lr: 0.1, momentum: 0.6 }),
    new optim.SGD(others, { lr: 0.01, momentum: 0.85, nesterov: true }),
  ];
  falls(40, 0.5, () => {
    const loss = nn.functional.crossEntropy(net.forward(inputs) as Tensor, labels, {
      labelSmoothing: 0.0,
      reduction: "sum",
    });
    loss.backward();
    for (const each of optimizers) each.step();
    net.zeroGrad({ setToNone: true });
    return loss;
  });
});

test("32, ViT with a loss of decorrelation: patches by rearrange, tokens sampled, covariance of layers", () => {
  manualSeed(6);
  const [dim, heads] = [16, 2];
  class Attention extends nn.Module {
    readonly norm = new nn.LayerNorm(dim);
    readonly toQkv = new nn.Linear(dim, dim * 3, { bias: false });
    readonly toOut = new nn.Linear(dim, dim);
    forward(x: Tensor): [Tensor, Tensor] {
      const normed = this.norm.forward(x);
      const [q, k, v] = this.toQkv
        .forward(normed)
        .chunk(3, -1)
        .map((t) => torch.func.rearrange(t, "b n (h d) -> b h n d", { h: heads })) as [Tensor, Tensor, Tensor];
      const out = nn.functional.scaledDotProductAttention(q, k, v);
      return [this.toOut.forward(torch.func.rearrange(out, "b h n d -> b n (h d)")), normed];
    }
  }
  class DecorrelationLoss extends nn.Module {
    forward(tokens: Tensor): Tensor {
      const n = tokens.size(-2);
      const centred = tokens.sub(tokens.mean(-2, true));
      const cov = centred
        .transpose(-1, -2)
        .matmul(centred)
        .div(n - 1);
      const off = cov.sub(torch.diagEmbed(torch.diagonal(cov, 0, -2, -1)));
      return off.pow(2).mean();
    }
  }
  class ViT extends nn.Module {
    readonly toPatch = new nn.Sequential(new nn.LayerNorm(12), new nn.Linear(12, dim), new nn.LayerNorm(dim));
    readonly posEmbedding = new nn.Parameter(torch.randn([16, dim]));
    readonly layers = new nn.ModuleList([new Attention(), new Attention()]);
    readonly head = new nn.Linear(dim, 4);
    readonly decorr = new DecorrelationLoss();
    forward(images: Tensor): [Tensor, Tensor] {
      const patches = torch.func.rearrange(images, "b c (h p) (w q) -> b (h w) (p q c)", { p: 2, q: 2 });
      let x = (this.toPatch.forward(patches) as Tensor).add(this.posEmbedding);
      const inputs: Tensor[] = [];
      for (const layer of this.layers) {
        const [out, normed] = (layer as Attention).forward(x);
        inputs.push(normed);
        x = x.add(out);
      }
      return [this.head.forward(x.mean(1)), this.decorr.forward(torch.stack(inputs))];
    }
  }
  const v = new ViT();
  const optimizer = new optim.Adam(v.parameters(), { lr: 1e-2 });
  const [images, labels] = [torch.randn([8, 3, 8, 8]), torch.arange(8).remainder(4)];
  falls(50, 0.3, () => {
    const [logits, auxiliary] = v.forward(images);
    const loss = nn.functional.crossEntropy(logits, labels).add(auxiliary.mul(0.1));
    optimizer.zeroGrad();
    loss.backward();
    optimizer.step();
    return loss;
  });
});

test("33, speech commands: M5 over raw sound, log-softmax, nll, batches padded by padSequence", () => {
  manualSeed(7);
  class M5 extends nn.Module {
    readonly conv1 = new nn.Conv1d(1, 8, { kernelSize: 16, stride: 4 });
    readonly bn1 = new nn.BatchNorm1d(8);
    readonly pool1 = new nn.MaxPool1d(4);
    readonly conv2 = new nn.Conv1d(8, 16, { kernelSize: 3 });
    readonly bn2 = new nn.BatchNorm1d(16);
    readonly pool2 = new nn.MaxPool1d(2);
    readonly fc1 = new nn.Linear(16, 3);
    forward(waveform: Tensor): Tensor {
      let x = this.pool1.forward(nn.functional.relu(this.bn1.forward(this.conv1.forward(waveform))));
      x = this.pool2.forward(nn.functional.relu(this.bn2.forward(this.conv2.forward(x))));
      x = nn.functional.avgPool1d(x, x.size(-1)).permute([0, 2, 1]);
      return nn.functional.logSoftmax(this.fc1.forward(x), { dim: 2 });
    }
  }
  const waves = [200, 240, 220, 200, 240, 220].map((n, i) =>
    torch
      .arange(n)
      .mul(0.1 * (1 + (i % 3)))
      .sin()
      .unsqueeze(0),
  );
  const batch = nn.utils.rnn
    .padSequence(
      waves.map((w) => w.T),
      { batchFirst: true, paddingValue: 0 },
    )
    .permute([0, 2, 1]);
  const target = torch.arange(6).remainder(3);
  const model = new M5();
  const optimizer = new optim.Adam(model.parameters(), { lr: 0.01, weightDecay: 1e-4 });
  const scheduler = new optim.lrScheduler.StepLR(optimizer, { stepSize: 20, gamma: 0.1 });
  falls(30, 0.4, () => {
    const loss = nn.functional.nllLoss(model.forward(batch).squeeze(1), target);
    optimizer.zeroGrad();
    loss.backward();
    optimizer.step();
    scheduler.step();
    return loss;
  });
  assert.equal(model.forward(batch).argmax({ dim: -1 }).squeeze().shape[0], 6);
});
