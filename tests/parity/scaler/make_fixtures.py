"""Float16 runs of a plain PyTorch loop with torch.amp.GradScaler("cpu"): the scale after every step, the steps that were skipped, the losses.

The trajectory of the scale must hold on every processor, so each step is tried at scales 4 % lower and higher, too: where that would change whether a gradient overflows,
other data is taken.

    python tests/parity/scaler/make_fixtures.py        (PyTorch 2.13, Lightning 2.6)
"""

import sys
from pathlib import Path

here = Path(__file__).parent
sys.path.insert(0, str(here.parent))
from reproducible_env import ENVIRONMENT, tell_of_other_roots  # noqa: E402  (before torch)

import json  # noqa: E402

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

sys.path.insert(0, str(here.parent / "ops"))
from dsl import hashed  # noqa: E402

STEPS, BATCH, IN, HIDDEN, OUT = 48, 16, 12, 24, 5
MARGIN = 0.04

RUNS = [
    {"name": "SGD, growing every 3 steps into overflow", "optimizer": "sgd", "initScale": 2.0**22, "growthFactor": 2.0, "backoffFactor": 0.5, "growthInterval": 3, "clip": None, "bad": []},
    {"name": "AdamW, clipped by norm after unscale_, other factors", "optimizer": "adamw", "initScale": 2.0**24, "growthFactor": 8.0, "backoffFactor": 0.25, "growthInterval": 5, "clip": 0.5, "bad": []},
    {"name": "fused AdamW", "optimizer": "fused", "initScale": 2.0**20, "growthFactor": 4.0, "backoffFactor": 0.5, "growthInterval": 4, "clip": None, "bad": []},
    {"name": "two optimizers, one scaler, losses of infinity and NaN", "optimizer": "two", "initScale": 1024.0, "growthFactor": 2.0, "backoffFactor": 0.5, "growthInterval": 6, "clip": None, "bad": [3, 4, 17, 30]},
]  # fmt: skip


def filled(seed, shape, low, high):
    n = 1
    for s in shape:
        n *= s
    # A grid of 1/256: exact in every dtype that takes part.
    return torch.tensor([round((low + (high - low) * u) * 256) / 256 for u in hashed(seed, n)], dtype=torch.float32).reshape(shape)


def network():
    net = nn.Sequential(nn.Linear(IN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, OUT))
    with torch.no_grad():
        for i, p in enumerate(net.parameters()):
            p.copy_(filled(100 + i, p.shape, -0.5, 0.5))
    return net


def optimizers_of(kind, net):
    if kind == "sgd":
        return [torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.5)]
    if kind == "two":
        return [torch.optim.SGD(net[0].parameters(), lr=0.05), torch.optim.SGD(net[2].parameters(), lr=0.02)]
    return [torch.optim.AdamW(net.parameters(), lr=0.01, fused=kind == "fused")]


def loss_of(net, seed, step, bad):
    x = filled(seed + step, [BATCH, IN], -2, 2)
    y = torch.tensor([int(u * OUT) for u in hashed(seed + 500 + step, BATCH)])
    with torch.autocast("cpu", dtype=torch.float16):
        loss = F.cross_entropy(net(x), y)
    if step in bad:
        loss = loss * (float("nan") if bad.index(step) % 2 else float("inf"))
    return loss


def overflows(net, seed, step, bad, scale):
    grads = torch.autograd.grad(loss_of(net, seed, step, bad) * scale, list(net.parameters()))
    return not all(g.isfinite().all() for g in grads)


def run(spec, seed):
    net = network()
    optimizers = optimizers_of(spec["optimizer"], net)
    scaler = torch.amp.GradScaler("cpu", init_scale=spec["initScale"], growth_factor=spec["growthFactor"], backoff_factor=spec["backoffFactor"], growth_interval=spec["growthInterval"])
    scales, trackers, skipped, losses = [], [], [], []
    for step in range(STEPS):
        scale = scaler.get_scale()
        status = {overflows(net, seed, step, spec["bad"], scale * f) for f in (1 - MARGIN, 1, 1 + MARGIN)}
        if len(status) > 1:
            return None
        for o in optimizers:
            o.zero_grad()
        loss = loss_of(net, seed, step, spec["bad"])
        losses.append(str(loss.item()))
        scaler.scale(loss).backward()
        if spec["clip"] is not None:
            scaler.unscale_(optimizers[0])
            nn.utils.clip_grad_norm_(net.parameters(), spec["clip"])
        for o in optimizers:
            scaler.step(o)
        if any(t.item() for s in scaler._per_optimizer_states.values() for t in s["found_inf_per_device"].values()):
            skipped.append(step)
        scaler.update()
        scales.append(scaler.get_scale())
        trackers.append(scaler._get_growth_tracker())
    assert skipped, spec["name"]
    assert max(scales) > min(scales), spec["name"]
    return {**spec, "seed": seed, "steps": STEPS, "scales": scales, "trackers": trackers, "skipped": skipped, "losses": losses, "final": [p.detach().flatten().tolist() for p in net.parameters()], "state": scaler.state_dict()}


def lightnings_entry():
    """What Lightning 2.6 puts into a checkpoint for the scaler, and under which key."""
    import lightning.pytorch as L
    from lightning.pytorch.plugins.precision import MixedPrecision

    plugin = MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=512.0, growth_interval=7))
    return {"lightning": L.__version__, "key": type(plugin).__qualname__, "state": plugin.state_dict()}


def main():
    torch.set_num_threads(1)
    tell_of_other_roots()
    origin = {"torch": torch.__version__.split("+")[0], "capability": torch.backends.cpu.get_cpu_capability(), "environment": ENVIRONMENT, "lightning": lightnings_entry()}
    runs = [next(r for r in (run(s, 10000 + 1000 * k) for k in range(200)) if r is not None) for s in RUNS]
    lines = [json.dumps(x, separators=(",", ":")) for x in [origin, *runs]]
    (here / "fixtures.jsonl").write_text("\n".join(lines) + "\n")
    for r in runs:
        print(r["name"], "seed", r["seed"], "skipped", r["skipped"], "scales", r["scales"])


main()
