"""Super-resolution in PyTorch: writes losses.json."""

import math
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "shared"))
from twin import pictures, region, write  # noqa: E402  (before torch)

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

STEPS, UPSCALE = 12, 3


class Net(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 64, (5, 5), (1, 1), (2, 2))
        self.conv2 = nn.Conv2d(64, 64, (3, 3), (1, 1), (1, 1))
        self.conv3 = nn.Conv2d(64, 32, (3, 3), (1, 1), (1, 1))
        self.conv4 = nn.Conv2d(32, factor**2, (3, 3), (1, 1), (1, 1))
        self.pixel_shuffle = nn.PixelShuffle(factor)
        for conv in (self.conv1, self.conv2, self.conv3):
            nn.init.orthogonal_(conv.weight, nn.init.calculate_gain("relu"))
        nn.init.orthogonal_(self.conv4.weight)

    def forward(self, x):
        x = F.relu(self.conv3(F.relu(self.conv2(F.relu(self.conv1(x))))))
        return self.pixel_shuffle(self.conv4(x))


def pairs(n):
    images, _ = pictures(n, 1, 48)
    return TensorDataset(F.interpolate(images, scale_factor=1 / UPSCALE, mode="bicubic", antialias=True), images)


def train(precision):
    torch.manual_seed(123)
    training = DataLoader(pairs(64), batch_size=8, shuffle=True)
    testing = DataLoader(pairs(8), batch_size=8)
    model, criterion = Net(UPSCALE), nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler("cpu", enabled=precision == "16")
    losses, ratios = [], []
    while len(losses) < STEPS:
        for x, y in training:
            optimizer.zero_grad()
            with region(precision):
                loss = criterion(model(x), y)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            losses.append(loss.item())
            if len(losses) == STEPS:
                break
        total = 0.0
        with torch.no_grad():
            for x, y in testing:
                with region(precision):
                    prediction = model(x)
                total += 10 * math.log10(1 / criterion(prediction.float(), y).item())
        ratios.append(total / len(testing))
    return {"loss": losses, "psnr": ratios}


write(__file__, {precision: train(precision) for precision in ("32", "bf16", "16")})
