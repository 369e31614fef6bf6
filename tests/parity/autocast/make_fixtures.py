"""Records what PyTorch's autocast does with every operator that has a kernel of it on the CPU, in float16 and bfloat16.

    python tests/parity/autocast/make_fixtures.py        (PyTorch 2.13; writes fixtures.jsonl beside this file)

Per vector: the rule, seen by watching which casts come before the operator; the inputs in the dtypes that make the rule act; dtypes, shapes and bytes of the results. Every
result is compared here, bit for bit, with that of the same call on inputs cast by hand. The list of operators is the dispatcher's: one without a call in cases.py is an error.
"""

import contextlib
import json
import pathlib
import sys
import warnings

here = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(here), str(here.parent / "ops"), str(here.parent)]
from reproducible_env import ENVIRONMENT, tell_of_other_roots  # noqa: E402  (before torch)

import torch  # noqa: E402
from cases import calls  # noqa: E402
from dsl import Case, Input, camel, pack  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class FirstCasts(TorchDispatchMode):
    """dtypes of the casts that come before anything else."""

    def __init__(self):
        super().__init__()
        self.casts, self.open = [], True

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._to_copy.default and self.open:
            self.casts.append(kwargs.get("dtype"))
        else:
            self.open = False
        return func(*args, **(kwargs or {}))


def flatten(result):
    if isinstance(result, torch.Tensor):
        return [result]
    return [t for r in result for t in flatten(r)] if isinstance(result, (list, tuple)) else []


def target(name):
    short, _, overload = name.partition(".")
    return getattr(getattr(torch.ops.aten, short), overload or "default")


def decoded(c, views, value):
    if isinstance(value, Input):
        return views[c.inputs.index(value)]
    return [decoded(c, views, v) for v in value] if isinstance(value, list) else value


def invoke(name, c, views):
    torch.manual_seed(42)
    return target(name)(*[decoded(c, views, a) for a in c.args], **{k: decoded(c, views, v) for k, v in c.options.items()})


def build(name, dtype_of):
    """The call with its floating inputs in `dtype_of(position)`."""
    args, kwargs = calls()[name]
    c = Case(name, f"aten.{name if '.' in name else name + '.default'}", args, kwargs, None, False)
    n = 0
    for t in c.inputs:
        t.grad = None
        if t.dtype == "float32":
            t.dtype = dtype_of(n)
            n += 1
    return c


def attempt(name, dtype, dtype_of):
    """(casts that came first, results or None, error)"""
    c = build(name, dtype_of)
    views = [t.base() for t in c.inputs]
    with torch.no_grad(), torch.autocast("cpu", dtype=DTYPES[dtype], cache_enabled=False):
        watch = FirstCasts()
        with watch, contextlib.suppress(Exception):
            invoke(name, c, views)
        try:  # again, since some operators compute in another way while they are watched
            result, error = invoke(name, c, views), None
        except Exception as e:
            result, error = None, e
    return c, views, watch.casts, result, error


def record(name, dtype):
    low = DTYPES[dtype]
    c, views, casts, result, error = attempt(name, dtype, lambda _: "float32")
    if low in casts:
        rule, cast_to = "lower", low
    else:
        c, views, casts, result, error = attempt(name, dtype, lambda _: dtype)
        rule, cast_to = "float32", torch.float32
        if torch.float32 not in casts:
            c, views, casts, result, error = attempt(name, dtype, lambda i: dtype if i == 0 else "float32")
            assert torch.float32 in casts, f"{name}: no rule seen"
            rule = "promote"
    line = {"name": f"{name} in {dtype}", "op": c.js_op(), "dtype": dtype, "rule": rule, "args": [c.encode(a) for a in c.args]}
    if c.options:
        line["options"] = {camel(k): c.encode(v) for k, v in c.options.items()}
    line["inputs"] = [t.to_json() for t in c.inputs]
    # By hand: what the rule says, outside autocast.
    hand_views = [v.to(cast_to) if v.is_floating_point() else v for v in views]
    with torch.no_grad():
        try:
            by_hand = invoke(name, c, hand_views)
        except Exception as e:
            assert error is not None, f"{name}: only by hand: {e}"
            line["error"] = str(e).split("\n")[0][:160]
            return line
    assert error is None, f"{name}: {error}"
    outputs, expected = flatten(result), flatten(by_hand)
    line["outputs"] = [pack(t) for t in outputs]
    for a, b in zip(outputs, expected, strict=True):
        assert pack(a) == pack(b), f"{name} in {dtype}: autocast differs from casting by hand"
    return line


def main():
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    tell_of_other_roots()
    registered = {n.removeprefix("aten::") for n in torch._C._dispatch_get_registrations_for_dispatch_key("AutocastCPU")}
    described = set(calls())
    assert registered == described, f"without a call: {sorted(registered - described)}; not registered: {sorted(described - registered)}"
    lines, failures = [{"torch": torch.__version__.split("+")[0], "capability": torch.backends.cpu.get_cpu_capability(), "environment": ENVIRONMENT}], []
    for name in sorted(registered):
        for dtype in DTYPES:
            try:
                lines.append(record(name, dtype))
            except Exception as e:  # report all at once
                failures.append(f"{name} in {dtype}: {type(e).__name__}: {str(e)[:300]}")
    if failures:
        sys.exit("\n".join(failures))
    text = "".join(json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n" for line in lines)
    (here / "fixtures.jsonl").write_text(text)
    rules = [line["rule"] for line in lines[1:]]
    print(f"{len(rules)} vectors of {len(registered)} operators: " + ", ".join(f"{rules.count(r)} {r}" for r in sorted(set(rules))) + f"; {len(text) // 1024} KiB")
    for line in lines[1:]:
        if "error" in line:
            print("  refuses:", line["name"], "-", line["error"])


if __name__ == "__main__":
    main()
