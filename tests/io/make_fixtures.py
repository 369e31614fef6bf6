"""Interoperation with Python's safetensors, in both directions.

    python tests/io/make_fixtures.py        (PyTorch 2.13, safetensors 0.8)

Writes fixtures/python.safetensors, which the TypeScript tests read. Reads fixtures/nbit.safetensors, which the TypeScript tests compare byte by byte with what
nbit writes today, and checks every value in it.
"""

import pathlib

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

here = pathlib.Path(__file__).resolve().parent / "fixtures"

DTYPES = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool uint16 uint32 uint64 complex64 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu float4_e2m1fn_x2".split()


def bytes_as(name, n):
    """n bytes that mean something in every dtype: no NaN payloads, booleans 0 and 1."""
    raw = torch.arange(n, dtype=torch.uint8) % (2 if name == "bool" else 60)
    return raw.view(getattr(torch, name))


tensors = {f"t.{name}": bytes_as(name, 48).reshape(2, -1) if name != "float4_e2m1fn_x2" else bytes_as(name, 48).view(2, 24) for name in DTYPES}
tensors["scalar"] = torch.tensor(1.5)
tensors["empty"] = torch.empty(0, 3)
tensors["größe/層"] = torch.arange(3)
tensors["quote\"back\\slash"] = torch.arange(2, dtype=torch.int32)
tensors["__proto__"] = torch.arange(4, dtype=torch.int16)
save_file(tensors, here / "python.safetensors", metadata={"format": "pt"})
print("wrote", here / "python.safetensors")

mine = here / "nbit.safetensors"
if mine.exists():
    expected = {
        "weight": (torch.arange(6, dtype=torch.float32) / 4).reshape(2, 3).t(),
        "half": torch.arange(4, dtype=torch.float32).half(),
        "brain": torch.arange(4, dtype=torch.float32).bfloat16(),
        "flag": torch.tensor([True, False, True]),
        "count": torch.tensor(2**53 + 1),
        "wide": torch.tensor([2**64 - 1], dtype=torch.uint64),
        "wave": torch.tensor([1 + 2j, complex(0.0, -0.5)], dtype=torch.complex64),
        "eight": torch.tensor([0.5, 448.0]).to(torch.float8_e4m3fn),
        "empty": torch.empty(0, 2),
        "größe/層": torch.arange(3, dtype=torch.uint8),
    }
    found = load_file(mine)
    assert found.keys() == expected.keys(), found.keys()
    for name, t in expected.items():
        assert found[name].dtype == t.dtype and found[name].shape == t.shape, name
        assert torch.equal(found[name].contiguous().reshape(-1).view(torch.uint8), t.contiguous().reshape(-1).view(torch.uint8)), name
    with safe_open(mine, "pt") as f:
        assert f.metadata() == {"format": "pt", "note": 'line\n"quoted" ü'}, f.metadata()
    print("read", len(found), "tensors of", mine)
