"""The word language models in PyTorch: writes losses.json."""

import math
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "shared"))
from twin import book, region, write  # noqa: E402  (before torch)

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

STEPS, EVALUATE_EVERY, BPTT, CLIP = 24, 12, 20, 0.25


class RNNModel(nn.Module):
    def __init__(self, kind, words, size, hidden, layers, dropout):
        super().__init__()
        self.drop = nn.Dropout(dropout)
        self.encoder = nn.Embedding(words, size)
        if kind in ("LSTM", "GRU"):
            self.rnn = getattr(nn, kind)(size, hidden, layers, dropout=dropout)
        else:
            self.rnn = nn.RNN(size, hidden, layers, nonlinearity=kind.removeprefix("RNN_").lower(), dropout=dropout)
        self.decoder = nn.Linear(hidden, words)
        self.decoder.weight = self.encoder.weight
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)
        nn.init.uniform_(self.decoder.weight, -0.1, 0.1)

    def state(self, n):
        zeros = [torch.zeros(self.rnn.num_layers, n, self.rnn.hidden_size) for _ in range(2)]
        return tuple(zeros) if isinstance(self.rnn, nn.LSTM) else zeros[0]

    def forward(self, x, state):
        y = self.drop(self.encoder(x))
        if torch.is_autocast_enabled("cpu"):  # which oneDNN has not here; nbit computes in float32 instead
            dtype = torch.get_autocast_dtype("cpu")
            with torch.autocast("cpu", enabled=False):
                y, state = self.rnn(y.float(), tuple(s.float() for s in state))
            y, state = y.to(dtype), tuple(s.to(dtype) for s in state)
        else:
            y, state = self.rnn(y, state)
        return F.log_softmax(self.decoder(self.drop(y)).flatten(0, 1).float(), 1), state


class TransformerModel(nn.Module):
    def __init__(self, words, size, heads, hidden, layers, dropout):
        super().__init__()
        self.scale = math.sqrt(size)
        at = torch.arange(0, 5000).float().unsqueeze(1)
        rates = (torch.arange(0, size, 2).float() * (-math.log(10000) / size)).exp()
        self.places = torch.stack([(at * rates).sin(), (at * rates).cos()], -1).flatten(1).unsqueeze(1)
        self.dropout = nn.Dropout(dropout)
        layer = nn.TransformerEncoderLayer(size, heads, hidden, dropout)
        self.encoder = nn.TransformerEncoder(layer, layers, nn.LayerNorm(size))
        self.input_emb = nn.Embedding(words, size)
        self.decoder = nn.Linear(size, words)
        nn.init.uniform_(self.input_emb.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)
        nn.init.uniform_(self.decoder.weight, -0.1, 0.1)

    def state(self, n):
        return None

    def forward(self, x, state):
        mask = nn.Transformer.generate_square_subsequent_mask(len(x))
        y = self.dropout(self.input_emb(x) * self.scale + self.places[: len(x)])
        return F.log_softmax(self.decoder(self.encoder(y, mask)).flatten(0, 1).float(), 1), None


def corpus():
    numbers = {}

    def tokenize(text):
        words = [w for line in text.split("\n") for w in [*filter(None, line.split(" ")), "<eos>"]]
        return torch.tensor([numbers.setdefault(w, len(numbers)) for w in words])

    text = book()
    return tokenize(text[:60_000]), tokenize(text[60_000:66_000]), numbers


def columns(data, n):
    return data[: len(data) // n * n].view(n, -1).t().contiguous()


def batches(source):
    for i in range(0, len(source) - 1, BPTT):
        n = min(BPTT, len(source) - 1 - i)
        yield source[i : i + n], source[i + 1 : i + 1 + n].reshape(-1)


def train(network, precision):
    torch.manual_seed(1111)
    training, held_out, numbers = corpus()
    training, held_out = columns(training, 20), columns(held_out, 10)
    if network != "Transformer":
        model, lr = RNNModel(network, len(numbers), 64, 64, 2, 0.2), 5
    else:
        model, lr = TransformerModel(len(numbers), 64, 2, 64, 2, 0.2), 5
    criterion = nn.NLLLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    scaler = torch.amp.GradScaler("cpu", enabled=precision == "16")

    def detached(state):
        return state if state is None else tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()

    def evaluate():
        model.eval()
        total, state = 0.0, model.state(10)
        with torch.no_grad():
            for data, targets in batches(held_out):
                with region(precision):
                    output, state = model(data, state)
                total += len(data) * criterion(output, targets).item()
        model.train()
        return total / (len(held_out) - 1)

    losses, valid = [], []
    while len(losses) < STEPS:
        state = model.state(20)
        for data, targets in batches(training):
            if len(losses) == STEPS:
                break
            optimizer.zero_grad()
            with region(precision):
                output, state = model(data, detached(state))
            loss = criterion(output, targets)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            scaler.step(optimizer)
            scaler.update()
            losses.append(loss.item())
            if len(losses) % EVALUATE_EVERY == 0:
                score = evaluate()
                if valid and score >= min(valid):
                    lr /= 4
                    optimizer.param_groups[0]["lr"] = lr
                valid.append(score)
    return {f"{network} loss": losses, f"{network} valid": valid}


if __name__ == "__main__":
    networks = ("LSTM", "Transformer")
    curves = {p: {k: v for n in networks for k, v in train(n, p).items()} for p in ("32", "bf16", "16")}
    # oneDNN has an LSTM of 16 bits only: the others are compared in float32.
    for n in ("GRU", "RNN_TANH", "RNN_RELU"):
        curves["32"].update(train(n, "32"))
    write(__file__, curves)
