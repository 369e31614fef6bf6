// Low-bit kernels for any processor.
#pragma GCC optimize("O3")
#define NBIT_ISA plainKernels
#include "lowbit/cpu/isa.inc"
