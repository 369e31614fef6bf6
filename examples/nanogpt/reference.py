"""NanoGPT in PyTorch: writes checkpoint.pt after 16 steps, and losses.json: from scratch, and from the checkpoint on."""

import math
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "shared"))
from twin import book, region, write  # noqa: E402  (before torch)

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

STEPS, CHECKPOINT_AT, EVAL_INTERVAL, EVAL_ITERS, MICRO, BATCH, BLOCK = 24, 16, 8, 4, 2, 8, 32
CHECKPOINT = pathlib.Path(__file__).resolve().parent / "checkpoint.pt"


class LayerNorm(nn.Module):
    def __init__(self, size, bias):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size)) if bias else None

    def forward(self, x):
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, 1e-5)


class Attention(nn.Module):
    def __init__(self, n_embd, n_head, dropout, bias, **_):
        super().__init__()
        self.c_attn = nn.Linear(n_embd, 3 * n_embd, bias=bias)
        self.c_proj = nn.Linear(n_embd, n_embd, bias=bias)
        self.resid_dropout = nn.Dropout(dropout)
        self.heads = n_head

    def forward(self, x):
        q, k, v = (t.unflatten(2, (self.heads, -1)).transpose(1, 2) for t in self.c_attn(x).chunk(3, 2))
        p = self.resid_dropout.p if self.training else 0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=True)
        return self.resid_dropout(self.c_proj(y.transpose(1, 2).flatten(2)))


class MLP(nn.Module):
    def __init__(self, n_embd, dropout, bias, **_):
        super().__init__()
        self.c_fc = nn.Linear(n_embd, 4 * n_embd, bias=bias)
        self.c_proj = nn.Linear(4 * n_embd, n_embd, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        return self.dropout(self.c_proj(F.gelu(self.c_fc(x))))


class Block(nn.Module):
    def __init__(self, **a):
        super().__init__()
        self.ln_1, self.attn = LayerNorm(a["n_embd"], a["bias"]), Attention(**a)
        self.ln_2, self.mlp = LayerNorm(a["n_embd"], a["bias"]), MLP(**a)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    def __init__(self, **a):
        super().__init__()
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(a["vocab_size"], a["n_embd"]),
                "wpe": nn.Embedding(a["block_size"], a["n_embd"]),
                "drop": nn.Dropout(a["dropout"]),
                "h": nn.ModuleList(Block(**a) for _ in range(a["n_layer"])),
                "ln_f": LayerNorm(a["n_embd"], a["bias"]),
            }
        )
        self.lm_head = nn.Linear(a["n_embd"], a["vocab_size"], bias=False)
        self.transformer.wte.weight = self.lm_head.weight
        self.apply(self.init)
        for name, p in self.named_parameters():
            if name.endswith("c_proj.weight"):
                nn.init.normal_(p, mean=0.0, std=0.02 / math.sqrt(2 * a["n_layer"]))

    def init(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, mean=0.0, std=0.02)
            if getattr(module, "bias", None) is not None:
                nn.init.zeros_(module.bias)

    def forward(self, x, y):
        t = self.transformer
        h = t.drop(t.wte(x) + t.wpe(torch.arange(x.shape[1])))
        for block in t.h:
            h = block(h)
        return F.cross_entropy(self.lm_head(t.ln_f(h)).flatten(0, 1), y.flatten(), ignore_index=-1)


def learning_rate(i):
    if i < 10:
        return 5e-3 * (i + 1) / 11
    return 5e-4 + 0.5 * (1.0 + math.cos(math.pi * ((i - 10) / 390))) * (5e-3 - 5e-4)


def train(precision, resume=False, write_to=None):
    torch.manual_seed(1337)
    text = book()[:200_000]
    number_of = {c: i for i, c in enumerate(sorted(set(text)))}
    ids = torch.tensor([number_of[c] for c in text])
    training, held_out = ids[:180_000], ids[180_000:]
    checkpoint = torch.load(CHECKPOINT) if resume else None
    sizes = {"n_layer": 2, "n_head": 2, "n_embd": 24, "block_size": BLOCK, "bias": False, "dropout": 0.1}
    args = checkpoint["model_args"] if resume else {**sizes, "vocab_size": len(number_of)}
    model = GPT(**args)
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    scaler = torch.amp.GradScaler("cpu", enabled=precision == "16")
    optimizer = torch.optim.AdamW(groups, lr=5e-3, betas=(0.9, 0.99))
    if resume:
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
    first = checkpoint["iter_num"] if resume else 0

    def loss_of(data):
        starts = torch.randint(0, len(data) - BLOCK, (BATCH,))
        x = torch.stack([data[i : i + BLOCK] for i in starts])
        y = torch.stack([data[i + 1 : i + 1 + BLOCK] for i in starts])
        with region(precision):
            return model(x, y)

    losses, val = [], []
    for i in range(first, first + STEPS):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(i)
        if i % EVAL_INTERVAL == 0:
            model.eval()
            with torch.no_grad():
                val.append(sum(loss_of(held_out).item() for _ in range(EVAL_ITERS)) / EVAL_ITERS)
            model.train()
        if write_to is not None and i == CHECKPOINT_AT:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "model_args": args}
            torch.save({**state, "iter_num": i, "best_val_loss": min(val), "config": {"dataset": "moby-dick"}}, write_to)
        total = 0.0
        for _ in range(MICRO):
            loss = loss_of(training) / MICRO
            scaler.scale(loss).backward()
            total += loss.item()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        losses.append(total)
    return losses, val


if __name__ == "__main__":
    curves = {}
    for precision in ("32", "bf16", "16"):
        scratch = train(precision, write_to=CHECKPOINT if precision == "32" else None)
        resumed = train(precision, resume=True)
        curves[precision] = {
            f"{part} {name}": values
            for part, both in (("scratch", scratch), ("resumed", resumed))
            for name, values in zip(("loss", "val"), both)
        }
    write(__file__, curves)
