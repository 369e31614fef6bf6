"""Sine waves foretold by LSTM cells, in PyTorch: writes losses.json."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "shared"))
from twin import region, write  # noqa: E402  (before torch)

import torch  # noqa: E402
from torch import nn, optim  # noqa: E402

STEPS, WAVES, LENGTH, PERIOD = 4, 24, 60, 20


class Sequence(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm1 = nn.LSTMCell(1, 51)
        self.lstm2 = nn.LSTMCell(51, 51)
        self.linear = nn.Linear(51, 1)

    def forward(self, x, future=0):
        outputs = []
        h1, c1, h2, c2 = (torch.zeros(x.size(0), 51, dtype=x.dtype) for _ in range(4))
        for step in x.split(1, dim=1):
            h1, c1 = self.lstm1(step, (h1, c1))
            h2, c2 = self.lstm2(h1, (h2, c2))
            output = self.linear(h2)
            outputs.append(output)
        for _ in range(future):
            h1, c1 = self.lstm1(output, (h1, c1))
            h2, c2 = self.lstm2(h1, (h2, c2))
            output = self.linear(h2)
            outputs.append(output)
        return torch.stack(outputs, 1).squeeze(2)


def train(precision):
    torch.manual_seed(0)
    dtype = torch.float64 if precision == "64" else torch.float32
    begin = torch.randint(-4 * PERIOD, 4 * PERIOD, (WAVES, 1))
    data = ((torch.arange(LENGTH) + begin).to(torch.float64) / PERIOD).sin().to(dtype)
    seq = Sequence().to(dtype)
    criterion = nn.MSELoss()
    optimizer = optim.LBFGS(seq.parameters(), lr=0.8, max_iter=5)
    losses = []
    for _ in range(STEPS):

        def closure():
            optimizer.zero_grad()
            with region("32" if precision == "64" else precision):
                out = seq(data[3:, :-1])
            loss = criterion(out.to(dtype), data[3:, 1:])
            loss.backward()
            return loss

        losses.append(optimizer.step(closure).item())
    with torch.no_grad():
        pred = seq(data[:3, :-1], future=10)
        future = criterion(pred[:, :-10], data[:3, 1:]).item()
    return {"loss": losses, "future": [future]}


write(__file__, {precision: train(precision) for precision in ("64", "32", "bf16")})
