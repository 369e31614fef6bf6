// Products of pairs of bfloat16, for AVX-512 with BF16.
#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")
#pragma GCC optimize("O3")
#include <immintrin.h>
#define NBIT_BF16
#define NBIT_PRODUCTS bfloatProducts
#define NBIT_ATTENTION bfloatAttention
#include "cpu/product.inc"
#endif
