"""Records how PyTorch prints every layer of ../toolbox/cases/layers.json, and a few containers: `python make_prints.py`."""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
TOOLBOX = HERE.parent / "toolbox"
sys.path[:0] = [str(TOOLBOX)]
import make_fixtures  # noqa: E402
import torch  # noqa: E402

nn = torch.nn
CONTAINERS = {
    "Sequential": lambda: nn.Sequential(nn.Linear(2, 3), nn.ReLU(inplace=True)),
    "ModuleList": lambda: nn.ModuleList([nn.ReLU(), nn.ReLU(), nn.Sequential(nn.Tanh()), nn.Sequential(nn.Tanh())]),
    "ModuleDict": lambda: nn.ModuleDict({"a": nn.ReLU(), "b": nn.Dropout(0.25)}),
    "LazyConv2d": lambda: nn.LazyConv2d(4, 3, padding=1),
    "LazyBatchNorm2d": lambda: nn.LazyBatchNorm2d(),
}


def main():
    rows = json.loads((TOOLBOX / "cases" / "layers.json").read_text())
    lines = [json.dumps({"torch": torch.__version__.split("+")[0]})]
    for row in rows:
        if "$" in json.dumps([row.get("args"), row.get("kwargs")]):
            continue
        case = make_fixtures.Case(row, "float32")
        lines.append(json.dumps([row["name"], repr(case.call(make_fixtures.lookup(row["call"]), row, "arg"))]))
    lines += [json.dumps([name, repr(make())]) for name, make in CONTAINERS.items()]
    (HERE / "prints.jsonl").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
