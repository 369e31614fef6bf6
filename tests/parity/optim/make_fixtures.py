"""Writes lbfgs.jsonl: what torch.optim.LBFGS of PyTorch does on some functions. Run it with a Python that has PyTorch.

First line: the environment. A line search in float32 takes another path where one sum is rounded otherwise, so kernels are pinned here, too.
"""
import json
import pathlib
import sys

here = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(here.parent))
from reproducible_env import ENVIRONMENT  # noqa: E402  (before torch)

import torch  # noqa: E402

torch.set_num_threads(1)


def rosenbrock(params):
    (p,) = params
    return 100 * (p[1] - p[0].square()).square() + (p[0] - 1).square()


def quadratic(params):
    a, b = params
    return (a * a * torch.tensor([1.0, 10.0, 100.0], dtype=a.dtype)).sum() + (b - 3).square().sum() * 0.5 + a[0] * b[0]


def quartic(params):
    a, b = params
    return (a - 1).pow(4).sum() + (a.sum() - b.sum()).square() + b.pow(4).sum()


def logistic(params):
    a, b = params
    x = torch.tensor([[1.0, 2.0, -1.0], [0.5, -1.5, 2.0], [-2.0, 0.25, 1.0], [1.5, 1.0, 0.5]], dtype=a.dtype)
    y = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=a.dtype)
    return torch.nn.functional.softplus(-(x.mv(a) + b[0]) * y).mean() + a.square().sum() * 0.01 + b.square().sum() * 0.01


def circle(params):
    (z,) = params
    return (z * z - 1).abs().square().sum() + z.abs().square().sum() * 0.1


STARTS = {
    rosenbrock: lambda t: [torch.tensor([-1.2, 1.0], dtype=t)],
    quadratic: lambda t: [torch.tensor([1.0, -2.0, 3.0], dtype=t), torch.tensor([0.5, 4.0], dtype=t)],
    quartic: lambda t: [torch.tensor([3.0, -2.0, 0.5], dtype=t), torch.tensor([2.0], dtype=t)],
    logistic: lambda t: [torch.tensor([0.1, 0.2, 0.3], dtype=t), torch.tensor([0.0], dtype=t)],
    circle: lambda t: [torch.tensor([0.5 + 1.5j, -2 + 0.25j], dtype=torch.complex128 if t == torch.float64 else torch.complex64)],
}
OPTIONS = [
    dict(lr=0.05, max_iter=5),
    dict(lr=0.05, max_iter=6, history_size=2, max_eval=4),
    dict(lr=0.02, max_iter=8, tolerance_grad=0.5, tolerance_change=1e-3),
    dict(line_search_fn="strong_wolfe"),
    dict(line_search_fn="strong_wolfe", max_iter=4, history_size=2),
    dict(line_search_fn="strong_wolfe", lr=0.1, max_iter=6, max_eval=5),
    dict(line_search_fn="strong_wolfe", max_iter=10, tolerance_grad=0.05, tolerance_change=1e-4),
]


def plain(value):
    if isinstance(value, torch.Tensor):
        return plain(torch.view_as_real(value).tolist()) if value.is_complex() else value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value


def record(function, dtype, options):
    params = [torch.nn.Parameter(p) for p in STARTS[function](dtype)]
    optimizer = torch.optim.LBFGS(params, **options)
    evaluations = 0

    def closure():
        nonlocal evaluations
        evaluations += 1
        optimizer.zero_grad()
        loss = function(params)
        loss.backward()
        return loss

    steps = []
    state = None
    for i in range(5):
        if i == 2:
            state = optimizer.state_dict()
            state = {"state": {k: {n: plain(v) for n, v in s.items() if n != "al"} for k, s in state["state"].items()}, "param_groups": state["param_groups"]}
        if i == 3:
            optimizer.param_groups[0]["lr"] *= 0.5
        loss = optimizer.step(closure)
        steps.append({"evaluations": evaluations, "loss": loss.item(), "params": [plain(p.detach()) for p in params], "nIter": optimizer.state[params[0]]["n_iter"]})
    return {"function": function.__name__, "dtype": str(dtype).removeprefix("torch."), "options": options, "steps": steps, "state": state}


with open(here / "lbfgs.jsonl", "w") as file:
    file.write(json.dumps({"torch": torch.__version__.split("+")[0], "capability": torch.backends.cpu.get_cpu_capability(), "environment": ENVIRONMENT}) + "\n")
    for function in STARTS:
        for dtype in (torch.float32, torch.float64):
            for options in OPTIONS:
                file.write(json.dumps(record(function, dtype, options)) + "\n")
print(torch.__version__, file=sys.stderr)
