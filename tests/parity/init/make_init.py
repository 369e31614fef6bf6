"""Records what PyTorch's initial values are for a seed, and where they leave the random number generator.

    python tests/parity/init/make_init.py        (PyTorch 2.13; writes init.jsonl beside this file)

Deterministic: two runs write the same bytes.
"""

import json
import pathlib

import torch
from torch import nn
from torch.nn import init

torch.set_num_threads(1)
lines = []


def record(name, shape, args, options=None, dtype="float32"):
    torch.manual_seed(3)
    t = torch.empty(shape, dtype=getattr(torch, dtype))
    getattr(init, name)(t, *args, **(options or {}))
    lines.append({"name": name, "shape": shape, "args": args, "options": options or {}, "dtype": dtype, "values": t.double().tolist(), "after": torch.randint(0, 2**31, [2]).tolist()})


for shape in [[3, 4], [5, 2], [2, 3, 2, 2]]:
    record("uniform_", shape, [-0.5, 2.0])
    record("normal_", shape, [1.0, 0.25])
    record("constant_", shape, [0.75])
    record("ones_", shape, [])
    record("zeros_", shape, [])
    record("xavier_uniform_", shape, [1.5])
    record("xavier_normal_", shape, [1.5])
    record("orthogonal_", shape, [2.0])
    for mode in ["fan_in", "fan_out"]:
        for nonlinearity, a in [("leaky_relu", 0.3), ("relu", 0), ("tanh", 0), ("selu", 0), ("linear", 0), ("sigmoid", 0)]:
            record("kaiming_uniform_", shape, [], {"a": a, "mode": mode, "nonlinearity": nonlinearity})
            record("kaiming_normal_", shape, [], {"a": a, "mode": mode, "nonlinearity": nonlinearity})
record("eye_", [3, 4], [])
for shape, groups in [([4, 3, 3], 1), ([4, 2, 3, 4], 2), ([6, 4, 2, 3, 3], 3), ([2, 5, 1], 1)]:
    record("dirac_", shape, [groups])
for sparsity, std in [(0.3, 0.5), (0.0, 0.01), (1.0, 1.0), (0.75, 2.0)]:
    record("sparse_", [5, 4], [sparsity, std])
for dtype in ["float64", "bfloat16"]:
    record("orthogonal_", [4, 6] if dtype == "float64" else [2, 2], [], None, "float64")
    record("xavier_uniform_", [3, 4], [], {"gain": 0.5}, dtype)
    record("kaiming_normal_", [3, 4], [0.2, "fan_out"], None, dtype)
for dtype in ["float32", "float64", "float16", "bfloat16"]:
    for args in [[], [0.0, 1.0, -2.0, 2.0], [0.5, 0.02, -1.0, 1.0], [3.0, 2.0, -1.0, 1.0], [0.0, 1.0, 1.0, 1.5], [0.0, 1.0, -0.2, 0.2], [1.0, 0.5, 1.0, 9.0]]:
        record("trunc_normal_", [4, 5], args, None, dtype)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 3)
        self.second = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = Block()
        self.head = nn.Linear(2, 1)


net = Net()
torch.manual_seed(5)
order = []


def fill(m):
    order.append(type(m).__name__)
    if isinstance(m, nn.Linear):
        init.normal_(m.weight)


net.apply(fill)
lines.append({"name": "apply", "order": order, "weights": [m.weight.tolist() for m in net.modules() if isinstance(m, nn.Linear)]})
path = pathlib.Path(__file__).with_name("init.jsonl")
path.write_text("".join(json.dumps(line) + "\n" for line in lines))
