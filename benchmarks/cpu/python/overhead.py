"""What Lightning's Trainer and PyTorch's loader take for themselves, beyond the same by hand. nbit/overhead.ts does the same."""

import time

import torch
from side import median


class Stopwatch:
    def __init__(self, steps):
        self.steps, self.warm_up, self.done, self.us = steps, steps >> 2, 0, None

    def tick(self):
        self.done += 1
        if self.done == self.warm_up:
            self.start = time.perf_counter_ns()
        elif self.done == self.steps:
            self.us = (time.perf_counter_ns() - self.start) / 1000 / (self.steps - self.warm_up)


class Endless(torch.utils.data.Dataset):
    def __init__(self):
        self.one = torch.ones(1)

    def __len__(self):
        return 10**7

    def __getitem__(self, _):
        return self.one


def scale_of(watch):
    import lightning as L

    class Scale(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def training_step(self, batch):
            watch.tick()
            return self.weight.mul(batch)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=1e-3)

    return Scale()


def trainer(steps):
    import lightning as L

    watch = Stopwatch(steps)
    run = L.Trainer(
        accelerator="cpu", max_steps=steps, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    run.fit(scale_of(watch), torch.utils.data.DataLoader(Endless(), batch_size=None))
    return watch.us


def loop(steps):
    watch = Stopwatch(steps)
    module, data = scale_of(watch), Endless()
    optimizer = module.configure_optimizers()
    for i in range(steps):
        loss = module.training_step(data[i])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return watch.us


ROWS, BATCH = 8000, 8
tensors = torch.randn(ROWS, 32), torch.randn(ROWS, 10)


def loader(steps):
    watch, done = Stopwatch(steps), 0
    batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*tensors), batch_size=BATCH, shuffle=True)
    while done < steps:
        for _ in batches:
            watch.tick()
            done += 1
            if done == steps:
                break
    return watch.us


def gathers(steps):
    watch = Stopwatch(steps)
    order = [(i * 4801) % ROWS for i in range(ROWS)]
    for done in range(steps):
        at = done * BATCH % ROWS
        positions = torch.tensor(order[at : at + BATCH])
        for t in tensors:
            t.index_select(0, positions)
        watch.tick()
    return watch.us


def overhead(job):
    torch.set_num_threads(job["threads"])
    ours, by_hand = (trainer, loop) if job["of"] == "trainer" else (loader, gathers)
    differences = []
    for i in range(job["rounds"]):
        if i % 2 == 0:
            a = ours(job["steps"])
            b = by_hand(job["steps"])
        else:
            b = by_hand(job["steps"])
            a = ours(job["steps"])
        if i > 0:
            differences.append(a - b)
    return {"us": median(differences), "losses": []}
