"""Writes a small wheel that pip takes for PyTorch: the same layout and a true RECORD, with next to nothing inside.

Usage: wheel.py FOLDER VERSION [--plain] [--damage | --truncate | --cuda]. With --plain the version's local part is kept in version.py only, as on some indexes. --cuda makes a build that
requires a second wheel, which is written beside it, and a third one for another system, which is not.
"""

import base64
import hashlib
import os
import sys
import zipfile

folder, version, options = sys.argv[1], sys.argv[2], sys.argv[3:]
release = version.split("+")[0] if "--plain" in options else version
cuda = "--cuda" in options


def digest(text):
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def write(name, release, files, requires=(), damaged=None):
    info = f"{name}-{release}.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {release}\n" + "".join(f"Requires-Dist: {r}\n" for r in requires),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: py3-none-any\n",
        f"{info}/licenses/LICENSE": "licence\n",
    }
    record = "".join(f"{path},sha256={digest(text)},{len(text)}\n" for path, text in files.items()) + f"{info}/RECORD,,\n"
    if damaged is not None:
        files[damaged] = files[damaged][:-1] + "x"
    path = os.path.join(folder, f"{name}-{release}-py3-none-any.whl")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for file, text in files.items():
            wheel.writestr(file, text)
        wheel.writestr(f"{info}/RECORD", record)
    return path


os.makedirs(folder, exist_ok=True)
files = {
    "torch/version.py": f"__version__ = '{version}'\ncuda: str = {repr('13.0') if cuda else None}\ngit_version = '{'ab' * 20}'\n",
    "torch/lib/libtorch.so": "a" * 50_000,
    "torch/lib/libtorch_cpu.so": "b" * 50_000,
    "torch/lib/libc10.so": "c" * 50_000,
    "torch/lib/libtorch_python.so": "not wanted",
    "torch/include/ATen/core/TensorBody.h": "// header\n",
    "torch/nn/functional.py": "not wanted",
}
requires = []
if cuda:
    files["torch/lib/libtorch_cuda.so"] = "d" * 50_000
    requires = ['nvidia-runtime==13.0.1; platform_system == "Linux"', 'nvidia-other==1.0; platform_system == "Windows"', "sympy>=1.13", 'nvidia-extra==1.0; extra == "all"']
    write("nvidia_runtime", "13.0.1", {"nvidia/cu13/lib/libcudart.so.13": "runtime", "nvidia/__init__.py": ""})
path = write("torch", release, files, requires, "torch/lib/libc10.so" if "--damage" in options else None)
if "--truncate" in options:
    with open(path, "r+b") as out:
        out.truncate(os.path.getsize(path) // 2)
