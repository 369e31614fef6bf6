"""Records what PyTorch computes for every case under cases/: outputs, and the gradients of sum(output * fixed weights).

    python tests/parity/ops/make_fixtures.py        (PyTorch 2.13; writes fixtures.jsonl beside this file)

Deterministic: two runs write the same bytes. First line: the environment. Then one case a line.
"""

import json
import pathlib
import sys
import warnings

here = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(here), str(here.parent)]
from reproducible_env import ENVIRONMENT, tell_of_other_roots  # noqa: E402  (before torch)

import torch  # noqa: E402

import cases  # noqa: E402,F401  (registers)
from dsl import REGISTRY, Input, camel, hashed, pack  # noqa: E402

DTYPES = {str(v).removeprefix("torch.") for v in vars(torch).values() if isinstance(v, torch.dtype)}
MEMORY_FORMATS = {"contiguous_format", "channels_last", "preserve_format"}


def weights_like(t, seed):
    """Fixed weights in [-1, 1) with the shape of an output: what the output is summed with."""
    n = t.numel() * (2 if t.is_complex() else 1)
    w = torch.from_numpy(hashed(seed, n) * 2 - 1)
    w = torch.view_as_complex(w.reshape(*t.shape, 2)) if t.is_complex() else w.reshape(t.shape)
    return w.to(t.dtype)


def flatten(result):
    if isinstance(result, torch.Tensor):
        return [result]
    if isinstance(result, (list, tuple)):
        return [t for r in result for t in flatten(r)]
    return []


def record(c):
    in_place = c.op.endswith("_")
    bases = [t.base() for t in c.inputs]
    for base, t in zip(bases, c.inputs):
        if t.grad and c.want_grad:
            base.requires_grad_()
    views = [t.view(b) for t, b in zip(c.inputs, bases)]
    if in_place:  # a leaf that wants a gradient cannot be written to
        views = [v.clone() for v in views]

    def decode(value):
        if isinstance(value, Input):
            return views[c.inputs.index(value)]
        if isinstance(value, list):
            return [decode(v) for v in value]
        if isinstance(value, str) and value in DTYPES | MEMORY_FORMATS:
            return getattr(torch, value)
        return value

    torch.manual_seed(42)
    result = c.target()(*[decode(a) for a in c.args], **{k: decode(v) for k, v in c.options.items()})
    outputs = flatten(result)
    if in_place and not outputs:  # foreach in-place operators return nothing: their first list was written
        outputs = flatten(decode(c.args[0]))
    line = {"name": c.name, "op": c.js_op(), "args": [c.encode(a) for a in c.args]}
    if c.options:
        line["options"] = {camel(k): c.encode(v) for k, v in c.options.items()}
    line["inputs"] = [t.to_json() for t in c.inputs]
    if not outputs:  # a plain value
        line["value"] = c.encode(result)
        return line
    line["outputs"] = [pack(t) for t in outputs]
    if c.tol:
        line["tolerance"] = list(c.tol)
    leaves = [b for b in bases if b.requires_grad]
    differentiable = [(k, t) for k, t in enumerate(outputs) if t.requires_grad]
    if leaves and differentiable:
        grads = torch.autograd.grad(
            [t for _, t in differentiable], leaves, [weights_like(t, 1000 + k) for k, t in differentiable], allow_unused=True
        )
        line["grads"] = [None if g is None else pack(g) for g in grads]
    return line


def main():
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    tell_of_other_roots()
    names = [c.name for c in REGISTRY]
    twice = {n for n in names if names.count(n) > 1}
    assert not twice, f"case names used twice: {twice}"
    lines = [{"torch": torch.__version__.split("+")[0], "capability": torch.backends.cpu.get_cpu_capability(), "environment": ENVIRONMENT}]
    failures = []
    for c in REGISTRY:
        try:
            lines.append(record(c))
        except Exception as e:  # report all at once
            failures.append(f"{c.name}: {type(e).__name__}: {str(e)[:300]}")
    if failures:
        sys.exit("\n".join(failures))
    text = "".join(json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n" for line in lines)
    (here / "fixtures.jsonl").write_text(text)
    ops = {c.js_op() for c in REGISTRY}
    print(f"{len(REGISTRY)} cases of {len(ops)} operators, {sum('grads' in x for x in lines)} with gradients, {len(text) // 1024} KiB")


main()
