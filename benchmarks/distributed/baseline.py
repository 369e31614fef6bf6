"""One measurement of the Python baseline in each of its processes, as nbit.ts makes them.

    torchrun --nproc-per-node 2 baseline.py <model> <precision> <how> <side> <steps>

How: alone, ddp, ddp-bf16 (bf16_compress_hook), fsdp3 (PyTorch's fully_shard, or Lightning's FSDPStrategy). Side: loop (plain PyTorch) or lightning.
"""
import json
import os
import sys
import time

import torch
import torch.distributed as dist
import torch.nn as nn
import torch.nn.functional as F

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "gpu"))
import baseline as gpu_models  # the models, and lightning as L

L = gpu_models.L
model, precision, how, side, count = sys.argv[1:6]
steps = int(count)
warm_up = max(15, steps // 5)
chunk = max(1, steps // 5)
total = warm_up + 5 * chunk
gpu = torch.cuda.is_available() and not model.endswith("-cpu")
rank, local, world = (int(os.environ.get(k, d)) for k, d in (("RANK", 0), ("LOCAL_RANK", 0), ("WORLD_SIZE", 1)))
if how == "alone":
    rank, local, world = 0, 0, 1
where = torch.device("cuda", local) if gpu else torch.device("cpu")
if gpu:
    torch.cuda.set_device(where)
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))

GPTS = {
    "gpt2": gpu_models.GPT2,
    "gpt-1.3b": dict(layers=24, width=2048, heads=16, context=1024, vocabulary=50304, batch=4),
    "gpt-cpu": dict(layers=4, width=256, heads=4, context=128, vocabulary=256, batch=4),
}
MLP = dict(layers=4, width=1024, batch=256)


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(MLP["width"], MLP["width"]) for _ in range(MLP["layers"]))

    def forward(self, x, y):
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return F.mse_loss(x, y)


def make():
    L.seed_everything(42, verbose=False)
    net = gpu_models.Gpt(GPTS[model]) if model in GPTS else gpu_models.ResNet50() if model == "resnet50" else Mlp()
    L.seed_everything(42 + rank, verbose=False)
    if model in GPTS:
        c = GPTS[model]
        tokens = torch.randint(c["vocabulary"], (c["batch"], c["context"] + 1))
        batch = [tokens[:, :-1].contiguous().to(where), tokens[:, 1:].contiguous().to(where)]
    elif model == "resnet50":
        n = 256 if gpu else 4
        batch = [torch.randn(n, 3, 224, 224).to(where, memory_format=torch.channels_last), torch.randint(1000, (n,)).to(where)]
        net.to(memory_format=torch.channels_last)
    else:
        batch = [torch.randn(MLP["batch"], MLP["width"]).to(where), torch.randn(MLP["batch"], MLP["width"]).to(where)]
    return net, batch


def optimizer_of(net):
    if model == "resnet50":
        return torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, fused=True)
    return torch.optim.AdamW(net.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)


losses, times, state = [], [], dict(n=0, start=0.0)


def tick(loss):
    state["n"] += 1
    n, k = state["n"], state["n"] - warm_up
    if n <= 3 or n == total:
        losses.append(loss.item())
    if k < 0 or k % chunk:
        return
    if gpu:
        torch.cuda.synchronize()
    now = time.perf_counter()
    if k > 0:
        times.append((now - state["start"]) / chunk * 1e3)
    elif gpu:
        torch.cuda.reset_peak_memory_stats()
    state["start"] = time.perf_counter()


def loop():
    net, batch = make()
    if world > 1:
        dist.init_process_group("nccl" if gpu else "gloo")
    dtype = {"16": torch.float16, "bf16": torch.bfloat16}.get(precision)
    if how == "fsdp3":
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32) if precision == "bf16" else MixedPrecisionPolicy()
        net.to(where)
        for block in net.layers if isinstance(net, Mlp) else net.blocks:
            fully_shard(block, mp_policy=policy)
        fully_shard(net, mp_policy=policy)
        dtype = None
        run = net
    else:
        net.to(where)
        run = net
        if world > 1:
            run = nn.parallel.DistributedDataParallel(net, device_ids=[local] if gpu else None, gradient_as_bucket_view=True)
            if how == "ddp-bf16":
                from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook

                run.register_comm_hook(None, bf16_compress_hook)
    optimizer = optimizer_of(net)
    scaler = torch.amp.GradScaler(where.type, enabled=precision == "16")
    for _ in range(total):
        optimizer.zero_grad()
        with torch.autocast(where.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            loss = run(*batch)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        tick(loss.detach())
    if world > 1:
        dist.destroy_process_group()


def lightning():
    net, batch = make()

    class Lit(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = net

        def training_step(self, batch, i):
            loss = self.net(*batch)
            self.latest = loss.detach()
            return loss

        def configure_optimizers(self):
            return optimizer_of(self)

    class Data(torch.utils.data.IterableDataset):
        def __len__(self):
            return total

        def __iter__(self):
            for _ in range(total):
                yield batch

    class Meter(L.Callback):
        def on_train_batch_end(self, trainer, module, outputs, *_):
            tick(module.latest)

    from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy

    if how == "fsdp3":
        strategy = FSDPStrategy(auto_wrap_policy={gpu_models.Block})
    elif how.startswith("ddp"):
        strategy = DDPStrategy(gradient_as_bucket_view=True)
    else:
        strategy = "auto"
    name = {"32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed"}.get(precision, precision)
    trainer = L.Trainer(accelerator="gpu" if gpu else "cpu", devices=world, strategy=strategy, precision=name, max_steps=total, max_epochs=-1, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False, callbacks=[Meter()])
    trainer.fit(Lit(), torch.utils.data.DataLoader(Data(), batch_size=None))


lightning() if side == "lightning" else loop()
times.sort()
if rank == 0:
    mib = 2**20
    print(json.dumps(dict(side="lightning" if side == "lightning" else "pytorch", model=model, precision=precision, how=how, mode="eager", ranks=world, ms=times[len(times) // 2], min=times[0], losses=losses, allocatedMiB=torch.cuda.max_memory_allocated() / mib if gpu else None, reservedMiB=torch.cuda.max_memory_reserved() / mib if gpu else None)), flush=True)
