"""Records values and gradients of PyTorch's losses under all of their options.

    python tests/parity/losses/make_losses.py        (PyTorch 2.13; writes losses.jsonl beside this file)

Deterministic: two runs write the same bytes.
"""

import itertools
import json
import pathlib

import torch
from torch import nn

torch.manual_seed(0)
torch.set_num_threads(1)
lines = []


def record(name, options, module, inputs, target):
    x = inputs.clone().requires_grad_(True)
    value = module(x, target)
    (value * torch.arange(1, value.numel() + 1).view(value.shape)).sum().backward()
    plain = {k: v.tolist() if torch.is_tensor(v) else v for k, v in options.items()}
    lines.append({
        "loss": name, "options": plain, "inputs": inputs.tolist(),
        "target": target.tolist(), "classes": not target.is_floating_point(), "value": value.tolist(), "gradient": x.grad.tolist(),
    })


REDUCTIONS = ["mean", "sum", "none"]
logits = torch.randn(4, 3)
spatial = torch.randn(2, 3, 2)
classes = torch.tensor([0, 2, 1, 2])
spatial_classes = torch.tensor([[0, 1], [2, 1]])
weight = torch.tensor([0.5, 2.0, 1.25])
probabilities = torch.softmax(torch.randn(4, 3), 1)

for reduction, w, ignore, smoothing in itertools.product(REDUCTIONS, [None, weight], [-100, 2], [0.0, 0.1]):
    given = {"reduction": reduction, "weight": w, "ignore_index": ignore, "label_smoothing": smoothing}
    record("CrossEntropyLoss", given, nn.CrossEntropyLoss(**given), logits, classes)
    record("CrossEntropyLoss", given, nn.CrossEntropyLoss(**given), spatial, spatial_classes)
    if ignore == -100:
        record("CrossEntropyLoss", given, nn.CrossEntropyLoss(**given), logits, probabilities)
    if smoothing == 0.0:
        given = {"reduction": reduction, "weight": w, "ignore_index": ignore}
        record("NLLLoss", given, nn.NLLLoss(**given), torch.log_softmax(logits, 1), classes)
        record("NLLLoss", given, nn.NLLLoss(**given), torch.log_softmax(spatial, 1), spatial_classes)

answers = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.25], [1.0, 1.0, 0.0], [0.0, 0.0, 0.5]])
for reduction, w, positive in itertools.product(REDUCTIONS, [None, weight, torch.rand(4, 3)], [None, torch.tensor([3.0]), torch.tensor([0.5, 2.0, 4.0])]):
    given = {"reduction": reduction, "weight": w, "pos_weight": positive}
    record("BCEWithLogitsLoss", given, nn.BCEWithLogitsLoss(**given), logits, answers)

for reduction in REDUCTIONS:
    record("MSELoss", {"reduction": reduction}, nn.MSELoss(reduction=reduction), logits, answers)
    record("L1Loss", {"reduction": reduction}, nn.L1Loss(reduction=reduction), logits, answers)
    for beta in [0.0, 0.5, 1.0]:
        record("SmoothL1Loss", {"reduction": reduction, "beta": beta}, nn.SmoothL1Loss(reduction=reduction, beta=beta), logits, answers)

path = pathlib.Path(__file__).with_name("losses.jsonl")
path.write_text("".join(json.dumps(line) + "\n" for line in lines))
