"""Records how PyTorch prints tensors of every kind.

    python tests/parity/print/make_fixtures.py        (PyTorch 2.13; writes fixtures.jsonl beside this file)

Deterministic: two runs write the same bytes. One case a line: the elements as raw bytes, how the tensor is made from them, the print options, the text.
"""

import base64
import json
import pathlib
import random

import torch

inf, nan = float("inf"), float("nan")
random.seed(0)
torch.manual_seed(0)
lines = []
MAKE = {
    "plain": lambda t: t,
    "leaf": lambda t: t.requires_grad_(),
    "mul": lambda t: t.requires_grad_() * 1,
    "transposed": lambda t: t.transpose(0, -1),
    "strided": lambda t: t[::2],
    "conj": lambda t: t.conj(),
    "sparse": lambda t: t.to_sparse(),
    "csr": lambda t: t.to_sparse_csr(),
    "meta": lambda t: t.to("meta"),
    "unbind": lambda t: t.requires_grad_().unbind()[0],
}


def case(name, t, make="plain", **options):
    data = t.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if t.numel() else b""
    torch.set_printoptions(profile="default")
    if options:
        torch.set_printoptions(**options)
    text = str(MAKE[make](t.detach().clone()))
    names = {"sci_mode": "sciMode"}
    line = {"name": name, "dtype": str(t.dtype)[6:], "shape": list(t.shape), "data": base64.b64encode(data).decode(), "make": make}
    if options:
        line["options"] = {names.get(k, k): ("Infinity" if v == inf else v) for k, v in options.items()}
    line["text"] = text
    lines.append(line)


def f(values, dtype=torch.float32):
    return torch.tensor(values, dtype=dtype)


# scalars
for v in [0.0, -0.0, 1.0, -1.0, 1.5, 3.14159, 1e-5, 123456789.0, 1e10, inf, -inf, nan, 0.03125, 99999.99]:
    case(f"scalar {v}", f(v))
case("scalar int", torch.tensor(7))
case("scalar bool", torch.tensor(True))
case("scalar complex", torch.tensor(1.5 - 2j))
case("scalar half", f(1.1, torch.float16))
case("scalar leaf", f(2.5), "leaf")
case("scalar mul", f(2.5), "mul")
case("scalar int32", torch.tensor(-3, dtype=torch.int32))

# vectors: modes
case("whole floats", f([1.0, 2.0, 3.0]))
case("whole floats, negative zero", f([-0.0, 2.0, -3.0]))
case("zeros", f([0.0, -0.0]))
case("fractions", f([0.1, 0.25, -3.75]))
case("ties to even", f([0.03125, 0.09375, 0.15625, -0.03125, 2.00005]))
case("ties to even, doubles", f([0.00390625, 0.01171875, 1.00390625], torch.float64), precision=7)
case("sci by ratio", f([1e-3, 2.0]))
case("sci by ratio whole", f([1.0, 2000.0]))
case("ratio exactly 1000", f([1.0, 1000.0]))
case("sci by size", f([1.5e8, 3e8]))
case("sci whole big", f([2e8, 4e8]))
case("sci small", f([5e-5, 9e-5]))
case("sci ties", f([1.03125e-10, 100.0, 1.00005e5], torch.float64))
case("sci exact ties", f([102453.0 * 2**-1, 1.0, 5.0 * 2**-12], torch.float64), precision=2, sci_mode=True)
case("sci three digit exponents", f([1e-300, 1e300, -1e-5], torch.float64))
case("subnormal", f([5e-324, 1.0], torch.float64))
case("inf nan whole", f([1.0, inf, -inf, nan]))
case("inf nan fractions", f([1.5, inf, -inf, nan]))
case("inf nan sci", f([1.5e-6, inf, -inf, nan]))
case("only inf nan", f([inf, nan, 0.0]))
case("sci forced", f([1.0, 2.5, inf]), sci_mode=True)
case("sci forced whole", f([1.0, 2.0]), sci_mode=True)
case("sci forbidden", f([1e-7, 1e9, 123456.789]), sci_mode=False)
case("sci forbidden huge", f([1e21, 2.5e22, 1e25], torch.float64), sci_mode=False)
case("sci forbidden huge fraction", f([1e21, 0.5], torch.float64), sci_mode=False)
case("precision 2", f([1.12345, 2.0]), precision=2)
case("precision 0", f([1.5, 2.5, 3.25]), precision=0)
case("precision 0 sci", f([1.5, 2.5e9]), precision=0)
case("precision 10", f([1.1, 2.2], torch.float64), precision=10)
case("ints", torch.tensor([1, -20, 300]))
case("ints wide", torch.tensor([2**53 + 1, -(2**63)]))
case("uint64", torch.tensor([2**64 - 1, 0], dtype=torch.uint64))
case("bools", torch.tensor([True, False]))
case("bools 2-d", torch.tensor([[True, False], [False, False]]))
for dtype in [torch.uint8, torch.int8, torch.int16, torch.int32, torch.uint16, torch.uint32]:
    case(f"ints {dtype}", torch.tensor([0, 1, 100], dtype=dtype))
for dtype in [torch.float16, torch.bfloat16, torch.float64]:
    case(f"floats {dtype}", f([0.1, 1.0, -2.5], dtype))
    case(f"floats {dtype} sci", f([0.001, 100.0, -2.5], dtype))
    case(f"floats {dtype} leaf", f([0.1, 1.0], dtype), "leaf")
for dtype in [torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e8m0fnu, torch.float8_e4m3fnuz]:
    case(f"floats {dtype}", f([0.5, 1.0, 2.0, 448.0]).to(dtype))
    case(f"fractions {dtype}", f([0.25, 1.0, 2.0]).to(dtype))
case("complex", torch.tensor([1 + 2j, -1.5 - 0.5j]))
case("complex whole", torch.tensor([1 + 2j, 3 - 4j]))
case("complex conj", torch.tensor([1 + 2j, 3 - 4.5j]), "conj")
case("complex mixed sci", torch.tensor([1e-6 + 2j, 3 - 4.5j]))
case("complex nan", torch.tensor([complex(nan, inf), complex(0.0, -0.0)]))
case("complex128", torch.tensor([[1 + 2j], [0.5 - 0j]], dtype=torch.complex128))
case("complex32", torch.tensor([1 + 2j, 0.5j], dtype=torch.complex32))

# line breaks, nesting, summaries
case("40 floats", torch.arange(40.0))
case("40 fractions", torch.arange(40) / 7)
case("30 ints 2-d", torch.arange(60).reshape(2, 30))
case("2-d", torch.arange(6.0).reshape(2, 3))
case("3-d", torch.arange(24.0).reshape(2, 3, 4))
case("4-d", torch.arange(16).reshape(2, 2, 2, 2))
case("5-d", torch.arange(4.0).reshape(1, 2, 1, 2, 1))
case("row and column", torch.arange(3.0).reshape(1, 3))
case("column", torch.arange(3.0).reshape(3, 1))
case("1000 is shown", torch.arange(1000))
case("1001 is cut", torch.arange(1001))
case("1001 floats", torch.arange(1001.0))
case("cut 2-d", torch.arange(2000.0).reshape(40, 50))
case("cut narrow rows", torch.arange(3000).reshape(1500, 2))
case("cut wide rows", torch.arange(3000).reshape(2, 1500))
case("cut exactly six", torch.arange(6 * 400).reshape(6, 400))
case("cut seven", torch.arange(7 * 400).reshape(7, 400))
case("cut 3-d", torch.arange(4096.0).reshape(16, 16, 16))
case("cut 4-d", torch.rand(8, 7, 6, 9))
case("cut hides the large values", torch.cat([torch.ones(500), torch.full((600,), 1e9), torch.ones(500) * 2.5]))
case("cut complex", torch.randn(1200, dtype=torch.complex64))
case("cut bool", torch.rand(1100) > 0.5)
case("cut leaf", torch.rand(50, 50), "leaf")
case("cut mul", torch.rand(50, 50), "mul")
case("transposed", torch.rand(3, 5), "transposed")
case("cut transposed", torch.rand(60, 40), "transposed")
case("strided", torch.rand(9, 3), "strided")
case("threshold 5", torch.arange(10), threshold=5)
case("edge 1", torch.arange(2000.0).reshape(20, 100), edgeitems=1)
case("edge 0", torch.arange(2000.0).reshape(20, 100), edgeitems=0)
case("edge 0, vector", torch.arange(2000.0), edgeitems=0)
case("edge 0, shown", torch.arange(3.0), edgeitems=0)
case("edge 6", torch.arange(3000), edgeitems=6)
case("profile short", torch.rand(2000), profile="short")
case("profile full", torch.arange(1200), profile="full")
case("linewidth 40", torch.rand(20), linewidth=40)
case("linewidth 10", torch.rand(4), linewidth=10)
case("linewidth 5", torch.rand(2, 2), linewidth=5)
case("linewidth 200", torch.rand(30), linewidth=200)
case("suffix wraps", torch.rand(7, dtype=torch.float64), "leaf")
case("suffix wraps twice", torch.rand(2, 7, dtype=torch.float64), "leaf", linewidth=30)
case("suffix fits", torch.rand(6).half(), "leaf")

# empty
case("empty", torch.empty(0))
case("empty int64", torch.empty(0, dtype=torch.int64))
case("empty 2-d", torch.empty(0, 3))
case("empty 2-d half", torch.empty(2, 0, dtype=torch.float16))
case("empty leaf", torch.empty(0), "leaf")
case("empty 1 x 0", torch.empty(1, 0, 2, dtype=torch.bool))

# graph, layouts, devices
case("unbind", torch.rand(2, 3), "unbind")
case("int mul", torch.rand(2, 3), "mul")
case("sparse", torch.tensor([[0.0, 1.5], [2.0, 0.0]]), "sparse")
case("sparse empty", torch.zeros(2, 3), "sparse")
case("sparse half", torch.tensor([[0.0, 1.5], [2.0, 0.0]], dtype=torch.float16), "sparse")
case("csr", torch.tensor([[0.0, 1.5], [2.0, 0.0]]), "csr")
case("csr double", torch.tensor([[0.0, 1.5], [2.0, 0.0]], dtype=torch.float64), "csr")
case("meta", torch.rand(2, 3), "meta")
case("meta int64", torch.ones(2, 3, dtype=torch.int64), "meta")

# random
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.bool, torch.complex64]
for i in range(120):
    shape = [random.choice([1, 2, 3, 5, 7, 9, 13, 40]) for _ in range(random.choice([0, 1, 1, 2, 2, 3, 4]))]
    while torch.Size(shape).numel() > 1300:
        shape.pop()
    scale = 10.0 ** random.choice([-6, -4, -2, 0, 0, 0, 2, 4, 6, 9])
    dtype = random.choice(DTYPES)
    t = torch.randn(shape, dtype=torch.complex64 if dtype.is_complex else torch.float32) * scale
    if random.random() < 0.3:
        t = t.round() if not dtype.is_complex else t
    if random.random() < 0.2 and t.numel() and not dtype.is_complex:
        t.view(-1)[random.randrange(t.numel())] = random.choice([inf, -inf, nan, 0.0, -0.0])
    if dtype in (torch.int64, torch.int32):
        t = torch.nan_to_num(t, 0, 1e9, -1e9).clamp(-2e9, 2e9)
    options = {}
    if random.random() < 0.3:
        options = random.choice([{"precision": 2}, {"linewidth": 60}, {"edgeitems": 2}, {"threshold": 20}, {"sci_mode": True}, {"sci_mode": False}, {"precision": 6, "linewidth": 100}])
    make = random.choice(["plain", "leaf", "mul"]) if dtype.is_floating_point else "plain"
    if len(shape) > 1 and random.random() < 0.3:
        make = "transposed"
    case(f"random {i}", t.to(dtype), make, **options)

out = pathlib.Path(__file__).with_name("fixtures.jsonl")
out.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
print(len(lines), "cases,", out.stat().st_size, "bytes")
