// Batch norm of 16-bit numbers, for AVX-512.
#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")
#pragma GCC optimize("O3")
#include <immintrin.h>

#include "cpu/norm.h"

#include <utility>

namespace nbit::cpu {
namespace {
#include "cpu/vectors.inc"
#include "cpu/norm.inc"
}  // namespace

constinit const NormKernels avx512Norm{
    NBIT_BY_FORMAT(momentsOf),         NBIT_BY_FORMAT(normalizeOf),   NBIT_BY_FORMAT(sumsOf),
    NBIT_BY_FORMAT(gradientOf),        NBIT_BY_FORMAT(rowSumsOf),     NBIT_BY_FORMAT(normalizeRowsOf),
    NBIT_BY_FORMAT(rowGradientSumsOf), NBIT_BY_FORMAT(gradientRowsOf)};
}  // namespace nbit::cpu
#endif
