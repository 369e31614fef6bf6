"""The U-Net in PyTorch: writes losses.json."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "shared"))
from twin import pictures, region, write  # noqa: E402  (before torch)

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

STEPS, CLASSES, WIDTH, EVALUATE_EVERY = 24, 2, 8, 8


class DoubleConv(nn.Sequential):
    def __init__(self, n_in, n_out):
        super().__init__(
            *(nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU(inplace=True)),
            *(nn.Conv2d(n_out, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU(inplace=True)),
        )


class Up(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.up = nn.ConvTranspose2d(n_in, n_in // 2, 2, stride=2)
        self.conv = DoubleConv(n_in, n_out)

    def forward(self, small, beside):
        x = self.up(small)
        dy, dx = beside.shape[2] - x.shape[2], beside.shape[3] - x.shape[3]
        x = F.pad(x, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
        return self.conv(torch.cat([beside, x], 1))


class UNet(nn.Module):
    def __init__(self, channels, classes, w):
        super().__init__()
        self.inc = DoubleConv(channels, w)
        self.downs = nn.ModuleList(nn.Sequential(nn.MaxPool2d(2), DoubleConv(w * k, w * k * 2)) for k in (1, 2, 4, 8))
        self.ups = nn.ModuleList(Up(w * k * 2, w * k) for k in (8, 4, 2, 1))
        self.outc = nn.Conv2d(w, classes, 1)

    def forward(self, x):
        levels = [self.inc(x)]
        for down in self.downs:
            levels.append(down(levels[-1]))
        y = levels.pop()
        for up in self.ups:
            y = up(y, levels.pop())
        return self.outc(y)


def discs(n):
    return TensorDataset(*pictures(n, 3, 38))


def planes(masks):
    return F.one_hot(masks, CLASSES).permute(0, 3, 1, 2).float()


def dice(x, y, epsilon=1e-6):
    return ((x * y).sum() * 2 + epsilon) / (x.sum() + y.sum() + epsilon)


def evaluate(net, loader, precision):
    net.eval()
    total = 0.0
    with torch.no_grad():
        for image, mask in loader:
            with region(precision):
                predicted = net(image.to(memory_format=torch.channels_last))
            total += dice(planes(predicted.argmax(1))[:, 1:], planes(mask)[:, 1:]).item()
    net.train()
    return total / len(loader)


def train(precision):
    torch.manual_seed(0)
    training = DataLoader(discs(64), batch_size=4, shuffle=True)
    validation = DataLoader(discs(8), batch_size=4, drop_last=True)
    model = UNet(3, CLASSES, WIDTH).to(memory_format=torch.channels_last)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=3e-4, weight_decay=1e-8, momentum=0.9, foreach=True)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max", patience=5)
    scaler = torch.amp.GradScaler("cpu", enabled=precision == "16")
    criterion = nn.CrossEntropyLoss()
    losses, scores = [], []
    while len(losses) < STEPS:
        for images, masks in training:
            if len(losses) == STEPS:
                break
            with region(precision):
                predicted = model(images.to(memory_format=torch.channels_last))
                loss = criterion(predicted, masks) + (1 - dice(F.softmax(predicted, 1).float(), planes(masks)))
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            losses.append(loss.item())
            if len(losses) % EVALUATE_EVERY == 0:
                score = evaluate(model, validation, precision)
                scheduler.step(score)
                scores.append(score)
    return {"loss": losses, "dice": scores}


write(__file__, {precision: train(precision) for precision in ("32", "bf16", "16")})
