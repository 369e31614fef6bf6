// Low-bit kernels for AVX-512 with look-ups of bytes (VBMI).
#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")
#pragma GCC optimize("O3")
#include <immintrin.h>
#define NBIT_VBMI
#define NBIT_AVX512
#define NBIT_AVX2
#define NBIT_ISA vbmiKernels
#include "lowbit/cpu/isa.inc"
#endif
