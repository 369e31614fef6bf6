"""The generative adversarial network in PyTorch: writes losses.json."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "shared"))
from twin import digits, region, write  # noqa: E402  (before torch)

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

STEPS, NZ, WIDTH = 12, 100, 16


def weights_init(module):
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


class Generator(nn.Module):
    def __init__(self, nz, ngf, nc):
        super().__init__()
        layers, widths = [], [nz, 8 * ngf, 4 * ngf, 2 * ngf, ngf]
        for i in range(4):
            layers += [nn.ConvTranspose2d(widths[i], widths[i + 1], 4, 2 if i else 1, 1 if i else 0, bias=False)]
            layers += [nn.BatchNorm2d(widths[i + 1]), nn.ReLU(True)]
        self.main = nn.Sequential(*layers, nn.ConvTranspose2d(ngf, nc, 4, 2, 1, bias=False), nn.Tanh())

    def forward(self, x):
        return self.main(x)


class Discriminator(nn.Module):
    def __init__(self, ndf, nc):
        super().__init__()
        layers, widths = [], [nc, ndf, 2 * ndf, 4 * ndf, 8 * ndf]
        for i in range(4):
            layers += [nn.Conv2d(widths[i], widths[i + 1], 4, 2, 1, bias=False)]
            layers += ([nn.BatchNorm2d(widths[i + 1])] if i else []) + [nn.LeakyReLU(0.2, True)]
        self.main = nn.Sequential(*layers, nn.Conv2d(8 * ndf, 1, 4, 1, 0, bias=False))

    def forward(self, x):
        return self.main(x).float().sigmoid().view(-1, 1).squeeze(1)


def train(precision):
    torch.manual_seed(999)
    images = (F.interpolate(digits(512), size=64, mode="bilinear") - 0.5) / 0.5
    loader = DataLoader(TensorDataset(images), batch_size=8, shuffle=True)
    net_g = Generator(NZ, WIDTH, 1)
    net_g.apply(weights_init)
    net_d = Discriminator(WIDTH, 1)
    net_d.apply(weights_init)
    opt_d, opt_g = (torch.optim.Adam(net.parameters(), lr=0.0002, betas=(0.5, 0.999)) for net in (net_d, net_g))
    criterion = nn.BCELoss()
    scaler = torch.amp.GradScaler("cpu", enabled=precision == "16")
    losses_d, losses_g = [], []

    def loss(images, label):
        with region(precision):
            output = net_d(images)
        return criterion(output, torch.full((len(images),), label))

    for (real,) in loader:
        if len(losses_d) == STEPS:
            break
        opt_d.zero_grad()
        real_loss = loss(real, 1.0)
        scaler.scale(real_loss).backward()
        noise = torch.randn(len(real), NZ, 1, 1)
        with region(precision):
            fake = net_g(noise)
        fake_loss = loss(fake.detach(), 0.0)
        scaler.scale(fake_loss).backward()
        scaler.step(opt_d)

        opt_g.zero_grad()
        g_loss = loss(fake, 1.0)
        scaler.scale(g_loss).backward()
        scaler.step(opt_g)
        scaler.update()
        losses_d.append((real_loss + fake_loss).item())
        losses_g.append(g_loss.item())
    return {"discriminator": losses_d, "generator": losses_g}


write(__file__, {precision: train(precision) for precision in ("32", "bf16", "16")})
