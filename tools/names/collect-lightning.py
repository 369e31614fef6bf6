"""Prints Lightning's public names as JSON, by namespace: what tools/names.mjs looks up in @nbit/lightning."""

import importlib
import inspect
import json

import lightning
import lightning.pytorch as pl
from lightning.pytorch import callbacks, loggers
from lightning.pytorch.tuner import Tuner
import torch


def members(cls, base=None):
    """Public members of a class, those that a base has left out."""
    left_out = set(dir(base)) if base else set()
    return sorted(n for n in dir(cls) if not n.startswith("_") and n not in left_out)


def listed(path):
    space = importlib.import_module(f"lightning.pytorch.{path}")
    return sorted(n for n in space.__all__ if not n.startswith("_"))


def defined(path):
    """What a module without a list of its names defines itself."""
    space = importlib.import_module(f"lightning.pytorch.{path}")
    return sorted(
        n for n, v in vars(space).items()
        if not n.startswith("_") and (inspect.isclass(v) or inspect.isfunction(v)) and v.__module__ == space.__name__
    )


def arguments(function):
    parameters = list(inspect.signature(function).parameters.values())
    return [p.name for p in parameters if p.name not in ("self", "cls") and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def fields(instance, cls):
    """Members of a class, and public fields that its constructor sets."""
    own = (n for n in vars(instance) if not n.startswith("_"))
    return sorted(set(members(cls)) | set(own))


def main():
    trainer = pl.Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu", barebones=False)
    constructed = {name: getattr(callbacks, name) for name in listed("callbacks")}
    constructed |= {name: getattr(loggers, name) for name in listed("loggers")}
    # What nobody constructs has no arguments to tell.
    for name in ("Callback", "Checkpoint", "Logger", "ProgressBar", "BaseFinetuning", "LambdaCallback"):
        constructed.pop(name, None)
    utilities = listed("utilities")
    for path in ("memory", "model_helpers", "model_summary", "parsing", "seed", "rank_zero", "exceptions", "compile", "grads"):
        space = importlib.import_module(f"lightning.pytorch.utilities.{path}")
        names = getattr(space, "__all__", None) or defined(f"utilities.{path}")
        utilities += [f"{path}.{n}" for n in names if not n.startswith("_") and n not in utilities]
    utilities.append("seed.isolate_rng")
    spaces = {
        "pytorch": sorted(pl.__all__),
        "Trainer()": arguments(pl.Trainer.__init__),
        "Trainer": fields(trainer, pl.Trainer),
        "LightningModule": members(pl.LightningModule, torch.nn.Module),
        "LightningDataModule": members(pl.LightningDataModule),
        "Callback": members(pl.Callback),
        "callbacks": listed("callbacks"),
        "loggers": listed("loggers"),
        "strategies": listed("strategies"),
        "profilers": listed("profilers"),
        "plugins": listed("plugins"),
        "accelerators": listed("accelerators"),
        "Tuner": members(Tuner),
        "utilities": sorted(set(utilities)),
        "cli": defined("cli"),
        "LightningModule.log()": arguments(pl.LightningModule.log),
        "LightningModule.log_dict()": arguments(pl.LightningModule.log_dict),
        **{f"Trainer.{run}()": arguments(getattr(pl.Trainer, run)) for run in ("fit", "validate", "test", "predict")},
        "LightningModule.load_from_checkpoint()": arguments(pl.LightningModule.load_from_checkpoint),
        "Trainer.save_checkpoint()": arguments(pl.Trainer.save_checkpoint),
        "Tuner.lr_find()": arguments(Tuner.lr_find),
        "Tuner.scale_batch_size()": arguments(Tuner.scale_batch_size),
        "seed_everything()": arguments(pl.seed_everything),
        **{f"{name}()": arguments(cls.__init__) for name, cls in sorted(constructed.items())},
    }
    print(json.dumps({"version": lightning.__version__, "spaces": {k: v for k, v in spaces.items() if v}}))


main()
