"""The jobs that PyTorch and Lightning do."""

import contextlib
import logging
import resource
import time
import warnings

import torch
from side import Meter, median, since_start
from torch_models import build


def make_optimizer(parameters, spec):
    lr, fused = spec["lr"], True if spec["fused"] else None
    if spec["name"] == "SGD":
        return torch.optim.SGD(parameters, lr=lr, momentum=0.9, fused=fused)
    return {"Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW}[spec["name"]](parameters, lr=lr, fused=fused)


def step(job):
    torch.set_num_threads(job["threads"])
    return lightning_steps(job) if job["side"] == "lightning" else loop_steps(job)


def loop_steps(job):
    torch.manual_seed(42)
    net, x, y, loss_of = build(job["model"])
    opt = make_optimizer(net.parameters(), job["optimizer"])
    losses, meter = [], Meter(job)

    def objective(x, y):
        return loss_of(net(x), y)

    if job["side"] == "compile":
        objective = torch.compile(objective)
    bf16 = job["precision"] == "bf16"
    for _ in range(meter.total):
        opt.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16) if bf16 else contextlib.nullcontext():
            loss = objective(x, y)
        if meter.done < meter.checked:
            losses.append(loss.item())
        loss.backward()
        opt.step()
        meter.tick()
    return meter.result(losses)


def fit(job, steps, on_step):
    """Lightning's Trainer over one batch; `on_step` gets the number of steps done after each. Returns the losses of the first ten."""
    import lightning as L

    warnings.filterwarnings("ignore")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    L.seed_everything(42)
    net, x, y, loss_of = build(job["model"])
    losses = []

    class Endless(torch.utils.data.Dataset):
        def __len__(self):
            return 10**7

        def __getitem__(self, _):
            return x, y

    class OnStep(L.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, index):
            on_step(index + 1)

    class Module(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = net

        def training_step(self, batch, index):
            loss = loss_of(self.net(batch[0]), batch[1])
            if index < 10:
                losses.append(loss.item())
            return loss

        def configure_optimizers(self):
            return make_optimizer(self.parameters(), job["optimizer"])

    trainer = L.Trainer(
        accelerator="cpu", precision="bf16-mixed" if job["precision"] == "bf16" else "32-true", max_steps=steps,
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, callbacks=[OnStep()],
    )  # fmt: skip
    trainer.fit(Module(), torch.utils.data.DataLoader(Endless(), batch_size=None))
    return losses


def lightning_steps(job):
    meter = Meter(job)
    losses = fit(job, meter.total, lambda _: meter.tick())
    return meter.result(losses[: meter.checked])


def memory(job):
    torch.set_num_threads(1)
    steps, seen = job["steps"], []

    def watch(done):
        if done in (100, steps * 3 // 10, steps):
            pages = int(open("/proc/self/statm").read().split()[1])
            seen.append({"step": done, "mib": pages * resource.getpagesize() / 2**20})

    fit({"optimizer": {"name": "AdamW", "fused": True, "lr": 1e-3}, "precision": "32", **job}, steps, watch)
    return {"first": seen[0], "middle": seen[1], "last": seen[2]}


def add(job):
    torch.set_num_threads(job["threads"])
    a, b, times = torch.ones(4, 4), torch.ones(4, 4), []
    function = torch.add
    with torch.no_grad():
        for chunk in range(60):
            start = time.perf_counter_ns()
            for _ in range(5000):
                function(a, b)
            if chunk >= 20:
                times.append((time.perf_counter_ns() - start) / 5000 / 1000)
    return {"us": median(times), "losses": [function(a, b).sum().item()]}


def optimizer(job):
    torch.set_num_threads(job["threads"])
    p = torch.nn.Parameter(torch.randn(10**7) * 0.1)
    p.grad = torch.randn(10**7) * 0.01
    opt, times = torch.optim.AdamW([p], fused=True), []
    for i in range(17):
        start = time.perf_counter_ns()
        opt.step()
        if i >= 2:
            times.append((time.perf_counter_ns() - start) / 1000)
    state = sum(t.nbytes for t in opt.state[p].values() if t.dim() > 0)
    return {"us": median(times), "losses": [], "stateBytes": state}


def mnist(job):
    """MNIST's four files as tensors, read by NumPy."""
    import gzip
    import math
    import struct

    import numpy

    torch.set_num_threads(job["threads"])
    torch.ones(1).add(1).item()

    def read(name):
        path = f"{job['folder']}/{name}-ubyte{job['ending']}"
        with gzip.open(path) if job["ending"] else open(path, "rb") as file:
            data = file.read()
        shape = struct.unpack_from(f">{data[3]}I", data, 4)
        array = numpy.frombuffer(data, numpy.uint8, math.prod(shape), 4 + 4 * len(shape)).reshape(shape)
        if "labels" in name:
            return torch.from_numpy(array.astype(numpy.int64))
        return torch.from_numpy(array[:, None].astype(numpy.float32)).div_(255).sub_(0.1307).div_(0.3081)

    start = time.perf_counter_ns()
    tensors = [read(name) for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")]
    us = (time.perf_counter_ns() - start) / 1000
    return {"us": us, "losses": [t.double().mean().item() for t in tensors]}


def start(_job):
    import lightning  # noqa: F401

    torch.ones(1).item()
    return {"us": since_start() * 1e6, "losses": []}


def weights(job):
    """Initial weights, buffers and batch of a model into a file of NumPy, from which JAX starts."""
    import numpy

    torch.manual_seed(42)
    net, x, y, _ = build(job["model"])
    arrays = {f"p.{name}": p.detach().numpy() for name, p in net.named_parameters()}
    arrays |= {f"s.{name}": b.numpy() for name, b in net.named_buffers() if b.is_floating_point()}
    numpy.savez(job["file"], x=x.numpy(), y=y.numpy(), **arrays)
    return {}
