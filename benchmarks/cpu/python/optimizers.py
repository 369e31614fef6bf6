"""Processor time of steps of PyTorch's optimizers, in µs: the Python side of ../optimizers.ts. Prints one line of JSON."""
import json
import sys
import time

import torch

torch.set_num_threads(1)
rows = json.loads(sys.argv[1])
shapes, steps = json.loads(sys.argv[2]), int(sys.argv[3])
foreach = sys.argv[4] == "foreach"


def measure(name, kwargs):
    torch.manual_seed(0)
    wanted = [s for s in shapes if name != "Muon" or len(s) == 2]
    params = [torch.nn.Parameter(torch.randn(s)) for s in wanted]
    for p in params:
        p.grad = torch.randn_like(p)
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in kwargs.items()}
    if foreach and name != "Muon":
        options["foreach"] = True
    optimizer = getattr(torch.optim, name)(params, **options)
    times = []
    for _ in range(7):
        start = time.process_time()
        for _ in range(steps):
            optimizer.step()
        times.append((time.process_time() - start) / steps * 1e6)
    return sorted(times[2:])[2]


print(json.dumps({label: measure(name, kwargs) for label, name, kwargs in rows}))
