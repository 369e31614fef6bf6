"""Writes swa.jsonl: what torch.optim.swa_utils of PyTorch makes of a few steps. Run it with a Python that has PyTorch."""
import json
import pathlib

import torch
from torch.optim import swa_utils

here = pathlib.Path(__file__).resolve().parent
torch.set_num_threads(1)

HOW = {
    "mean": {},
    "mean over lists": {"multi_avg_fn": swa_utils.get_swa_multi_avg_fn()},
    "mean, one by one": {"avg_fn": swa_utils.get_swa_avg_fn()},
    "exponential": {"avg_fn": swa_utils.get_ema_avg_fn(0.7)},
    "exponential over lists": {"multi_avg_fn": swa_utils.get_ema_multi_avg_fn(0.7)},
    "mean, buffers too": {"use_buffers": True},
    "exponential over lists, buffers too": {"multi_avg_fn": swa_utils.get_ema_multi_avg_fn(0.9), "use_buffers": True},
}


def batch(n, dtype):
    return (torch.arange(24, dtype=torch.float64).reshape(8, 3) * (n + 1)).sin().to(dtype)


def numbers(model):
    return {name: t.double().reshape(-1).tolist() for name, t in model.state_dict().items()}


with open(here / "swa.jsonl", "w") as file:
    file.write(json.dumps({"torch": torch.__version__.split("+")[0]}) + "\n")
    for name, options in HOW.items():
        for dtype in (torch.float32, torch.float64, torch.bfloat16):
            torch.manual_seed(0)
            model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)).to(dtype)
            averaged = swa_utils.AveragedModel(model, **options)
            for n in range(6):
                model(batch(n, dtype))
                with torch.no_grad():
                    for i, p in enumerate(model.parameters()):
                        p.add_(p, alpha=0.125 * (n + 1) * (1 if i % 2 else -1))
                averaged.update_parameters(model)
            record = {"name": name, "dtype": str(dtype).removeprefix("torch."), "averaged": numbers(averaged)}
            swa_utils.update_bn([batch(n, dtype) for n in range(3)], averaged)
            file.write(json.dumps({**record, "updated": numbers(averaged)}) + "\n")
