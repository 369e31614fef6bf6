// Low-bit kernels for AVX-512 (F, BW, DQ, VL).
#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")
#pragma GCC optimize("O3")
#include <immintrin.h>
#define NBIT_AVX512
#define NBIT_AVX2
#define NBIT_ISA avx512Kernels
#include "lowbit/cpu/isa.inc"
#endif
