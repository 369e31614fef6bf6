"""Records in which order PyTorch's samplers and DataLoader visit a dataset, and where they leave the random number generators.

    python tests/parity/data/make_order.py        (PyTorch 2.13; writes order.jsonl beside this file)

Deterministic: two runs write the same bytes. `after`: three draws from the default generator, then three from the case's own, when everything has been visited.
"""

import itertools
import json
import pathlib

import torch
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    random_split,
)

lines = []


def draws(generator=None):
    return torch.randint(0, 2**31, (3,), generator=generator).tolist()


def record(kind, seed, passes, make, own=None, **args):
    torch.manual_seed(seed)
    generator = None if own is None else torch.Generator().manual_seed(own)
    visit = make(generator)
    orders = []
    for epoch in range(passes):
        orders.append([list(b) if isinstance(b, (list, tuple)) else b for b in visit(epoch)])
    line = {"kind": kind, "seed": seed, "own": own, "args": args, "passes": orders, "after": draws() + ([] if own is None else draws(generator))}
    lines.append(line)


def over(sampler):
    return lambda epoch: sampler


# samplers
for n, seed in itertools.product([1, 2, 5, 31, 100, 1000], [0, 42]):
    record("random", seed, 3, lambda g: over(RandomSampler(range(n), generator=g)), n=n)
    record("random", seed, 2, lambda g: over(RandomSampler(range(n), generator=g)), own=7, n=n)
for n, k in [(5, 3), (5, 5), (5, 12), (100, 250), (10, 1)]:
    record("random", 3, 2, lambda g: over(RandomSampler(range(n), num_samples=k, generator=g)), n=n, numSamples=k)
    record("random", 3, 2, lambda g: over(RandomSampler(range(n), num_samples=k, generator=g)), own=9, n=n, numSamples=k)
for n, k in [(5, 3), (5, 32), (5, 64), (100, 100), (10, 33), (1, 5)]:
    record("random", 4, 2, lambda g: over(RandomSampler(range(n), replacement=True, num_samples=k, generator=g)), n=n, numSamples=k, replacement=True)
    record("random", 4, 2, lambda g: over(RandomSampler(range(n), replacement=True, num_samples=k, generator=g)), own=11, n=n, numSamples=k, replacement=True)
for own in [None, 5]:
    record("subset", 1, 3, lambda g: over(SubsetRandomSampler([3, 1, 4, 1, 5, 9, 2, 6], generator=g)), own=own, indices=[3, 1, 4, 1, 5, 9, 2, 6])
    record("subset", 1, 1, lambda g: over(SubsetRandomSampler([], generator=g)), own=own, indices=[])
    for weights, k, replacement in [([0.1, 0.9, 0.4, 0.7, 3.0, 0.6], 5, True), ([0.9, 0.4, 0.05, 0.2, 0.3, 0.1], 5, False), ([1.0] * 50, 200, True), ([0.0, 1.0, 0.0, 2.0], 2, False), ([i % 7 + 0.5 for i in range(300)], 100, False)]:
        record("weighted", 2, 2, lambda g: over(WeightedRandomSampler(weights, k, replacement, generator=g)), own=own, weights=weights, numSamples=k, replacement=replacement)


def distributed(n, replicas, rank, shuffle, seed, drop_last):
    sampler = DistributedSampler(range(n), num_replicas=replicas, rank=rank, shuffle=shuffle, seed=seed, drop_last=drop_last)

    def visit(epoch):
        sampler.set_epoch(epoch)
        return sampler

    return visit


for n, replicas, shuffle, seed, drop_last in itertools.product([1, 3, 10, 16], [1, 3, 4], [True, False], [0, 6], [True, False]):
    for rank in sorted({0, replicas - 1}):
        record("distributed", 0, 2, lambda g: distributed(n, replicas, rank, shuffle, seed, drop_last), n=n, numReplicas=replicas, rank=rank, shuffle=shuffle, samplerSeed=seed, dropLast=drop_last)

# loaders: what a batch of positions holds
for n, batch, shuffle, drop_last, own in itertools.product([7, 64], [1, 3, 64], [True, False], [True, False], [None, 13]):
    record("loader", 21, 3, lambda g: lambda epoch: (b.tolist() for b in DataLoader(range(n), batch_size=batch, shuffle=shuffle, drop_last=drop_last, generator=g)), own=own, n=n, batchSize=batch, shuffle=shuffle, dropLast=drop_last)
    loader = {}

    def one(g):
        loader["it"] = DataLoader(range(n), batch_size=batch, shuffle=shuffle, drop_last=drop_last, generator=g)
        return lambda epoch: (b.tolist() for b in loader["it"])

    record("loader", 22, 3, one, own=own, n=n, batchSize=batch, shuffle=shuffle, dropLast=drop_last)
record("loader", 5, 2, lambda g: lambda epoch: DataLoader(range(9), batch_size=None, shuffle=True), n=9, batchSize=None, shuffle=True)


def with_draws(g):
    """A training loop draws too (dropout, noise): the orders must not depend on when."""
    loader = DataLoader(range(20), batch_size=6, shuffle=True)

    def visit(epoch):
        for b in loader:
            yield b.tolist() + draws()

    return visit


record("loader with draws", 8, 3, with_draws)


def left_early(g):
    loader = DataLoader(range(20), batch_size=6, shuffle=True)

    def visit(epoch):
        iterator = iter(loader)
        if epoch != 1:
            yield next(iterator).tolist()

    return visit


record("loader left early", 8, 4, left_early)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(10))


for batch, drop_last in [(3, False), (3, True), (5, False), (100, True)]:
    record("stream", 2, 2, lambda g: lambda epoch: (b.tolist() for b in DataLoader(Stream(), batch_size=batch, drop_last=drop_last)), batchSize=batch, dropLast=drop_last)

# splits
for n, lengths in [(10, [3, 7]), (10, [0.3, 0.3, 0.4]), (11, [0.5, 0.25, 0.25]), (100, [0.9, 0.1]), (5, [5]), (7, [0, 7]), (10, [0.33, 0.33, 0.34])]:
    for own in [None, 42]:
        record("split", 6, 1, lambda g: lambda epoch: [s.indices for s in random_split(range(n), lengths, **({} if g is None else {"generator": g}))], own=own, n=n, lengths=lengths)

out = pathlib.Path(__file__).with_name("order.jsonl")
out.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
print(len(lines), "cases,", out.stat().st_size, "bytes")
