"""The models and batches, as in models/*.ts: the same layers, made and drawn in the same order, with the same names."""

import torch
from torch import nn
from torch.nn import functional as F


def mlp(spec):
    layers = []
    for i, (inputs, outputs) in enumerate(zip(spec["sizes"], spec["sizes"][1:])):
        if i > 0:
            layers.append(nn.ReLU())
        layers.append(nn.Linear(inputs, outputs))
    return nn.Sequential(*layers)


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(32)
        self.head = nn.Linear(32 * 7 * 7, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
        return self.head(x.flatten(1))


class ResidualBlock(nn.Module):
    def __init__(self, inputs, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        changed = stride != 1 or inputs != channels
        self.down = nn.Conv2d(inputs, channels, 1, stride=stride, bias=False) if changed else None
        self.bn3 = nn.BatchNorm2d(channels) if changed else None

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.down is None else self.bn3(self.down(x))))


class ResNet18(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(64)
        blocks, inputs = [], 64
        for i in range(4):
            for stride in (1 if i == 0 else 2, 1):
                blocks.append(ResidualBlock(inputs, 64 << i, stride))
                inputs = 64 << i
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Linear(512, 10)

    def forward(self, x):
        x = F.relu(self.bn(self.conv(x)))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


class Lstm(nn.Module):
    def __init__(self, inputs, hidden, layers):
        super().__init__()
        self.lstm = nn.LSTM(inputs, hidden, layers, batch_first=True)
        self.head = nn.Linear(hidden, 10)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


class AttentionBlock(nn.Module):
    def __init__(self, width, heads, causal):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.n1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.o = nn.Linear(width, width)
        self.n2 = nn.LayerNorm(width)
        self.f1 = nn.Linear(width, 4 * width)
        self.f2 = nn.Linear(4 * width, width)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (p.view(b, t, self.heads, d // self.heads).transpose(1, 2) for p in self.qkv(self.n1(x)).chunk(3, -1))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal).transpose(1, 2).reshape(b, t, d)
        y = x + self.o(mixed)
        return y + self.f2(F.gelu(self.f1(self.n2(y))))


class Transformer(nn.Module):
    def __init__(self, vocabulary, context, width, heads, layers):
        super().__init__()
        self.vocabulary = vocabulary
        self.embedding = nn.Embedding(vocabulary, width)
        self.position = nn.Parameter(torch.randn(context, width) * 0.05)
        self.blocks = nn.ModuleList(AttentionBlock(width, heads, True) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, x):
        y = self.embedding(x) + self.position
        for block in self.blocks:
            y = block(y)
        return self.head(self.norm(y)).view(-1, self.vocabulary)


class Vit(nn.Module):
    def __init__(self, width, heads, layers):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, stride=4)
        self.position = nn.Parameter(torch.randn(64, width) * 0.05)
        self.blocks = nn.ModuleList(AttentionBlock(width, heads, False) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        y = self.patches(x).flatten(2).transpose(1, 2) + self.position
        for block in self.blocks:
            y = block(y)
        return self.head(self.norm(y).mean(1))


def build(spec):
    """Network, inputs, targets and loss."""
    name, batch = spec["model"], spec["batch"]
    if name == "mlp":
        net, x = mlp(spec), torch.randn(batch, spec["sizes"][0])
        if spec["loss"] == "mse":
            return net, x, torch.randn(batch, spec["sizes"][-1]), F.mse_loss
        return net, x, torch.randint(0, spec["sizes"][-1], (batch,)), F.cross_entropy
    if name == "transformer":
        vocabulary, context = spec["vocabulary"], spec["context"]
        net = Transformer(vocabulary, context, spec["width"], spec["heads"], spec["layers"])
        return net, torch.randint(0, vocabulary, (batch, context)), torch.randint(0, vocabulary, (batch * context,)), F.cross_entropy
    if name == "cnn":
        net, x = Cnn(), torch.randn(batch, 1, 28, 28)
    elif name == "resnet18":
        net, x = ResNet18(), torch.randn(batch, 3, 32, 32)
    elif name == "lstm":
        net, x = Lstm(spec["inputs"], spec["hidden"], spec["layers"]), torch.randn(batch, spec["length"], spec["inputs"])
    elif name == "vit":
        net, x = Vit(spec["width"], spec["heads"], spec["layers"]), torch.randn(batch, 3, 32, 32)
    else:
        raise ValueError(f"expected a model of models/index.ts. Received: {name}.")
    return net, x, torch.randint(0, 10, (batch,)), F.cross_entropy
