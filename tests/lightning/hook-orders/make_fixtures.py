"""Writes orders.jsonl: the ordered hook calls of Lightning runs, one line a combination, names in camelCase.

    python make_fixtures.py

Made with torch 2.13.0 and lightning 2.6.6. Hooks that give loaders are left out: nbit asks for all loaders at once.
"""

import inspect
import itertools
import json
import logging
import os
import re
import tempfile
import warnings
from pathlib import Path

import lightning as L
import torch
from torch.utils.data import DataLoader

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


def hooks_of(cls):
    return {name for name, value in inspect.getmembers(cls, callable) if re.match(r"on_|setup$|teardown$", name)}


TRANSFER = {"transfer_batch_to_device"}
STEPS = """training_step validation_step test_step predict_step configure_optimizers configure_model configure_callbacks prepare_data
optimizer_zero_grad backward lr_scheduler_step configure_gradient_clipping""".split()
NAMES = {
    "callback": hooks_of(L.Callback),
    "module": hooks_of(L.LightningModule) | set(STEPS) | TRANSFER,
    "datamodule": hooks_of(L.LightningDataModule) | TRANSFER | {"prepare_data"},
}
NAMES["module"] -= {"on_gpu", "on_train_epoch"}


def camel(name):
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def snake(name):
    return re.sub(r"[A-Z]", lambda m: "_" + m[0].lower(), name).replace("every_nepoch", "every_n_epoch")


def record(cls, prefix, calls):
    def wrap(name, original):
        def method(self, *args, **kwargs):
            calls.append(f"{prefix[0]}.{camel(name)}")
            return original(self, *args, **kwargs)

        return method

    return type(cls.__name__, (cls,), {name: wrap(name, getattr(cls, name)) for name in NAMES[prefix] if hasattr(cls, name)})


class Net(L.LightningModule):
    def __init__(self, case):
        super().__init__()
        self.case = case
        self.layer = torch.nn.Linear(4, 2)
        self.automatic_optimization = "manual" not in case

    def loss(self, batch):
        return self.layer(batch["a"] if isinstance(batch, dict) else batch).square().mean()

    def fail_in(self, where):
        if self.case.get("failsIn") == where:
            raise RuntimeError("made to fail")

    def training_step(self, batch, batch_idx):
        if batch_idx == 1:
            self.fail_in("trainingStep")
            if self.case.get("nullStep"):
                return None
        if self.automatic_optimization:
            return self.loss(batch)
        for opt in [self.optimizers()] if self.case["manual"] == 1 else self.optimizers():
            opt.zero_grad()
            self.manual_backward(self.loss(batch))
            opt.step()

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self.fail_in("validationStep")
        self.log("val_loss", self.loss(batch), add_dataloader_idx=False) if dataloader_idx == 0 else self.loss(batch)

    def test_step(self, batch, batch_idx, dataloader_idx=0):
        self.fail_in("testStep")
        self.loss(batch)

    def predict_step(self, batch, batch_idx, dataloader_idx=0):
        self.fail_in("predictStep")
        return self.layer(batch)

    def on_train_batch_start(self, batch, batch_idx):
        if self.case.get("endsEpochAt") == batch_idx:
            return -1

    def on_train_batch_end(self, outputs, batch, batch_idx):
        if self.case.get("stopsAt") == batch_idx:
            self.trainer.should_stop = True

    def on_train_epoch_end(self):
        self.fail_in("onTrainEpochEnd")

    def configure_optimizers(self):
        opts = [torch.optim.SGD(self.parameters(), lr=0.1) for _ in range(self.case.get("manual", 1))]
        kind = self.case.get("scheduler")
        if kind == "plateau":
            return {"optimizer": opts[0], "lr_scheduler": {"scheduler": torch.optim.lr_scheduler.ReduceLROnPlateau(opts[0]), "monitor": "val_loss"}}
        if kind:
            return opts, [{"scheduler": torch.optim.lr_scheduler.StepLR(opts[0], 1), "interval": kind}]
        return opts


def loader():
    return DataLoader(torch.ones(8, 4), batch_size=2)


class Data(L.LightningDataModule):
    def __init__(self, case):
        super().__init__()
        self.case = case

    def train_dataloader(self):
        return {"a": loader(), "b": loader()} if self.case.get("severalLoaders") else loader()

    def val_dataloader(self):
        return [loader(), loader()] if self.case.get("severalLoaders") else loader()

    test_dataloader = predict_dataloader = val_dataloader


def run(case):
    calls = []
    quiet = dict(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    options = {"max_epochs": 1, "num_sanity_val_steps": 0, "limit_val_batches": 1, "limit_test_batches": 2, "limit_predict_batches": 2}
    options |= {snake(key): value for key, value in case.get("options", {}).items()}
    fn = case.get("fn", "fit")
    with tempfile.TemporaryDirectory() as folder:
        path = None
        if "resumedFrom" in case:
            path = os.path.join(folder, "first.ckpt")
            first = L.Trainer(**quiet, **{**options, **{snake(k): v for k, v in case["resumedFrom"].items()}})
            first.fit(Net(case), datamodule=Data(case))
            first.save_checkpoint(path)
        trainer = L.Trainer(**quiet, **options, callbacks=[record(L.Callback, "callback", calls)()])
        more = {"verbose": False} if fn in ("validate", "test") else {}
        net, data = record(Net, "module", calls)(case), record(Data, "datamodule", calls)(case)
        try:
            getattr(trainer, fn)(net, datamodule=data, ckpt_path=path, **more)
        except RuntimeError as error:
            assert "made to fail" in str(error), error
    return {**case, "calls": " ".join(calls)}


CASES = []
INTERVALS = {"after the epoch": {}, "inside it": {"valCheckInterval": 2}}
for accumulate, interval, sanity in itertools.product([1, 3], INTERVALS, [0, 1]):
    shared = {"options": {"accumulateGradBatches": accumulate, "numSanityValSteps": sanity, **INTERVALS[interval]}}
    CASES.append({"name": f"automatic, accumulation {accumulate}, validation {interval}, sanity {sanity}", **shared})
for manual, interval, sanity in itertools.product([1, 2], INTERVALS, [0, 1]):
    shared = {"options": {"numSanityValSteps": sanity, **INTERVALS[interval]}}
    CASES.append({"name": f"manual, {manual} optimizers, validation {interval}, sanity {sanity}", "manual": manual, **shared})
for algorithm, accumulate in itertools.product(["norm", "value"], [1, 3]):
    options = {"gradientClipVal": 0.1, "gradientClipAlgorithm": algorithm, "accumulateGradBatches": accumulate}
    CASES.append({"name": f"clipping by {algorithm}, accumulation {accumulate}", "options": options})
CASES += [{"name": f"scheduler, {kind}, accumulation {n}", "scheduler": kind, "options": {"accumulateGradBatches": n, "maxEpochs": 2}} for kind in ("step", "epoch", "plateau") for n in (1, 3)]
CASES += [
    {"name": "validation every second epoch", "options": {"maxEpochs": 3, "checkValEveryNEpoch": 2}},
    {"name": "validation across epochs", "options": {"maxEpochs": 2, "checkValEveryNEpoch": None, "valCheckInterval": 3}},
    {"name": "no validation", "options": {"maxEpochs": 2, "limitValBatches": 0, "numSanityValSteps": 2}},
    {"name": "limits as shares", "options": {"limitTrainBatches": 0.5, "limitValBatches": 0.5}},
    {"name": "one batch of everything", "options": {"fastDevRun": True}},
    {"name": "most steps, inside an epoch", "options": {"maxEpochs": 3, "maxSteps": 6}},
    {"name": "most steps, accumulation", "options": {"maxEpochs": 3, "maxSteps": 3, "accumulateGradBatches": 3}},
    {"name": "several loaders", "severalLoaders": True, "options": {"numSanityValSteps": 1, "limitTrainBatches": 2}},
    {"name": "a step that gives nothing", "nullStep": True},
    {"name": "a step that gives nothing, accumulation", "nullStep": True, "options": {"accumulateGradBatches": 2}},
    {"name": "an epoch that is ended", "endsEpochAt": 2, "options": {"maxEpochs": 2}},
    {"name": "an epoch that is ended at once", "endsEpochAt": 0, "options": {"maxEpochs": 2}},
    {"name": "stopped inside an epoch", "stopsAt": 1, "options": {"maxEpochs": 3}},
    {"name": "stopped, epochs at least", "stopsAt": 1, "options": {"maxEpochs": 3, "minEpochs": 2}},
    {"name": "stopped, accumulation", "stopsAt": 1, "options": {"maxEpochs": 3, "accumulateGradBatches": 3}},
    {"name": "resumed after an epoch", "resumedFrom": {"maxEpochs": 1}, "options": {"maxEpochs": 2}},
    {"name": "resumed after an epoch, sanity check", "resumedFrom": {"maxEpochs": 1}, "options": {"maxEpochs": 2, "numSanityValSteps": 1}},
    {"name": "resumed inside an epoch", "resumedFrom": {"maxSteps": 6}, "options": {"maxEpochs": 2}},
    {"name": "nothing left to train", "resumedFrom": {"maxEpochs": 1}, "options": {"maxEpochs": 1}},
]
CASES += [{"name": f"failure in {where}", "failsIn": where, **({"fn": fn} if fn != "fit" else {})} for where, fn in [
    ("trainingStep", "fit"), ("validationStep", "fit"), ("onTrainEpochEnd", "fit"), ("validationStep", "validate"), ("testStep", "test"), ("predictStep", "predict")]]
CASES.append({"name": "failure in the sanity check", "failsIn": "validationStep", "options": {"numSanityValSteps": 1}})
for fn in ("validate", "test", "predict"):
    CASES += [{"name": fn, "fn": fn}, {"name": f"{fn}, several loaders", "fn": fn, "severalLoaders": True}, {"name": f"{fn}, from a checkpoint", "fn": fn, "resumedFrom": {}}]

out = Path(__file__).parent / "orders.jsonl"
out.write_text("".join(json.dumps(run(case), separators=(",", ":")) + "\n" for case in CASES))
