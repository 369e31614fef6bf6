"""Records what PyTorch's t[...] and t[...] = value give for fixed and random indices.

    python tests/parity/data/make_indexing.py        (PyTorch 2.13; writes indexing.jsonl beside this file)

An index is encoded as JSON: a number, text ("1:5", "..."), null, a boolean, {"long": nested}, {"mask": nested}, {"int32": nested}, or {"list": nested}.
Deterministic: two runs write the same bytes.
"""

import json
import pathlib
import random
import warnings

import torch

warnings.filterwarnings("ignore")
random.seed(0)
lines = []


def decode(ix):
    if isinstance(ix, dict):
        (kind, value), = ix.items()
        if kind == "list":
            return value
        return torch.tensor(value, dtype={"long": torch.int64, "mask": torch.bool, "int32": torch.int32, "byte": torch.uint8}[kind])
    if ix == "...":
        return Ellipsis
    if isinstance(ix, str):
        return slice(*[int(p) if p else None for p in ix.split(":")])
    return ix


def case(shape, indices):
    t = torch.arange(torch.Size(shape).numel()).reshape(shape)
    line = {"shape": shape, "indices": indices}
    try:
        key = tuple(decode(ix) for ix in indices)
        out = t[key]
        line["out"] = {"shape": list(out.shape), "values": out.reshape(-1).tolist(), "view": out.numel() > 0 and out.untyped_storage().data_ptr() == t.untyped_storage().data_ptr()}
        filled = t.clone()
        filled[key] = -7
        line["filled"] = filled.reshape(-1).tolist()
        if out.ndim > 0 and out.shape[-1] > 0:
            row = t.clone()
            value = -1 - torch.arange(out.shape[-1]).reshape(1, 1, -1)
            row[key] = value
            # Where a position is named twice, the value that stays is not defined.
            flat = out.reshape(-1).tolist()
            if len(set(flat)) == len(flat):
                line["row"] = row.reshape(-1).tolist()
    except (IndexError, ValueError, RuntimeError) as error:
        line["error"] = type(error).__name__
    lines.append(line)


S = [3, 4, 5]
M = [[i % 2 == j % 2 for j in range(4)] for i in range(3)]
FIXED = [
    [], [0], [-1], [2, 3, 4], [0, 0, 0, 0], [3], [-4], [":"], ["1:"], [":2"], ["::2"], ["1:3", "::2", "-2:"], ["5:9"], ["2:1"], ["-100:100"], ["..."], ["...", 0], [0, "..."], [1, "...", -1],
    ["...", "..."], [None], [None, None, 0], [":", None, 1], ["...", None], [True], [False], [0, True], [":", True], ["...", False],
    [{"list": [0, 2]}], [{"list": []}], [{"list": [0, 2]}, {"list": [1, 3]}], [{"list": [0, 2]}, ":", {"list": [1, 3]}], [":", {"list": [0, 2]}, {"list": [1, 3]}], [0, ":", {"list": [1, 3]}],
    [":", {"list": [[0, 1], [2, 3]]}], [{"list": [[0], [2]]}, {"list": [1, 3]}], [{"long": 1}], [":", {"long": -1}], [{"int32": [0, 1]}], [{"mask": M}], [{"mask": M}, 0], [{"mask": M}, ":2"], [{"mask": M}, None],
    [{"mask": M}, {"list": [0, 1, 2, 3, 4, 0]}], [":", {"mask": [True, False, True, True]}], [{"mask": [True, False, True]}, {"list": [0, 1]}], [{"mask": [True, False]}], ["...", {"mask": [True, False, True, False, True]}],
    [{"mask": True}], [0, {"mask": False}], [{"byte": [1, 0, 1]}], [{"long": [0, 5]}, 0], [{"list": [0, 1]}, {"list": [0, 1, 2]}], [0, {"list": [3, 0, 0]}, "1:4"], [None, {"list": [0, 1]}, None, {"list": [0, 1]}],
    [{"list": [True, False, True]}], [":", "1:3", {"list": [-1, 0]}], [{"list": [2, 0]}, True], [{"long": [[[1]]]}],
]
for indices in FIXED:
    case(S, indices)
case([], [])
case([], ["..."])
case([], [None])
case([], [0])
case([], [True])
case([0, 3], [":", 1])
case([0, 3], [0])
case([2, 0], ["...", {"list": []}])


def random_index(size, dims_left):
    r = random.random()
    if r < 0.25:
        return random.randrange(-size, size) if size else ":"
    if r < 0.6:
        parts = [random.choice(["", str(random.randrange(-6, 7))]) for _ in range(2)]
        if random.random() < 0.4:
            parts.append(str(random.randrange(1, 4)))
        return ":".join(parts)
    if r < 0.85:
        n = random.choice([1, 2, 2, 2, 3])
        kind = random.choice(["list", "long", "int32"])
        flat = [random.randrange(-size, size) for _ in range(n)] if size else []
        return {kind: [[v] for v in flat] if random.random() < 0.25 else flat}
    return {"mask": [random.random() < 0.5 for _ in range(size)]}


for _ in range(400):
    shape = [random.choice([1, 2, 3, 4, 5]) for _ in range(random.choice([1, 2, 3, 3, 4]))]
    indices = [random_index(s, 0) for s in shape[: random.randrange(0, len(shape) + 1)]]
    if random.random() < 0.3:
        keep = random.randrange(0, len(indices) + 1)
        tail = shape[len(shape) - (len(indices) - keep):] if len(indices) > keep else []
        indices = indices[:keep] + ["..."] + [random_index(s, 0) for s in tail]
    for _ in range(random.choice([0, 0, 0, 1, 2])):
        indices.insert(random.randrange(0, len(indices) + 1), random.choice([None, None, None, True]))
    case(shape, indices)

out = pathlib.Path(__file__).with_name("indexing.jsonl")
out.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
print(len(lines), "cases,", sum("error" in line for line in lines), "errors,", out.stat().st_size, "bytes")
