"""The variational autoencoder in PyTorch: writes losses.json."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "shared"))
from twin import digits, region, write  # noqa: E402  (before torch)

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

STEPS = 24


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(784, 400)
        self.fc21 = nn.Linear(400, 20)
        self.fc22 = nn.Linear(400, 20)
        self.fc3 = nn.Linear(20, 400)
        self.fc4 = nn.Linear(400, 784)

    def forward(self, x):
        h = F.relu(self.fc1(x.view(-1, 784)))
        mu, logvar = self.fc21(h), self.fc22(h)
        std = torch.exp(0.5 * logvar)
        z = torch.randn_like(std) * std + mu
        return self.fc4(F.relu(self.fc3(z))).float().sigmoid(), mu, logvar


def loss_function(reconstruction, x, mu, logvar):
    bce = F.binary_cross_entropy(reconstruction, x.view(-1, 784), reduction="sum")
    return bce + (1 + logvar - mu.pow(2) - logvar.exp()).sum() * -0.5


def train(precision):
    torch.manual_seed(1)
    loader = DataLoader(TensorDataset(digits(4096)), batch_size=128, shuffle=True)
    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler("cpu", enabled=precision == "16")
    losses = []
    while len(losses) < STEPS:
        for (data,) in loader:
            optimizer.zero_grad()
            with region(precision):
                reconstruction, mu, logvar = model(data)
            loss = loss_function(reconstruction, data, mu.float(), logvar.float())
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            losses.append(loss.item() / len(data))
            if len(losses) >= STEPS:
                break
    return {"loss": losses}


write(__file__, {precision: train(precision) for precision in ("32", "bf16", "16")})
