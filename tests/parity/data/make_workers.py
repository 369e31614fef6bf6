"""What PyTorch's DataLoader gives with workers, where each draws for itself: workers.jsonl beside this file.

Run with PyTorch 2.13: python make_workers.py
"""
import json
import os

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info


class Noise(Dataset):
    def __len__(self):
        return 11

    def __getitem__(self, i):
        draw = torch.randn(2)
        kept = torch.nn.functional.dropout(torch.ones(4), 0.5)
        return draw, kept, torch.randperm(5), torch.randint(0, 100, (1,)), i


class Shards(IterableDataset):
    def __iter__(self):
        info = get_worker_info()
        for i in range(info.id, 13, info.num_workers):
            yield torch.rand(1) + i


CASES = [
    {"source": "Noise", "kwargs": {"batch_size": 2, "num_workers": 2, "shuffle": True}},
    {"source": "Noise", "kwargs": {"batch_size": 3, "num_workers": 3, "drop_last": True, "prefetch_factor": 1}},
    {"source": "Noise", "kwargs": {"batch_size": 2, "num_workers": 2, "persistent_workers": True, "shuffle": True}},
    {"source": "Noise", "kwargs": {"batch_size": None, "num_workers": 1}},
    {"source": "Shards", "kwargs": {"batch_size": 2, "num_workers": 2}},
    {"source": "Shards", "kwargs": {"batch_size": 2, "num_workers": 3, "persistent_workers": True}},
    {"source": "Shards", "kwargs": {"batch_size": 3, "num_workers": 2, "drop_last": True}},
]


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "workers.jsonl"), "w") as out:
        for case in CASES:
            torch.manual_seed(7)
            loader = DataLoader(globals()[case["source"]](), **case["kwargs"])
            passes = []
            for _ in range(2):
                batches = []
                for batch in loader:
                    parts = batch if isinstance(batch, (list, tuple)) else [batch]
                    batches.append([p.tolist() if isinstance(p, torch.Tensor) else p for p in parts])
                passes.append(batches)
            out.write(json.dumps({**case, "passes": passes, "after": torch.randn(2).tolist()}) + "\n")


if __name__ == "__main__":
    main()
