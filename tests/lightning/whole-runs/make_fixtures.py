"""Writes runs.jsonl: whole runs of Lightning's, to the last bit.

    python make_fixtures.py

Made with torch 2.13.0 and lightning 2.6.6. One line a run; numbers are hexadecimal, of float64 where the run is.
"""

import hashlib
import json
import logging
import struct
import sys
import tempfile
import warnings
from pathlib import Path

here = Path(__file__).resolve().parent
sys.path[:0] = [str(here.parents[1] / "parity"), str(here.parents[1] / "parity" / "ops")]
import reproducible_env  # noqa: E402  (before torch)

import lightning as L  # noqa: E402
import torch  # noqa: E402
from families import EPOCHS, FAMILIES  # noqa: E402
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, StochasticWeightAveraging  # noqa: E402
from lightning.pytorch.loggers import Logger  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

PRECISIONS = {"32": "32-true", "64": "64-true", "bf16": "bf16-mixed"}
VARIANTS = ["plain", "accumulation", "norm", "value", "step", "epoch", "plateau", "stopping", "averaged", "together"]


def double(value):
    """The bits of a double, without the zeros at their end."""
    return struct.pack(">d", float(value)).hex().rstrip("0")


class Rows(Logger):
    """Keeps what is logged."""

    name, version = "rows", 0

    def __init__(self):
        super().__init__()
        self.rows = []

    def log_metrics(self, metrics, step=None):
        self.rows.append(" ".join([str(step), *(f"{name}={double(value)}" for name, value in sorted(metrics.items()))]))

    def log_hyperparams(self, params, *args):
        pass


def options_of(family, variant):
    automatic = family != "gan"
    if variant == "accumulation" and automatic:
        return {"accumulate_grad_batches": 3}
    if variant in ("norm", "value") and automatic:
        return {"gradient_clip_val": 0.1 if variant == "norm" else 0.005, "gradient_clip_algorithm": variant}
    if variant == "together":
        return {"val_check_interval": 3, **({"accumulate_grad_batches": 3, "gradient_clip_val": 0.1} if automatic else {})}
    return {}


def run(family, precision, variant, folder):
    L.seed_everything(7, verbose=False)
    cls = FAMILIES[family]
    train, val = (TensorDataset(*cls.data(n)) for n in (46, 14))
    model = cls(variant)
    if variant == "averaged" and precision == "64":
        model.double()  # averages are of the dtype that modules have before training: else they lose bits, which nbit's do not
    callbacks = []
    if variant in ("stopping", "together"):
        callbacks.append(ModelCheckpoint(dirpath=folder, filename="{epoch}-{step}-{val_loss:.3f}", monitor="val_loss", save_top_k=2))
    if variant == "stopping":
        callbacks.append(EarlyStopping("val_loss", min_delta=0.02, patience=1))
    if variant == "averaged":
        callbacks.append(StochasticWeightAveraging(swa_lrs=0.02, swa_epoch_start=1, annealing_epochs=1))
    rows = Rows()
    trainer = L.Trainer(
        accelerator="cpu", precision=PRECISIONS[precision], max_epochs=EPOCHS.get(variant, 3), logger=rows, log_every_n_steps=4,
        enable_checkpointing=variant in ("stopping", "together"), enable_progress_bar=False, enable_model_summary=False, callbacks=callbacks,
        default_root_dir=folder, **options_of(family, variant),
    )
    trainer.fit(model, DataLoader(train, batch_size=6, shuffle=True), DataLoader(val, batch_size=5))

    weights = hashlib.sha256()
    # Statistics of averaged weights come from an epoch more in Lightning, from one pass over the batches in nbit.
    for name, value in model.named_parameters() if variant == "averaged" else model.state_dict().items():
        weights.update(name.encode())
        weights.update(value.detach().contiguous().numpy().tobytes())
    out = {"family": family, "precision": precision, "variant": variant, "globalStep": trainer.global_step, "epochs": trainer.current_epoch}
    out["losses"] = "".join(struct.pack(">d" if precision == "64" else ">f", loss).hex() for loss in model.losses)
    if model.rates:
        out["rates"] = " ".join(map(repr, model.rates))
    out["rows"] = rows.rows
    out["weights"] = weights.hexdigest()[:32]
    for callback in trainer.callbacks:
        if isinstance(callback, ModelCheckpoint):
            out["best"] = {Path(path).name: double(score) for path, score in sorted(callback.best_k_models.items())}
            out["bestPath"], out["bestScore"] = Path(callback.best_model_path).name, double(callback.best_model_score)
        if isinstance(callback, EarlyStopping):
            out["stopping"] = {"stoppedEpoch": callback.stopped_epoch, "waitCount": callback.wait_count, "bestScore": double(callback.best_score)}
    return out


torch.set_num_threads(1)
torch.backends.mha.set_fastpath_enabled(False)  # attention of evaluations alone, in one kernel that sums in another order
reproducible_env.tell_of_other_roots()
origin = {
    "torch": torch.__version__.split("+")[0], "capability": torch.backends.cpu.get_cpu_capability(), "environment": reproducible_env.ENVIRONMENT,
    "roots": hashlib.sha256((torch.arange(1, 1025) / 7).sqrt().numpy().tobytes()).hexdigest(), "lightning": L.__version__,
}
lines = [json.dumps(origin)]
for family in FAMILIES:
    for precision in PRECISIONS:
        for variant in VARIANTS:
            if (family, variant) == ("gan", "averaged"):
                continue  # averaging is for one optimizer
            with tempfile.TemporaryDirectory() as folder:
                lines.append(json.dumps(run(family, precision, variant, folder), separators=(",", ":")))
(here / "runs.jsonl").write_text("\n".join(lines) + "\n")
