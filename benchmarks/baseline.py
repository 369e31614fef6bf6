"""One measurement of the Python baseline, in a process of its own: one line of JSON. The arguments of nbit.ts.

    python baseline.py step <model> <trainer|loop> <default|fused> <32|bf16> <threads> <steps> [cold]
    python baseline.py add <threads>    python baseline.py memory <steps>    python baseline.py import
    python baseline.py versions
"""

import time

started = time.perf_counter_ns()

import json
import logging
import resource
import sys
import warnings

import torch
from torch import nn
from torch.nn import functional as F


def plan(steps):
    """How many losses to compare, how many steps to warm up, how many times of how many steps: as in nbit.ts."""
    checked, chunks = min(10, max(2, steps >> 1)), min(20, steps)
    if "cold" in sys.argv:
        return checked, 1, 1, steps
    return checked, max(checked, steps >> 2), chunks, steps // chunks


class Block(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.heads = heads
        self.n1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.o = nn.Linear(width, width)
        self.n2 = nn.LayerNorm(width)
        self.f1 = nn.Linear(width, hidden)
        self.f2 = nn.Linear(hidden, width)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (p.view(b, t, self.heads, d // self.heads).transpose(1, 2) for p in self.qkv(self.n1(x)).chunk(3, -1))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, d)
        y = x + self.o(mixed)
        return y + self.f2(F.gelu(self.f1(self.n2(y))))


class Transformer(nn.Module):
    def __init__(self, vocabulary, context, width, heads, layers):
        super().__init__()
        self.vocabulary = vocabulary
        self.embedding = nn.Embedding(vocabulary, width)
        self.position = nn.Parameter(torch.randn(context, width) * 0.05)
        self.blocks = nn.ModuleList(Block(width, heads, 4 * width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, x):
        y = self.embedding(x) + self.position
        for block in self.blocks:
            y = block(y)
        return self.head(self.norm(y)).view(-1, self.vocabulary)


def mlp(inputs, hidden, outputs):
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def build(model):
    if model == "mlp":
        return mlp(32, 64, 10), torch.randn(8, 32), torch.randint(0, 10, (8,)), F.cross_entropy
    if model == "large-mlp":
        return mlp(1024, 2048, 1), torch.randn(512, 1024), torch.randn(512, 1), F.mse_loss
    if model == "medium-mlp":
        return mlp(256, 512, 1), torch.randn(64, 256), torch.randn(64, 1), F.mse_loss
    return Transformer(100, 16, 64, 4, 2), torch.randint(0, 100, (8, 16)), torch.randint(0, 100, (128,)), F.cross_entropy


def median(times):
    return sorted(times)[len(times) // 2]


def make_optimizer(net, kind):
    return torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True if kind == "fused" else None)


def loop(model, optimizer, bf16, steps):
    torch.manual_seed(42)
    net, x, y, loss_of = build(model)
    opt = make_optimizer(net, optimizer)
    losses = []

    def step(record):
        opt.zero_grad()
        if bf16:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = loss_of(net(x), y)
        else:
            loss = loss_of(net(x), y)
        if record:
            losses.append(loss.item())
        loss.backward()
        opt.step()

    checked, warm_up, chunks, chunk = plan(steps)
    for i in range(warm_up):
        step(i < checked)
    times = []
    for _ in range(chunks):
        start = time.perf_counter_ns()
        for _ in range(chunk):
            step(False)
        times.append((time.perf_counter_ns() - start) / chunk / 1000)
    print(json.dumps({"us": median(times), "losses": losses}))


def with_trainer(model, optimizer, bf16, steps, watch=None):
    import lightning as L

    warnings.filterwarnings("ignore")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    L.seed_everything(42)
    net, x, y, loss_of = build(model)
    losses, times, seen = [], [], []
    checked, warm_up, chunks, chunk = plan(steps)

    class Endless(torch.utils.data.Dataset):
        def __len__(self):
            return 10**7

        def __getitem__(self, _):
            return x, y

    class Meter(L.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, index):
            done = index + 1 - warm_up
            if done < 0 or done % chunk:
                return
            now = time.perf_counter_ns()
            if done > 0:
                times.append((now - self.start) / chunk / 1000)
            self.start = now

    class Watch(L.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, index):
            if index + 1 in (100, watch * 3 // 10, watch):
                pages = int(open("/proc/self/statm").read().split()[1])
                seen.append({"step": index + 1, "mib": pages * resource.getpagesize() / 2**20})

    class Module(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = net

        def training_step(self, batch, index):
            loss = loss_of(self.net(batch[0]), batch[1])
            if index < checked:
                losses.append(loss.item())
            return loss

        def configure_optimizers(self):
            return make_optimizer(self, optimizer)

    trainer = L.Trainer(
        accelerator="cpu", precision="bf16-mixed" if bf16 else "32-true", max_steps=watch or warm_up + chunk * chunks,
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, callbacks=[Watch() if watch else Meter()],
    )  # fmt: skip
    trainer.fit(Module(), torch.utils.data.DataLoader(Endless(), batch_size=None))
    print(json.dumps({"first": seen[0], "middle": seen[1], "last": seen[2]} if watch else {"us": median(times), "losses": losses}))


def small_add():
    a, b, times = torch.ones(4, 4), torch.ones(4, 4), []
    add = torch.add
    with torch.no_grad():
        for chunk in range(60):
            start = time.perf_counter_ns()
            for _ in range(5000):
                add(a, b)
            if chunk >= 20:
                times.append((time.perf_counter_ns() - start) / 5000 / 1000)
    print(json.dumps({"us": median(times), "losses": [add(a, b).sum().item()]}))


what, *rest = sys.argv[1:]
if what == "step":
    model, how, optimizer, precision, threads, steps = rest[:6]
    torch.set_num_threads(int(threads))
    (with_trainer if how == "trainer" else loop)(model, optimizer, precision == "bf16", int(steps))
elif what == "add":
    torch.set_num_threads(int(rest[0]))
    small_add()
elif what == "optimizer":
    torch.set_num_threads(int(rest[0]))
    p = torch.nn.Parameter(torch.randn(10**7) * 0.1)
    p.grad = torch.randn(10**7) * 0.01
    opt, times = torch.optim.AdamW([p], fused=True), []
    for i in range(17):
        start = time.perf_counter_ns()
        opt.step()
        if i >= 2:
            times.append((time.perf_counter_ns() - start) / 1000)
    state = sum(t.nbytes for t in opt.state[p].values() if t.dim() > 0)
    print(json.dumps({"us": median(times), "losses": [], "stateBytes": state}))
elif what == "memory":
    torch.set_num_threads(1)
    with_trainer("mlp", "fused", False, 100, watch=int(rest[0]))
elif what == "import":
    import lightning  # noqa: F401

    torch.ones(1).item()
    print(json.dumps({"us": (time.perf_counter_ns() - started) / 1000, "losses": []}))
else:
    import lightning

    print(json.dumps({"python": sys.version.split()[0], "torch": torch.__version__, "lightning": lightning.__version__, "capability": torch.backends.cpu.get_cpu_capability()}))
