"""Records what PyTorch makes of the tables in cases/: `python make_fixtures.py [area …]`. README.md says what a case is.

`python make_fixtures.py --device cuda --out FOLDER [area …]` records what it makes of them on a GPU, as run.ts does there; rows that this PyTorch
does not have are left out, and named.

Each tensor is recorded by its dtype, shape, its product with a fixed vector and its norm, in float64: a wrong element shows in the
product, and a table of hundreds of calls stays small.
"""

import argparse
import json
import math
import pathlib
import sys
import zlib

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "ops")]
from reproducible_env import ENVIRONMENT  # noqa: E402  (before torch)

import torch  # noqa: E402
from dsl import hashed  # noqa: E402

MODES = ["float32", "float64", "bfloat16", "autocast"]
DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16, "autocast": torch.float32}


def digest(t):
    t = t.detach()
    t = (t.coalesce().to_dense() if t.is_sparse else t).cpu()
    kind, shape = str(t.dtype).removeprefix("torch."), list(t.shape)
    flat = (torch.view_as_real(t.resolve_conj()) if t.is_complex() else t).reshape(-1).double()
    w = torch.from_numpy(hashed(7, flat.numel()) * 2 - 1)
    return [kind, shape, number(float(flat @ w)), number(float(flat.norm()))]


def number(x):
    return float(f"{x:.12g}") if math.isfinite(x) else str(x)


DEVICE = "cpu"


class Case:
    """One row of a table in one mode."""

    def __init__(self, row, mode):
        self.row, self.mode, self.dtype = row, mode, DTYPES[mode]
        self.place = DEVICE

    def module(self, make):
        """Modules are drawn by the CPU's generator, and moved then."""
        self.place = "cpu"
        made = make()
        self.place = DEVICE
        return made

    def tensor(self, spec, key):
        shape, dtype = spec["shape"] if "shape" in spec else [len(spec["values"])], spec.get("dtype", "float")
        n = math.prod(shape)
        kind = self.dtype if dtype == "float" else getattr(torch, dtype)
        if "values" in spec:
            data = torch.tensor([float(v) for v in spec["values"]], dtype=torch.float64)
        else:
            floating = kind.is_floating_point or kind.is_complex
            low, high = spec.get("low", -2 if floating else 0), spec.get("high", 2)
            u = torch.from_numpy(hashed(zlib.crc32(f"{self.row['name']}#{key}".encode()), n * (2 if kind.is_complex else 1)))
            data = low + (high - low) * u
            data = data if floating else data.floor()
            if kind.is_complex:
                return torch.view_as_complex(data.reshape([*shape, 2])).to(kind).to(self.place).requires_grad_(spec.get("grad", True))
        t = data.reshape(shape).to(kind).to(self.place)
        return t.requires_grad_(spec.get("grad", "values" not in spec)) if kind.is_floating_point else t

    def value(self, v, key):
        """What an argument of the table stands for."""
        if isinstance(v, list):
            return tuple(self.value(each, f"{key}.{i}") for i, each in enumerate(v))
        if not isinstance(v, dict):
            return v
        if "$tensor" in v:
            t = self.tensor(v["$tensor"], key)
            return t
        if "$list" in v:
            return [self.value(each, f"{key}.{i}") for i, each in enumerate(v["$list"])]
        if "$dtype" in v:
            return getattr(torch, v["$dtype"])
        if "$number" in v:
            return float(v["$number"])
        if "$fn" in v:
            return lookup(v["$fn"])
        if "$new" in v:
            return self.call(lookup(v["$new"]), v, key)
        return {name: self.value(each, f"{key}.{name}") for name, each in v.items()}

    def call(self, fn, spec, key, *first):
        args = [self.value(a, f"{key}.{i}") for i, a in enumerate(spec.get("args", []))]
        kwargs = {name: self.value(a, f"{key}.{name}") for name, a in spec.get("kwargs", {}).items()}
        return fn(*first, *args, **kwargs)

    def region(self):
        return torch.autocast(DEVICE, dtype=torch.bfloat16, enabled=self.mode == "autocast")


def lookup(path):
    found = torch
    for part in path.split("."):
        found = getattr(found, part)
    return found


def tensors(value):
    """The tensors of an output, in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, torch.nn.utils.rnn.PackedSequence):
        return [value.data, value.batch_sizes]
    if isinstance(value, dict):
        return [t for v in value.values() for t in tensors(v)]
    if isinstance(value, (list, tuple)):
        return [t for v in value for t in tensors(v)]
    return []


def loss_of(outputs):
    """A number that depends on every element of every output that has a gradient."""
    total = None
    for t in outputs:
        if not t.requires_grad:
            continue
        real = torch.view_as_real(t.resolve_conj()) if t.is_complex() else t
        wide = real.double() if real.dtype == torch.float64 else real.float()
        w = torch.from_numpy(hashed(11, wide.numel()) * 2 - 1).reshape(wide.shape).to(wide)
        part = (wide * w).mean() if wide.numel() else wide.sum()
        total = part if total is None else total + part
    return total


def run_call(case):
    """A module or a function: outputs, gradients, and a few steps of SGD."""
    row = case.row
    fn = lookup(row["call"])
    inputs = [case.value({"$tensor": spec}, f"in{i}") for i, spec in enumerate(row.get("inputs", []))]
    module = isinstance(fn, type) and issubclass(fn, torch.nn.Module)
    record = {}
    torch.manual_seed(0)
    if module:
        target = case.module(lambda: case.call(fn, row, "arg")).train(row.get("train", True))
        record["state"] = {name: digest(t) for name, t in target.state_dict().items() if isinstance(t, torch.Tensor)}
        target = target.to(DEVICE, case.dtype)
        forward_kwargs = {k: case.value(v, f"fwd.{k}") for k, v in row.get("forward", {}).items()}
        call = lambda: target(*inputs, **forward_kwargs)  # noqa: E731
        params = dict(target.named_parameters())
    else:
        call = lambda: case.call(fn, row, "arg", *inputs)  # noqa: E731
        params = {}
    torch.manual_seed(1)
    with case.region():
        outputs = tensors(call())
    record["outputs"] = [digest(t) for t in outputs]
    if row.get("output") is not None:
        outputs = [outputs[row["output"]]]
    loss = loss_of(outputs)
    if loss is None:
        return record
    loss.backward()
    record["inputGrads"] = [digest(t.grad) if t.grad is not None else None for t in inputs if t.requires_grad]
    record["grads"] = {name: digest(p.grad) if p.grad is not None else None for name, p in params.items()}
    steps = row.get("steps", 5)
    if params and steps:
        optimizer = torch.optim.SGD(params.values(), lr=0.1)
        losses = []
        for _ in range(steps):
            optimizer.zero_grad()
            with case.region():
                outputs = tensors(call())
            if row.get("output") is not None:
                outputs = [outputs[row["output"]]]
            loss = loss_of(outputs)
            loss.backward()
            optimizer.step()
            losses.append(number(float(loss.detach())))
        record["losses"] = losses
        record["after"] = {name: digest(t) for name, t in target.state_dict().items() if isinstance(t, torch.Tensor)}
    return record


def small_model(case):
    if case.row.get("model") == "embedding":
        return torch.nn.Sequential(torch.nn.Embedding(10, 4, sparse=True), torch.nn.Flatten(), torch.nn.Linear(8, 3))
    return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))


def run_optimizer(case):
    """Some steps on a small model: losses, parameters after each, state after the last."""
    row = case.row
    torch.manual_seed(0)
    model = small_model(case).to(DEVICE, case.dtype)
    sparse = row.get("model") == "embedding"
    x = case.tensor({"shape": [5, 2], "dtype": "int64", "high": 10} if sparse else {"shape": [5, 6], "grad": False}, "x")
    y = case.tensor({"shape": [5, 3], "grad": False}, "y")
    params = list(model.parameters())
    params = params[:1] if sparse else [p for p in params if p.dim() == 2] if row.get("matrices") else params
    optimizer = case.call(lookup(row["call"]), row, "arg", params)

    def closure():
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x), y)
        loss.backward()
        return loss

    record = {"losses": [], "params": []}
    for _ in range(row.get("steps", 10)):
        if row.get("closure"):
            loss = optimizer.step(closure)
        else:
            loss = closure()
            optimizer.step()
        record["losses"].append(number(float(loss.detach())))
        record["params"].append([digest(p) for p in params])
    if not row.get("stateless"):
        record["state"] = [
            {name: entry(v) for name, v in sorted(optimizer.state.get(p, {}).items()) if entry(v) is not None} for p in params
        ]
    return record


def entry(v):
    if isinstance(v, torch.Tensor):
        return ["number", number(float(v))] if v.dim() == 0 else digest(v)
    if isinstance(v, (int, float)) and not isinstance(v, bool):
        return ["number", number(float(v))]
    return None


def run_scheduler(case):
    """Learning rates and momenta of two groups, step by step."""
    row = case.row
    spec = row.get("optimizer", {"call": "optim.SGD", "kwargs": {"lr": 0.1}})
    params = [torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))]
    for p in params:
        p.grad = torch.zeros(2)
    groups = [{"params": [params[0]]}, {"params": [params[1]], "lr": spec.get("second", 0.05)}]
    optimizer = case.call(lookup(spec["call"]), spec, "opt", groups)

    def value(v):
        if isinstance(v, list):
            return [value(each) for each in v]
        if isinstance(v, dict) and "$scheduler" in v:
            return build(v["$scheduler"])
        if isinstance(v, dict) and "$inverse" in v:
            return lambda x: 1 / (1 + v["$inverse"] * x)
        return v

    def build(spec):
        first = [] if spec.get("bare") else [optimizer]
        kwargs = {name: value(v) for name, v in spec.get("kwargs", {}).items()}
        return lookup(spec["call"])(*first, *value(spec.get("args", [])), **kwargs)

    scheduler = build(row)
    record = {"rates": [rates(optimizer)]}
    metrics = row.get("metrics")
    for i in range(row.get("steps", 20)):
        optimizer.step()
        scheduler.step(*([metrics[i % len(metrics)]] if metrics else [row["epochs"][i]] if "epochs" in row else []))
        record["rates"].append(rates(optimizer))
    return record


def rates(optimizer):
    return [[g["lr"], g.get("momentum", g["betas"][0] if "betas" in g else 0)] for g in optimizer.param_groups]


def is_scheduler(path):
    return path.startswith("optim.lr_scheduler.") or path == "optim.swa_utils.SWALR"


def run(case):
    path = case.row["call"]
    if is_scheduler(path):
        return run_scheduler(case)
    return run_optimizer(case) if path.startswith("optim.") else run_call(case)


def main():
    global DEVICE
    parser = argparse.ArgumentParser()
    parser.add_argument("areas", nargs="*")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "fixtures")
    arguments = parser.parse_args()
    DEVICE = arguments.device
    torch.set_num_threads(1)
    torch.backends.cudnn.allow_tf32 = False
    arguments.out.mkdir(exist_ok=True)
    origin = {"torch": torch.__version__.split("+")[0], "capability": torch.backends.cpu.get_cpu_capability(), "environment": ENVIRONMENT}
    areas = arguments.areas or sorted(p.stem for p in (HERE / "cases").glob("*.json"))
    for area in areas:
        rows = json.loads((HERE / "cases" / f"{area}.json").read_text())
        names = [row["name"] for row in rows]
        doubled = {name for name in names if names.count(name) > 1}
        assert not doubled, f"{area}: names twice: {doubled}"
        lines = [json.dumps(origin, separators=(",", ":"))]
        for row in rows:
            scheduler = is_scheduler(row["call"])
            for mode in ["float64"] if scheduler else row.get("modes", MODES if not row["call"].startswith("optim.") else MODES[:3]):
                try:
                    record = run(Case(row, mode))
                except Exception as error:
                    if DEVICE == "cpu":
                        raise RuntimeError(f"{area}: {row['name']} ({mode})") from error
                    print(f"{area}: {row['name']} ({mode}): {str(error).splitlines()[0][:160]}")
                    continue
                lines.append(json.dumps({"name": row["name"], "mode": mode, **record}, separators=(",", ":")))
        (arguments.out / f"{area}.jsonl").write_text("\n".join(lines) + "\n")
        print(f"{area}: {len(lines) - 1} records of {len(rows)} cases")


if __name__ == "__main__":
    main()
