"""Records what PyTorch makes of cases.json, kl.json and transforms.json: `python make_fixtures.py`.

Samples are recorded by their bytes, which must be equal; all else by numbers. In an argument {"t": …} is a tensor that wants a
gradient, {"n": …} one that does not, {"p": …} a shape or another tuple, {"l": …} a list, {"d": …} a distribution or transform,
{"inv": …} a transform's inverse, {"c": …} a constraint by name.
"""

import base64
import json
import math
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "ops")]
from reproducible_env import ENVIRONMENT  # noqa: E402  (before torch)

import torch  # noqa: E402
from torch import distributions as D  # noqa: E402

torch.set_num_threads(1)


def number(x):
    return float(f"{x:.10g}") if math.isfinite(x) else str(x)


def numbers(t):
    return {"shape": list(t.shape), "values": [number(float(x)) for x in t.detach().double().reshape(-1)]}


def data(t):
    t = t.detach().contiguous()
    return {
        "shape": list(t.shape),
        "dtype": str(t.dtype).removeprefix("torch."),
        "bytes": base64.b64encode(t.numpy().tobytes()).decode(),
    }


class Reader:
    def __init__(self, dtype):
        self.dtype, self.leaves = dtype, []

    def value(self, v):
        if not isinstance(v, dict):
            return v
        (kind, inner), *_ = v.items()
        if kind == "t":
            leaf = torch.tensor(inner, dtype=self.dtype, requires_grad=True)
            self.leaves.append(leaf)
            return leaf
        if kind == "n":
            return torch.tensor(inner, dtype=self.dtype)
        if kind == "p":
            return tuple(inner)
        if kind == "l":
            return [self.value(each) for each in inner]
        if kind == "d":
            return self.made(inner)
        if kind == "inv":
            return self.made(inner).inv
        if kind == "c":
            return getattr(D.constraints, inner)
        raise KeyError(kind)

    def made(self, spec):
        cls = getattr(D, spec["new"], None) or getattr(D.transforms, spec["new"])
        args = [self.value(a) for a in spec.get("args", [])]
        return cls(*args, **{name: self.value(a) for name, a in spec.get("kwargs", {}).items()})

    def gradients(self, result):
        """Of a weighted sum, so that no element's part is lost."""
        if not result.requires_grad:
            return None
        flat = result.reshape(-1)
        w = torch.arange(1, flat.numel() + 1, dtype=flat.dtype) / flat.numel()
        grads = torch.autograd.grad((flat * w).sum(), self.leaves, allow_unused=True, retain_graph=True)
        return [None if g is None else numbers(g) for g in grads]

    def with_gradients(self, result):
        try:
            return {**numbers(result), "grads": self.gradients(result)}
        except NotImplementedError:  # gammainc has no gradient by its first argument
            return {**numbers(result), "grads": "none"}


def attempt(fn):
    try:
        return fn()
    except NotImplementedError:
        return None


def run_case(case, dtype):
    skip = case.get("skip", [])
    read = Reader(dtype)
    d = read.made(case)
    record = {"batch": list(d.batch_shape), "event": list(d.event_shape), "rsamples": d.has_rsample}
    torch.manual_seed(0)
    sample = d.sample((2,))
    record["sample"] = data(sample)
    if d.has_rsample:
        torch.manual_seed(1)
        r = d.rsample((3,))
        record["rsample"] = data(r)
        if "rsampleGrads" not in skip:
            record["rsampleGrads"] = read.gradients(r)
    for name in ("mean", "mode", "variance", "stddev"):
        record[name] = attempt(lambda name=name: read.with_gradients(getattr(d, name)))
    record["entropy"] = attempt(lambda: read.with_gradients(d.entropy()))
    if "log_prob" not in skip:
        record["logProb"] = attempt(lambda: read.with_gradients(d.log_prob(sample)))
    if "cdf" not in skip:
        record["cdf"] = attempt(lambda: read.with_gradients(d.cdf(sample)))
    if len(d.event_shape) == 0:
        probs = torch.linspace(0.1, 0.9, max(1, math.prod(d.batch_shape)), dtype=dtype).reshape(d.batch_shape)
        record["icdf"] = attempt(lambda: read.with_gradients(d.icdf(probs)))
    if d.has_enumerate_support:
        record["support"] = attempt(lambda: [numbers(d.enumerate_support()), numbers(d.enumerate_support(expand=False))])
    e = d.expand((2, *d.batch_shape))
    torch.manual_seed(2)
    record["expanded"] = data(e.sample())
    record["expandedMean"] = attempt(lambda: numbers(e.mean))
    return record


def run_transform(case, dtype, which):
    read = Reader(dtype)
    constraint = getattr(D.constraints, case["constraint"])
    if "args" in case:
        constraint = constraint(*[read.value(a) for a in case["args"]])
    t = getattr(D, which)(constraint)
    n = math.prod(case["shape"])
    x = (torch.arange(n, dtype=dtype) / n * 3 - 1.4).sin().reshape(case["shape"]).requires_grad_()
    read.leaves.append(x)
    y = t(x)
    record = {"y": read.with_gradients(y), "x": numbers(t.inv(y)), "valid": bool(constraint.check(y).all())}
    record["jacobian"] = attempt(lambda: read.with_gradients(t.log_abs_det_jacobian(x, y)))
    record["shapes"] = [list(t.forward_shape(tuple(x.shape))), list(t.inverse_shape(tuple(y.shape)))]
    return record


def run_kl(table, p, q, dtype):
    read = Reader(dtype)
    a = read.made({"new": table[p][0][0], "args": table[p][0][1]})
    b = read.made({"new": table[q][1][0], "args": table[q][1][1]})
    return read.with_gradients(D.kl_divergence(a, b))


def main():
    origin = {"torch": torch.__version__.split("+")[0], "capability": torch.backends.cpu.get_cpu_capability(), "environment": ENVIRONMENT}
    lines = [origin]
    load = lambda name: json.loads((HERE / name).read_text())  # noqa: E731
    kl = load("kl.json")
    pairs = sorted((p.__name__, q.__name__) for p, q in D.kl._KL_REGISTRY)
    for dtype in ("float32", "float64"):
        kind = getattr(torch, dtype)
        torch.set_default_dtype(kind)
        for case in load("cases.json"):
            lines.append({"table": "cases", "name": case["name"], "dtype": dtype, **run_case(case, kind)})
        for case in load("transforms.json"):
            for which in ("biject_to", "transform_to"):
                if case.get("only", which) == which:
                    lines.append({"table": "transforms", "name": case["name"], "which": which, "dtype": dtype, **run_transform(case, kind, which)})
        for p, q in pairs:
            lines.append({"table": "kl", "name": f"{p} and {q}", "p": p, "q": q, "dtype": dtype, "kl": run_kl(kl, p, q, kind)})
    (HERE / "fixtures.jsonl").write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    print(f"{len(lines) - 1} records")


main()
