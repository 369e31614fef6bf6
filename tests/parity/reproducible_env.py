"""Pins the arithmetic of libtorch on the CPU, so that fixtures made on one x86-64 machine hold on another.

Import before torch. The TypeScript twin is tests/helpers/reproducible.ts; both sides must say the same. Each variable is needed:
without it the named part picks kernels, and so the order of additions, by the processor it finds.
"""

import base64
import json
import os
import pathlib
import sys

ENVIRONMENT = {
    "ATEN_CPU_CAPABILITY": "avx2",  # ATen's own vectorised kernels (pointwise, reductions, normalisation, softmax, random)
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # oneDNN: convolutions, and matrix products in bfloat16 where the processor has them
    "MKL_CBWR": "COMPATIBLE",  # MKL: matrix products, LAPACK, FFT
    "OMP_NUM_THREADS": "1",  # one thread: a parallel reduction splits by thread count
    "MKL_NUM_THREADS": "1",
}

os.environ.update(ENVIRONMENT)


def tell_of_other_roots():
    """Warns where MKL's square roots differ in the last bit from the recorded ones (see tests/helpers/square-roots.ts).

    Fixtures are of one kind of processor: lines that change here by such bits alone stay as they were.
    """
    import torch
    from dsl import hashed

    with open(pathlib.Path(__file__).parent / "ops" / "fixtures.jsonl") as file:
        case = json.loads(next(line for line in file if line.startswith('{"name":"sqrt",')))
    spec, recorded = case["inputs"][0], case["outputs"][0]["data"]
    _, seed, low, high = spec["fill"]
    count = spec["shape"][0] * spec["shape"][1]
    roots = torch.from_numpy(low + (high - low) * hashed(seed, count)).to(torch.float32).sqrt()
    if base64.b64encode(roots.numpy().tobytes()).decode() != recorded:
        print("MKL's square roots differ in the last bit between this processor and that of the fixtures: keep lines that change by them alone.", file=sys.stderr)
