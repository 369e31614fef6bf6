// Products of 16-bit numbers as float32, for AVX-512.
#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")
#pragma GCC optimize("O3")
#include <immintrin.h>
#define NBIT_PRODUCTS floatProducts
#define NBIT_ATTENTION floatAttention
#include "cpu/product.inc"
#endif
