// Low-bit kernels for AVX2 with FMA and F16C.
#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c")
#pragma GCC optimize("O3")
#include <immintrin.h>
#define NBIT_AVX2
#define NBIT_ISA avx2Kernels
#include "lowbit/cpu/isa.inc"
#endif
