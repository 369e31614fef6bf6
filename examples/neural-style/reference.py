"""Fast neural style in PyTorch: writes losses.json."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "shared"))
from twin import pictures, region, write  # noqa: E402  (before torch)

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

STEPS, WIDTH, CONTENT_WEIGHT, STYLE_WEIGHT = 12, 8, 1, 1e3


class ConvLayer(nn.Module):
    def __init__(self, n_in, n_out, size, stride=1, upsample=None):
        super().__init__()
        self.upsample = upsample
        self.reflection_pad = nn.ReflectionPad2d(size // 2)
        self.conv2d = nn.Conv2d(n_in, n_out, size, stride)

    def forward(self, x):
        if self.upsample:
            x = F.interpolate(x, mode="nearest", scale_factor=self.upsample)
        return self.conv2d(self.reflection_pad(x))


def norm(channels):
    return nn.InstanceNorm2d(channels, affine=True)


class ResidualBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1, self.in1 = ConvLayer(channels, channels, 3), norm(channels)
        self.conv2, self.in2 = ConvLayer(channels, channels, 3), norm(channels)

    def forward(self, x):
        return self.in2(self.conv2(F.relu(self.in1(self.conv1(x))))) + x


class TransformerNet(nn.Module):
    def __init__(self, w):
        super().__init__()
        self.down = nn.Sequential(
            *(ConvLayer(3, w, 9), norm(w), nn.ReLU()),
            *(ConvLayer(w, 2 * w, 3, 2), norm(2 * w), nn.ReLU()),
            *(ConvLayer(2 * w, 4 * w, 3, 2), norm(4 * w), nn.ReLU()),
        )
        self.middle = nn.Sequential(*(ResidualBlock(4 * w) for _ in range(5)))
        self.up = nn.Sequential(
            *(ConvLayer(4 * w, 2 * w, 3, upsample=2), norm(2 * w), nn.ReLU()),
            *(ConvLayer(2 * w, w, 3, upsample=2), norm(w), nn.ReLU()),
            ConvLayer(w, 3, 9),
        )

    def forward(self, x):
        return self.up(self.middle(self.down(x)))


class Features(nn.Module):
    def __init__(self, w=8):
        super().__init__()

        def block(n_in, n_out):
            return nn.Conv2d(n_in, n_out, 3, padding=1), nn.ReLU()

        self.slice1 = nn.Sequential(*block(3, w), *block(w, w))
        self.slice2 = nn.Sequential(nn.MaxPool2d(2), *block(w, 2 * w), *block(2 * w, 2 * w))
        self.slice3 = nn.Sequential(nn.MaxPool2d(2), *block(2 * w, 4 * w), *block(4 * w, 4 * w))
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.kaiming_normal_(parameter)
            parameter.requires_grad_(False)

    def forward(self, x):
        first = self.slice1(x)
        second = self.slice2(first)
        return first, second, self.slice3(second)


def gram_matrix(y):
    b, ch, h, w = y.shape
    features = y.view(b, ch, w * h)
    return features.bmm(features.transpose(1, 2)) / (ch * h * w)


def train(precision):
    torch.manual_seed(42)
    loader = DataLoader(TensorDataset(pictures(64, 3, 48)[0]), batch_size=2)
    style = pictures(1, 3, 48)[0].expand(2, -1, -1, -1)
    transformer, vgg, mse = TransformerNet(WIDTH), Features(), nn.MSELoss()
    optimizer = torch.optim.Adam(transformer.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler("cpu", enabled=precision == "16")
    with torch.no_grad(), region(precision):
        gram_style = [gram_matrix(y) for y in vgg(style)]
    curves = {"loss": [], "content": [], "style": []}
    for (x,) in loader:
        if len(curves["loss"]) == STEPS:
            break
        optimizer.zero_grad()
        with region(precision):
            features_y, features_x = vgg(transformer(x)), vgg(x)
            content = mse(features_y[1], features_x[1]) * CONTENT_WEIGHT
            parts = [mse(gram_matrix(y), gram) for y, gram in zip(features_y, gram_style)]
            style_loss = (parts[0] + parts[1] + parts[2]) * STYLE_WEIGHT
        total = content + style_loss
        scaler.scale(total).backward()
        scaler.step(optimizer)
        scaler.update()
        for name, value in (("loss", total), ("content", content), ("style", style_loss)):
            curves[name].append(value.item())
    return curves


write(__file__, {precision: train(precision) for precision in ("32", "bf16", "16")})
