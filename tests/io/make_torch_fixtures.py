"""Files of torch.save and of NumPy, for the TypeScript tests to read; and a look at what nbit wrote.

    python tests/io/make_torch_fixtures.py        (PyTorch 2.13, NumPy 2)

Writes fixtures/torch/*, fixtures/numpy/* and fixtures/*.json with what is in them. Reads fixtures/torch/nbit.pt, which
the TypeScript tests compare byte by byte with what nbit writes today, with weights_only=True, and checks its values.
"""

import argparse
import collections
import io
import json
import os
import pathlib
import pickle
import struct
import sys
import tarfile
import types
import zipfile

import numpy as np
import torch

here = pathlib.Path(__file__).resolve().parent / "fixtures"
folder = here / "torch"
torch.manual_seed(0)

DTYPES = (
    "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool uint16 uint32 uint64 complex64 complex128 "
    "float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu"
).split()


def of_dtype(name):
    raw = torch.arange(96, dtype=torch.uint8) % (2 if name == "bool" else 60)
    return raw.view(getattr(torch, name)).reshape(2, -1)


def raw(t):
    """Bytes in row-major order."""
    t = t.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return list(t.view(torch.uint8).tolist()) if t.numel() else []


def said(t):
    return {"dtype": str(t.dtype)[6:], "shape": list(t.shape), "stride": list(t.stride()), "bytes": raw(t)}


# Lightning's class, without Lightning: a dict with attributes.
for module in ("lightning", "lightning.fabric", "lightning.fabric.utilities", "lightning.fabric.utilities.data"):
    sys.modules.setdefault(module, types.ModuleType(module))
AttributeDict = type("AttributeDict", (dict,), {"__module__": "lightning.fabric.utilities.data"})
sys.modules["lightning.fabric.utilities.data"].AttributeDict = AttributeDict

base = torch.arange(12, dtype=torch.float32)
parameter = torch.nn.Parameter(torch.ones(2))
shared = [1, 2]
tensors = {
    **{f"dtype.{name}": of_dtype(name) for name in DTYPES},
    "base": base,
    "view": base[2:8].view(2, 3),
    "transposed": base.view(3, 4).t(),
    "expanded": base[:1].expand(3),
    "scalar": torch.tensor(1.5),
    "empty": torch.empty(0, 3),
    "conj": torch.tensor([1 + 2j, 3 - 4j]).conj(),
    "graph": torch.ones(2, requires_grad=True),
}
everything = {
    "tensors": tensors,
    "parameter": parameter,
    "again": parameter,
    "coo": torch.sparse_coo_tensor([[0, 2], [1, 0]], [3.0, 4.0], (3, 2)).coalesce(),
    "csr": torch.tensor([[0.0, 1.0], [2.0, 0.0]]).to_sparse_csr(),
    "meta": torch.empty(2, 3, device="meta"),
    "ordered": collections.OrderedDict([("b", 1), ("a", base)]),
    "counter": collections.Counter("aab"),
    "ints": {0: "zero", 10: "ten"},
    "mixed": {0: "zero", "a": 1, (1, 2): "pair"},
    "values": [None, True, False, 1, -1, 300, 70000, 2**31, 2**53 + 1, -(2**70), 1.5, float("inf"), float("-inf"), "text", "größe \u2028", b"\x00\xff", (1, (2,)), {1, 2}, 1 + 2j],
    "nan": float("nan"),
    "shared": [shared, shared],
    "dtype": torch.float16,
    "size": torch.Size([2, 3]),
    "device": torch.device("cpu"),
    "cuda": torch.device("cuda:1"),
    "__proto__": "a key like any other",
    "bytearray": bytearray(b"ab"),
}
loaded_elsewhere = {
    "namespace": argparse.Namespace(lr=0.1, layers=[1, 2]),
    "attributes": AttributeDict(lr=0.1),
    "path": pathlib.PurePosixPath("/a/b"),
    "defaultdict": collections.defaultdict(list, {"a": [1]}),
    "array": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)),
    "scalars": [np.float64(0.5), np.float32(0.25), np.int64(-3), np.bool_(True), np.uint8(7), np.float16(1.5)],
    "frozenset": frozenset([1]),
}
everything["self"] = loop = []
loop.append(loop)

torch.save(everything, folder / "zip.pt")
torch.save(everything, folder / "legacy.pt", _use_new_zipfile_serialization=False)
for protocol in (0, 1, 3, 4, 5):
    torch.save({**loaded_elsewhere, "t": base[1:4]}, folder / f"protocol{protocol}.pt", pickle_protocol=protocol) if protocol >= 2 else None
torch.save({**loaded_elsewhere, "t": base[1:4]}, folder / "protocol2.pt")
(here / "torch.json").write_text(json.dumps({name: said(t) for name, t in tensors.items()}))


def rezip(source, target, change, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", method) as new:
        for info in old.infolist():
            new.writestr(info.filename, change(info.filename, old.read(info)))


def swapped(name, data):
    if name.endswith("byteorder"):
        return b"big"
    return np.frombuffer(data, dtype="<f4").byteswap().tobytes() if "/data/" in name else data


torch.save({"x": base, "y": base[4:]}, folder / "plain.pt")
rezip(folder / "plain.pt", folder / "big-endian.pt", swapped)
rezip(folder / "plain.pt", folder / "deflated.pt", lambda _, data: data, zipfile.ZIP_DEFLATED)

# A training state: model, optimizer, scheduler, after three steps.


def step(model, optimizer, scheduler):
    x = torch.arange(6, dtype=torch.float32).reshape(3, 2) / 4
    optimizer.zero_grad()
    model(x).square().sum().backward()
    optimizer.step()
    scheduler.step()


def training(make):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 1))
    optimizer = make(model.parameters())
    return model, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)


MAKE = {
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.05, betas=(0.8, 0.9), weight_decay=0.1),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
}
for name, make in MAKE.items():
    model, optimizer, scheduler = training(make)
    for _ in range(3):
        step(model, optimizer, scheduler)
    torch.save(
        {"epoch": 3, "model": model.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()},
        folder / f"{name}.pt",
    )
    for _ in range(2):
        step(model, optimizer, scheduler)
    torch.save({"model": model.state_dict(), "lr": scheduler.get_last_lr()}, folder / f"{name}-later.pt")

# Lightning's checkpoint, as its trainer writes one.
model, optimizer, scheduler = training(MAKE["adamw"])
torch.save(
    {
        "epoch": 1,
        "global_step": 4,
        "pytorch-lightning_version": "2.6.0",
        "state_dict": collections.OrderedDict((f"net.{k}", v) for k, v in model.state_dict().items()),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 1, "completed": 1}}}},
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_score": torch.tensor(0.5), "best_k_models": {}}},
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [scheduler.state_dict()],
        "hparams_name": "kwargs",
        "hyper_parameters": AttributeDict(width=3, lr=0.05),
    },
    folder / "lightning.ckpt",
)

# Files that are refused.


class Runs:
    def __reduce__(self):
        return os.system, ("touch /tmp/nbit-was-run",)


torch.save({"x": Runs()}, folder / "runs.pt")
torch.save(torch.nn.Linear(1, 1), folder / "module.pt")
torch.save(torch.quantize_per_tensor(base, 0.1, 0, torch.qint8), folder / "quantized.pt")
torch.jit.script(torch.nn.Linear(1, 1)).save(str(folder / "script.pt"))
(folder / "bare.pkl").write_bytes(pickle.dumps({"x": 1}, protocol=2))

# The first format, written by hand: nobody writes it any more.


def dumped(*values):
    return b"".join(pickle.dumps(v, protocol=2) for v in values)


storage_type = b"\x80\x02ctorch\nFloatStorage\n"
storages = dumped(1) + b"\x80\x02K\x01X\x03\x00\x00\x00cpuctorch\nFloatStorage\n\x87." + struct.pack("<q", 6) + np.arange(6, dtype="<f4").tobytes() + dumped([])
described = dumped(1) + b"\x80\x02K\x05K\x01ctorch\nFloatTensor\n\x87." + struct.pack("<i4x2q2qq", 2, 2, 2, 3, 1, 1)
main = b"\x80\x02}X\x01\x00\x00\x00xU\x015Qs."
with tarfile.open(folder / "tar.pt", "w", format=tarfile.PAX_FORMAT) as tar:
    for name, data in (("sys_info", dumped({})), ("pickle", main), ("tensors", described), ("storages", storages)):
        info = tarfile.TarInfo(name)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
got = torch.load(folder / "tar.pt", weights_only=False)["x"]
assert got.tolist() == [[1, 2], [4, 5]], got

# NumPy.

arrays = {}
for name in "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64 complex128".split():
    a = np.frombuffer(bytes(i % (2 if name == "bool" else 60) for i in range(96)), dtype=name).reshape(2, -1)
    arrays[name] = a
    np.save(here / "numpy" / f"{name}.npy", a)
np.save(here / "numpy" / "big-endian.npy", arrays["int32"].astype(">i4"))
np.save(here / "numpy" / "big-complex.npy", arrays["complex64"].astype(">c8"))
np.save(here / "numpy" / "fortran.npy", np.asfortranarray(np.arange(24, dtype=np.int16).reshape(2, 3, 4)))
np.save(here / "numpy" / "scalar.npy", np.float32(1.5))
np.save(here / "numpy" / "empty.npy", np.zeros((0, 3)))
np.savez(here / "numpy" / "stored.npz", np.arange(3), weight=arrays["float32"])
np.savez_compressed(here / "numpy" / "deflated.npz", np.arange(3), weight=np.zeros((100, 100), dtype=np.float32))
np.save(here / "numpy" / "records.npy", np.zeros(2, dtype=[("a", "<i4"), ("b", "<f4")]))
np.save(here / "numpy" / "texts.npy", np.array(["a", "bc"]))
np.save(here / "numpy" / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
print("wrote", folder, "and", here / "numpy")

# What nbit wrote.


def check_tensor(found, expected):
    assert found.dtype == expected.dtype and found.shape == expected.shape and found.stride() == expected.stride(), (found, expected)
    assert raw(found) == raw(expected), (found, expected)


mine = folder / "nbit.pt"
if mine.exists():
    found = torch.load(mine, weights_only=True)
    for name in DTYPES:
        check_tensor(found["dtypes"][name], of_dtype(name))
    assert type(found["model"]) is collections.OrderedDict and list(found["model"]) == ["weight", "bias"]
    assert not found["model"]["weight"].requires_grad
    check_tensor(found["base"], base)
    check_tensor(found["transposed"], base.view(3, 4).t())
    assert found["transposed"].untyped_storage().data_ptr() == found["base"].untyped_storage().data_ptr()
    check_tensor(found["part"], base[2:5])
    assert found["part"].data_ptr() == found["base"].data_ptr() + 8
    assert found["bits"].untyped_storage().data_ptr() == found["floats"].untyped_storage().data_ptr()
    assert found["bits"].dtype == torch.int32 and found["floats"].tolist() == [1.0, 2.0]
    assert type(found["parameter"]) is torch.nn.Parameter and found["parameter"].requires_grad
    assert found["again"] is found["parameter"]
    assert torch.equal(found["coo"].to_dense(), everything["coo"].to_dense()) and found["coo"].is_coalesced()
    assert torch.equal(found["csr"].to_dense(), everything["csr"].to_dense())
    assert found["meta"].device.type == "meta" and found["meta"].shape == (2, 3)
    assert found["ints"] == {0: "zero", 10: "ten"} and found["mixed"] == {0: "zero", "a": 1}
    assert found["values"][:-1] == [None, True, False, 1, -1, 300, 70000, 2**31, 2**53 + 1, -(2**70), 1.5, float("inf"), float("-inf"), "text", "größe \u2028", b"\x00\xff", [1, [2]], {1, 2}], found["values"]
    assert found["values"][-1] == 1 + 2j and found["nan"] != found["nan"]
    assert found["device"] == torch.device("cpu")
    assert found["shared"][0] is found["shared"][1] and found["self"][0] is found["self"]
    check_tensor(found["array"], torch.tensor([1, 2], dtype=torch.int16))
    for name, make in MAKE.items():
        model, optimizer, scheduler = training(make)
        state = torch.load(folder / f"nbit-{name}.pt", weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        scheduler.load_state_dict(state["scheduler"])
        for _ in range(2):
            step(model, optimizer, scheduler)
        later = torch.load(folder / f"{name}-later.pt", weights_only=True)
        assert scheduler.get_last_lr() == later["lr"], (scheduler.get_last_lr(), later["lr"])
        for key, t in later["model"].items():
            assert torch.equal(model.state_dict()[key], t), (name, key)
    mapped = torch.load(mine, weights_only=True, mmap=True)
    check_tensor(mapped["base"], base)
    with np.load(folder / "nbit.npz") as z:
        assert sorted(z) == ["arr_0", "weight"] and z["arr_0"].tolist() == [0, 1, 2] and (z["weight"] == arrays["float32"]).all()
    for name, a in arrays.items():
        b = np.load(folder / f"nbit-{name}.npy")
        assert b.dtype == a.dtype and b.shape == a.shape and b.tobytes() == a.tobytes(), name
    print("read", mine)
