"""Pins the arithmetic of libtorch on the CPU, so that fixtures made on one x86-64 machine hold on another.

Import before torch. The TypeScript twin is tests/helpers/reproducible.ts; both sides must say the same. Each variable is needed:
without it the named part picks kernels, and so the order of additions, by the processor it finds.
"""

import os

ENVIRONMENT = {
    "ATEN_CPU_CAPABILITY": "avx2",  # ATen's own vectorised kernels (pointwise, reductions, normalisation, softmax, random)
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # oneDNN: convolutions, and matrix products in bfloat16 where the processor has them
    "MKL_CBWR": "COMPATIBLE",  # MKL: matrix products, LAPACK, FFT
    "OMP_NUM_THREADS": "1",  # one thread: a parallel reduction splits by thread count
    "MKL_NUM_THREADS": "1",
}

os.environ.update(ENVIRONMENT)
