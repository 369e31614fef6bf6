"""Writes a small wheel that pip takes for PyTorch: the same layout and a true RECORD, with next to nothing inside.

Usage: wheel.py FOLDER VERSION [--damage | --truncate] [--requires REQUIREMENT]. The version's local part is kept in version.py only, as on public indexes.
"""

import base64
import hashlib
import os
import sys
import zipfile

folder, version, options = sys.argv[1], sys.argv[2], sys.argv[3:]
release = version.split("+")[0]
name = "torch"
info = f"{name}-{release}.dist-info"
requires = f"Requires-Dist: {options[options.index('--requires') + 1]}\n" if "--requires" in options else ""
files = {
    "torch/version.py": f"__version__ = '{version}'\ncuda = None\ngit_version = '{'ab' * 20}'\n",
    "torch/lib/libtorch.so": "a" * 50_000,
    "torch/lib/libtorch_cpu.so": "b" * 50_000,
    "torch/lib/libc10.so": "c" * 50_000,
    "torch/lib/libtorch_python.so": "not wanted",
    "torch/include/ATen/core/TensorBody.h": "// header\n",
    "torch/nn/functional.py": "not wanted",
    f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {release}\n{requires}",
    f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: py3-none-any\n",
    f"{info}/licenses/LICENSE": "licence\n",
}


def digest(text):
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


record = "".join(f"{path},sha256={digest(text)},{len(text)}\n" for path, text in files.items()) + f"{info}/RECORD,,\n"
if "--damage" in options:
    files["torch/lib/libc10.so"] = "c" * 49_999 + "x"
os.makedirs(folder, exist_ok=True)
path = os.path.join(folder, f"{name}-{release}-py3-none-any.whl")
with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
    for file, text in files.items():
        wheel.writestr(file, text)
    wheel.writestr(f"{info}/RECORD", record)
if "--truncate" in options:
    with open(path, "r+b") as out:
        out.truncate(os.path.getsize(path) // 2)
