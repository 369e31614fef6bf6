"""Measurements of the Python baseline, each in a process of its own.

    python baseline.py <model> <precision> <mode> <steps>    one line of JSON
    python baseline.py serve                                 the same for every such line on stdin; imports once and forks for each
    python baseline.py <model> <precision> weights <file>    the initial weights and the batch, for jax_side.py

A precision may end in *n: n batches to an optimizer step (bf16*4). Modes: eager and compile (Lightning's Trainer), loop and loop-compile (a plain PyTorch loop). The same models as models.ts and vit.ts, drawn in the same order from the same seed. `NBIT_PROFILE` names
a file for the time of every kernel. From NBIT_BENCH_STARTED, the time at which the process was started, follows how long the first step took to come; imports of a server count for each of its rows.
"""
import contextlib
import json
import logging
import os
import sys
import time
import warnings

began = time.time()

import numpy
import torch
import torch.nn as nn
import torch.nn.functional as F

import lightning as L
from lightning.pytorch.plugins import MixedPrecision

# Milliseconds from the start of the process to here.
imported = (time.time() * 1000 - float(os.environ["NBIT_BENCH_STARTED"])) if "NBIT_BENCH_STARTED" in os.environ else (time.time() - began) * 1000

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

model = precision = mode = ""  # set per measurement
accumulate = 1
TINY = dict(layers=2, width=64, heads=2, context=32, vocabulary=256, batch=4)
# A scale at which the first step of every model has finite gradients: a skipped first step leaves PyTorch's fused SGD with NaN for good.
INIT_SCALE = 1024.0
WIDE = dict(layers=4, width=4096, tokens=16384)
GPT2 = dict(layers=12, width=768, heads=12, context=1024, vocabulary=50304, batch=8)
GPTS = {"tiny": TINY, "gpt2": GPT2, "gpt2-32k": dict(GPT2, context=32768, batch=1), "gpt2-350m": dict(GPT2, layers=24, width=1024, heads=16)}
VIT = dict(layers=12, width=768, heads=12, patch=16, image=224, classes=1000, batch=128)


class Block(nn.Module):
    def __init__(self, c, causal=True):
        super().__init__()
        d = c["width"]
        self.heads, self.causal = c["heads"], causal
        self.ln1 = nn.LayerNorm(d)
        self.attn = nn.Linear(d, 3 * d)
        self.proj = nn.Linear(d, d)
        self.ln2 = nn.LayerNorm(d)
        self.fc = nn.Linear(d, 4 * d)
        self.out = nn.Linear(4 * d, d)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (p.view(b, t, self.heads, d // self.heads).transpose(1, 2) for p in self.attn(self.ln1(x)).split(d, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal).transpose(1, 2).reshape(b, t, d)
        x = x + self.proj(y)
        return x + self.out(F.gelu(self.fc(self.ln2(x))))


def draw_weights(model):
    for m in model.modules():
        if isinstance(m, nn.Linear):
            nn.init.normal_(m.weight, 0, 0.02)
            nn.init.zeros_(m.bias)
        elif isinstance(m, nn.Embedding):
            nn.init.normal_(m.weight, 0, 0.02)


class Gpt(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.wte = nn.Embedding(c["vocabulary"], c["width"])
        self.wpe = nn.Embedding(c["context"], c["width"])
        self.blocks = nn.ModuleList(Block(c) for _ in range(c["layers"]))
        self.lnf = nn.LayerNorm(c["width"])
        draw_weights(self)

    def forward(self, tokens, targets):
        x = F.embedding(tokens, self.wte.weight) + self.wpe.weight[: self.c["context"]]
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.lnf(x), self.wte.weight)
        return F.cross_entropy(logits.view(-1, self.c["vocabulary"]), targets.view(-1))


class Vit(nn.Module):
    def __init__(self):
        super().__init__()
        d, p = VIT["width"], VIT["patch"]
        self.patches = nn.Conv2d(3, d, p, stride=p)
        self.token = nn.Parameter(torch.zeros(1, 1, d))
        self.positions = nn.Parameter(torch.zeros(1, (VIT["image"] // p) ** 2 + 1, d))
        self.blocks = nn.ModuleList(Block(VIT, causal=False) for _ in range(VIT["layers"]))
        self.lnf = nn.LayerNorm(d)
        self.head = nn.Linear(d, VIT["classes"])
        draw_weights(self)
        nn.init.normal_(self.positions, 0, 0.02)

    def forward(self, images, targets):
        patches = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(images), -1, -1), patches], 1) + self.positions
        for block in self.blocks:
            x = block(x)
        return F.cross_entropy(self.head(self.lnf(x)[:, 0]), targets)


class Bottleneck(nn.Module):
    def __init__(self, cin, width, stride):
        super().__init__()
        out = width * 4
        self.conv1 = nn.Conv2d(cin, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.down = nn.Sequential(nn.Conv2d(cin, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out)) if stride != 1 or cin != out else None

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.down is None else self.down(x)))


class ResNet50(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn = nn.BatchNorm2d(64)
        blocks, channels = [], 64
        for i, n in enumerate([3, 4, 6, 3]):
            for j in range(n):
                blocks.append(Bottleneck(channels, 64 << i, 2 if j == 0 and i > 0 else 1))
                channels = 256 << i
        self.layers = nn.ModuleList(blocks)
        self.fc = nn.Linear(2048, 1000)

    def forward(self, images, targets):
        x = F.max_pool2d(F.relu(self.bn(self.conv(images))), 3, 2, 1)
        for block in self.layers:
            x = block(x)
        return F.cross_entropy(self.fc(x.mean([2, 3])), targets)


class WideBlock(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.ln = nn.LayerNorm(d)
        self.fc = nn.Linear(d, 4 * d)
        self.out = nn.Linear(4 * d, d)

    def forward(self, x):
        return x + self.out(F.gelu(self.fc(self.ln(x))))


class Wide(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(WideBlock(WIDE["width"]) for _ in range(WIDE["layers"]))

    def forward(self, x, y):
        for block in self.blocks:
            x = block(x)
        return F.mse_loss(x.float(), y.float())


class Lit(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = ResNet50() if model == "resnet50" else Vit() if model == "vit" else Wide() if model == "wide" else Gpt(GPTS[model])
        self.run = self.net

    def training_step(self, batch, i):
        loss = self.run(*batch)
        self.latest = loss.detach()  # not yet divided by the window
        return loss

    def configure_optimizers(self):
        if model == "resnet50":
            return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9, fused=True)
        return torch.optim.AdamW(self.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)


def batch_of(lit, where):
    if model == "wide":
        return [torch.randn(WIDE["tokens"], WIDE["width"]).to(where), torch.randn(WIDE["tokens"], WIDE["width"]).to(where)]
    if model == "vit":
        n = VIT["batch"] if where != "cpu" or torch.cuda.is_available() else 4
        return [torch.randn(n, 3, VIT["image"], VIT["image"]).to(where), torch.randint(VIT["classes"], (n,)).to(where)]
    if model == "resnet50":
        n = 256 if where == "cuda" else 4
        return [torch.randn(n, 3, 224, 224).to(where, memory_format=torch.channels_last), torch.randint(1000, (n,)).to(where)]
    c = lit.net.c
    tokens = torch.randint(c["vocabulary"], (c["batch"], c["context"] + 1))
    return [tokens[:, :-1].contiguous().to(where), tokens[:, 1:].contiguous().to(where)]


def save_weights(path):
    L.seed_everything(42, verbose=False)
    lit = Lit()
    x, y = batch_of(lit, "cpu")
    numpy.savez(path, **{f"p.{name}": p.detach().numpy() for name, p in lit.net.named_parameters()}, x=x.numpy(), y=y.numpy())
    print(json.dumps(dict(weights=path)), flush=True)


def measure(steps):
    windows = lambda batches: -(-batches // accumulate) * accumulate
    warm_up = windows(max(12, steps // 5))
    gpu = torch.cuda.is_available()
    where = "cuda" if gpu else "cpu"
    L.seed_everything(42, verbose=False)
    lit = Lit()
    batch = batch_of(lit, where)
    if model == "resnet50":
        lit.net.to(memory_format=torch.channels_last)
        torch.backends.cudnn.benchmark = True
    if precision == "bf16-true" and model in ("resnet50", "wide"):
        batch[0] = batch[0].bfloat16()

    losses, times = [], []
    chunk = windows(max(1, steps // 5))
    total = warm_up + 5 * chunk
    state = dict(n=0, start=0.0, first=0.0)
    span = []

    profiler = torch.profiler.profile() if os.environ.get("NBIT_PROFILE") else contextlib.nullcontext()


    def tick(loss):
        state["n"] += 1
        if os.environ.get("NBIT_PROFILE") and state["n"] == warm_up:
            torch.cuda.synchronize()
            profiler.start()
        if state["n"] <= 3 * accumulate and state["n"] % accumulate == 1 % accumulate:  # the first of each window
            losses.append(loss.item())
        if state["n"] == 1:
            state["first"] = time.time() * 1000
        k = state["n"] - warm_up
        if k < 0 or k % chunk:
            return
        if gpu:
            torch.cuda.synchronize()
        now = time.perf_counter()
        if k == 0 or state["n"] == total:
            span.append(time.time() * 1000)
        if k > 0:
            times.append((now - state["start"]) / chunk * 1e3)
        elif gpu:
            torch.cuda.reset_peak_memory_stats()
        state["start"] = now
        if state["n"] == total:
            losses.append(loss.item())


    if mode in ("loop", "loop-compile"):
        net = lit.net.to(where)
        optimizer = lit.configure_optimizers()
        dtype = {"16": torch.float16, "bf16": torch.bfloat16}.get(precision)
        scaler = torch.amp.GradScaler(where, init_scale=INIT_SCALE, enabled=precision == "16")
        if mode == "loop-compile":
            net = torch.compile(net)
        for i in range(total):
            if i % accumulate == 0:
                optimizer.zero_grad()
            with torch.autocast(where, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
                loss = net(*batch)
            scaler.scale(loss if accumulate == 1 else loss / accumulate).backward()
            if (i + 1) % accumulate == 0:
                scaler.step(optimizer)
                scaler.update()
            tick(loss.detach())
    else:

        class Data(torch.utils.data.IterableDataset):
            def __len__(self):
                return total

            def __iter__(self):
                for _ in range(total):
                    yield batch

        class Meter(L.Callback):
            def on_train_batch_end(self, trainer, module, outputs, *_):
                tick(module.latest)

        if mode == "compile":
            lit.run = torch.compile(lit.net)
        name = {"32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed"}.get(precision, precision)
        how = dict(plugins=[MixedPrecision("16-mixed", where, scaler=torch.amp.GradScaler(where, init_scale=INIT_SCALE))]) if precision == "16" else dict(precision=name)
        trainer = L.Trainer(accelerator="gpu" if gpu else "cpu", devices=1, **how, accumulate_grad_batches=accumulate, max_steps=total // accumulate, max_epochs=-1, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, callbacks=[Meter()])
        trainer.fit(lit, torch.utils.data.DataLoader(Data(), batch_size=None))

    if os.environ.get("NBIT_PROFILE"):
        profiler.stop()
        rows = sorted(((e.self_device_time_total, e.count, e.key) for e in profiler.key_averages() if e.device_type == torch.autograd.DeviceType.CUDA), reverse=True)
        with open(os.environ["NBIT_PROFILE"], "w") as f:
            f.writelines(f"{us * 1000:.0f}\t{count}\t{name}\n" for us, count, name in rows)
    times.sort()
    mib = 2**20
    print(json.dumps(dict(side="pytorch" if mode.startswith("loop") else "lightning", model=model, precision=precision, mode=mode, ms=times[len(times) // 2], min=times[0], losses=losses, startupMs=imported + state["first"] - began_row, span=span, allocatedMiB=torch.cuda.max_memory_allocated() / mib if gpu else None, reservedMiB=torch.cuda.max_memory_reserved() / mib if gpu else None, torch=torch.__version__, lightning=L.__version__)), flush=True)


def run(line):
    global model, precision, mode, accumulate, began_row
    began_row = time.time() * 1000
    model, precision, mode, steps = line
    precision, _, n = precision.partition("*")
    accumulate = int(n or 1)
    if mode == "weights":
        return save_weights(steps)
    measure(int(steps))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        for line in sys.stdin:
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    run(line.split())
                    status = 0
                except BaseException as error:  # a refusal of one row is that row's result
                    print(json.dumps(dict(error=f"{type(error).__name__}: {error}"[:600])), flush=True)
                os._exit(status)
            os.waitpid(child, 0)
            print("done", flush=True)
    else:
        run(sys.argv[1:5])
