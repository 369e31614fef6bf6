"""Describes one operator call in a way that both languages can repeat: inputs by formula, arguments, options.

An input's elements come from an integer hash of (seed, index), which Python and JavaScript compute exactly alike; nothing is drawn
from a random generator. The call is spelt as nbit spells it; `call` maps it to the dispatcher's operator of the same name.
"""

import base64
import math
import re
import zlib

import numpy as np
import torch

REGISTRY: list["Case"] = []

# PyTorch's argument parser reads `stride=2` as [2, 2]; its dispatcher front does not for these. nbit does.
TAKES_A_NUMBER_FOR_A_LIST = {"conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d"}


class Input:
    """A tensor argument: shape, dtype, how to fill it, its memory layout, and whether a gradient is wanted."""

    def __init__(self, shape, dtype, fill, layout=None, grad=None):
        self.shape, self.dtype, self.fill, self.layout, self.grad = list(shape), dtype, fill, layout, grad

    def base_shape(self):
        """The shape of the contiguous tensor that `layout` turns into a view of `shape`."""
        s = list(self.shape)
        if self.layout == "transposed":
            s[-1], s[-2] = s[-2], s[-1]
        elif self.layout == "strided":
            s[-1] *= 2
        elif self.layout == "expanded":
            s[0] = 1
        return s

    def base(self):
        shape = self.base_shape()
        n = math.prod(shape)
        kind, *rest = self.fill
        if kind == "values":
            data = np.array([complex(*v) if isinstance(v, list) else v for v in rest[0]])
        else:
            seed, lo, hi = rest
            u = hashed(seed, n * (2 if self.dtype.startswith("complex") else 1))
            data = lo + (hi - lo) * u
            if kind == "integers":
                data = np.floor(data)
            elif kind == "bools":
                data = u < 0.5
            if self.dtype.startswith("complex"):
                data = data[0::2] + 1j * data[1::2]
        wide = data.astype(np.complex128 if np.iscomplexobj(data) else np.float64) if data.dtype != np.int64 else data
        return torch.from_numpy(np.ascontiguousarray(wide)).reshape(shape).to(getattr(torch, self.dtype))

    def view(self, base):
        if self.layout == "transposed":
            return base.transpose(-1, -2)
        if self.layout == "strided":
            return base[..., ::2]
        if self.layout == "expanded":
            return base.expand(self.shape)
        if self.layout == "channelsLast":
            return base.to(memory_format=torch.channels_last)
        return base

    def to_json(self):
        fill = ["values", jsonable(self.fill[1])] if self.fill[0] == "values" else self.fill
        out = {"shape": self.shape, "dtype": self.dtype, "fill": fill}
        if self.layout:
            out["layout"] = self.layout
        if self.grad:
            out["grad"] = True
        return out


def hashed(seed, n):
    """n numbers in [0, 1) with 32 bits each: a multiplicative hash of (seed, index)."""
    i = np.arange(n, dtype=np.uint64)
    m = np.uint64(0xFFFFFFFF)
    x = (i * np.uint64(2654435761) + np.uint64(seed)) & m
    x = ((x ^ (x >> np.uint64(16))) * np.uint64(0x45D9F3B)) & m
    x = ((x ^ (x >> np.uint64(16))) * np.uint64(0x45D9F3B)) & m
    x = x ^ (x >> np.uint64(16))
    return x.astype(np.float64) / 2.0**32


def F(*shape, lo=-2.0, hi=2.0, dtype="float32", layout=None, grad=None):
    """Floating-point (or complex) input, uniform in [lo, hi). Wants a gradient unless told otherwise."""
    return Input(shape, dtype, ["uniform", 0, lo, hi], layout, True if grad is None else grad)


def I(*shape, lo=0, hi=5, dtype="int64", layout=None):
    """Integer input, uniform in [lo, hi)."""
    return Input(shape, dtype, ["integers", 0, lo, hi], layout)


def B(*shape):
    """Boolean input."""
    return Input(shape, "bool", ["bools", 0, 0, 1])


def V(values, dtype="float32", shape=None, grad=False, layout=None):
    """Input with the values given."""
    return Input([len(values)] if shape is None else shape, dtype, ["values", list(values)], layout, grad)


class Whole(int):
    """An int that JavaScript is given as a bigint, where a number would stand for a float."""


def jsonable(value):
    """JSON has no NaN, no infinity and no bigint: {"number": "nan" | "inf" | "-inf"}, {"bigint": "7"}."""
    if isinstance(value, list):
        return [jsonable(v) for v in value]
    if isinstance(value, Whole):
        return {"bigint": str(value)}
    if isinstance(value, float) and not math.isfinite(value):
        return {"number": str(value)}
    return value


def camel(name):
    """nbit's spelling of a schema name: snake_case to camelCase, edges (a trailing or leading underscore) kept."""
    head = re.match(r"^_*", name).group(0)
    tail = re.search(r"_*$", name).group(0)
    core = name[len(head) : len(name) - len(tail)]
    return head + re.sub(r"_+([a-z0-9])", lambda m: m.group(1).upper(), core) + tail


class Case:
    def __init__(self, name, op, args, options, tol, grad):
        self.name, self.op, self.args, self.options, self.tol, self.want_grad = name, op, args, options, tol, grad
        self.inputs: list[Input] = []
        for value in [*args, *options.values()]:
            self._collect(value)
        for k, t in enumerate(self.inputs):
            if t.fill[0] != "values":
                t.fill[1] = zlib.crc32(f"{name}#{k}".encode())

    def _collect(self, value):
        if isinstance(value, Input):
            self.inputs.append(value)
        elif isinstance(value, list):
            for v in value:
                self._collect(v)

    def encode(self, value):
        if isinstance(value, Input):
            return {"input": self.inputs.index(value)}
        if isinstance(value, list):
            return [self.encode(v) for v in value]
        return jsonable(value)

    def js_op(self):
        """`linalg.svd`, `aten._foreach_add`, `logSoftmax`."""
        if self.op.startswith("aten."):
            return self.op
        space, _, name = self.op.rpartition(".")
        return (space + "." if space else "") + camel(name)

    def target(self):
        if self.op in TAKES_A_NUMBER_FOR_A_LIST:
            return getattr(torch, self.op)
        path = self.op.removeprefix("aten.").split(".")
        if path[0] in ("linalg", "fft", "special"):
            path = [f"{path[0]}_{path[1]}"]
        fn = torch.ops.aten
        for part in path:
            fn = getattr(fn, part)
        return fn


def case(name, op, *args, tol=None, grad=True, **options):
    """Register one call. `tol` = (rtol, atol) where bitwise equality is not owed; `options` carry schema names."""
    REGISTRY.append(Case(f"{op}/{name}" if name else op, op, list(args), options, tol, grad))


def pack(t):
    """Shape, dtype and raw little-endian bytes of a tensor."""
    t = torch.zeros(t.shape, dtype=t.dtype) if t._is_zerotensor() else t
    flat = torch.view_as_real(t.resolve_conj()) if t.is_complex() else t
    raw = flat.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if t.numel() else b""
    return {"shape": list(t.shape), "dtype": str(t.dtype).removeprefix("torch."), "data": base64.b64encode(raw).decode()}
