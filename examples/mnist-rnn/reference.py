"""Digits read row by row by a recurrent network, in PyTorch: writes losses.json.

In float32 alone: PyTorch has no LSTM in 16 bits for processors without their arithmetic.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "shared"))
from twin import digits, labels, region, write  # noqa: E402  (before torch)

import torch  # noqa: E402
from torch import nn, optim  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

STEPS = 24


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(input_size=28, hidden_size=64, batch_first=True)
        self.batchnorm = nn.BatchNorm1d(64)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(64, 32)
        self.fc2 = nn.Linear(32, 10)

    def forward(self, x):
        sequence, _ = self.rnn(x.reshape(-1, 28, 28))
        x = self.dropout1(self.batchnorm(sequence[:, -1]))
        x = self.dropout2(F.relu(self.fc1(x)))
        return F.log_softmax(self.fc2(x), 1)


def train(precision):
    torch.manual_seed(1)
    loader = DataLoader(TensorDataset(digits(4096), labels(4096)), batch_size=64, shuffle=True)
    model = Net()
    optimizer = optim.Adadelta(model.parameters(), lr=0.1)
    scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    scaler = torch.amp.GradScaler("cpu", enabled=precision == "16")
    losses = []
    while len(losses) < STEPS:
        for data, target in loader:
            optimizer.zero_grad()
            with region(precision):
                output = model(data)
            loss = F.nll_loss(output.float(), target)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            losses.append(loss.item())
            if len(losses) >= STEPS:
                break
        scheduler.step()
    return {"loss": losses}


write(__file__, {precision: train(precision) for precision in ("32",)})
