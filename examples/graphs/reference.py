"""The graph networks in PyTorch: writes losses.json."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "shared"))
from twin import region, write  # noqa: E402  (before torch)

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

STEPS, KNOWN = 40, 70


def citations(n=280, words=140, classes=7):
    labels = torch.arange(n) % classes
    alike = labels.unsqueeze(1) == labels
    cites = (torch.rand(n, n) < alike.float() * 0.08 + 0.005).triu(1)
    edges = ((cites | cites.t()) | torch.eye(n, dtype=torch.bool)).nonzero().t().contiguous()
    own = labels.unsqueeze(1) == torch.arange(words) % classes
    used = (torch.rand(n, words) < own.float() * 0.1 + 0.05).float()
    return used / used.sum(1, keepdim=True).clamp(min=1), labels, edges, classes


def as_wide(to, values):
    return to.view(-1, *(1 for _ in values.shape[1:])).expand_as(values)


def scatter_sum(values, to, n):
    return torch.zeros(n, *values.shape[1:], dtype=values.dtype).scatter_add(0, as_wide(to, values), values)


def scatter_softmax(scores, to, n):
    greatest = torch.zeros(n, *scores.shape[1:]).scatter_reduce(0, as_wide(to, scores), scores.detach(), "amax", include_self=False)
    weights = (scores - greatest[to]).exp()
    return weights / scatter_sum(weights, to, n).index_select(0, to)


class GraphConv(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.kernel = nn.Parameter(torch.empty(n_in, n_out))
        nn.init.xavier_normal_(self.kernel)
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x, edges):
        n, (source, to) = len(x), edges
        scale = scatter_sum(torch.ones(len(to)), to, n).rsqrt()
        weight = scale[source] * scale[to]
        messages = x.mm(self.kernel).index_select(0, source) * weight.unsqueeze(1)
        return scatter_sum(messages, to, n) + self.bias


class GCN(nn.Module):
    def __init__(self, n_in, hidden, classes):
        super().__init__()
        self.gc1, self.gc2, self.dropout = GraphConv(n_in, hidden), GraphConv(hidden, classes), nn.Dropout(0.1)

    def forward(self, x, edges):
        return F.log_softmax(self.gc2(self.dropout(F.relu(self.gc1(x, edges))), edges), 1)


class GraphAttention(nn.Module):
    def __init__(self, n_in, hidden, heads, dropout, concat=True):
        super().__init__()
        self.hidden, self.heads, self.concat = hidden, heads, concat
        self.W = nn.Parameter(torch.empty(n_in, hidden * heads))
        self.a = nn.Parameter(torch.empty(heads, 2 * hidden))
        self.dropout, self.leakyrelu = nn.Dropout(dropout), nn.LeakyReLU(0.2)
        nn.init.xavier_normal_(self.W)
        nn.init.xavier_normal_(self.a)

    def forward(self, x, edges):
        n, (source, to) = len(x), edges
        h = self.dropout(x.mm(self.W).view(n, self.heads, self.hidden))
        a_from, a_to = self.a.split(self.hidden, 1)
        score_from, score_to = (h * a_from).sum(2), (h * a_to).sum(2)
        scores = self.leakyrelu(score_from.index_select(0, source) + score_to.index_select(0, to))
        attention = self.dropout(scatter_softmax(scores.float(), to, n))
        out = scatter_sum(h.index_select(0, source) * attention.unsqueeze(2), to, n)
        return out.reshape(n, -1) if self.concat else out.mean(1)


class GAT(nn.Module):
    def __init__(self, n_in, hidden, heads, classes):
        super().__init__()
        self.gat1 = GraphAttention(n_in, hidden, heads, 0.4)
        self.gat2 = GraphAttention(hidden * heads, classes, 1, 0.4, concat=False)

    def forward(self, x, edges):
        return F.log_softmax(self.gat2(F.elu(self.gat1(x, edges)), edges), 1)


def train(network, precision):
    torch.manual_seed(42)
    features, labels, edges, classes = citations()
    words = features.shape[1]
    model = GCN(words, 16, classes) if network == "gcn" else GAT(words, 8, 8, classes)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01 if network == "gcn" else 0.005, weight_decay=5e-4)
    scaler = torch.amp.GradScaler("cpu", enabled=precision == "16")
    losses, right = [], []
    for _ in range(STEPS):
        model.train()
        optimizer.zero_grad()
        with region(precision):
            output = model(features, edges)
        loss = F.nll_loss(output[:KNOWN], labels[:KNOWN])
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
        model.eval()
        with torch.no_grad(), region(precision):
            found = model(features, edges).argmax(1)
        right.append((found == labels)[KNOWN:].float().mean().item())
    return {f"{network} loss": losses, f"{network} right": right}


write(__file__, {precision: train("gcn", precision) | train("gat", precision) for precision in ("32", "bf16", "16")})
