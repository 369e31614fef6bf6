// What NVRTC knows by itself, for clangd (see .clangd): an editor then reads the kernels as they are compiled. No part
// of the addon.
#pragma once

#define __device__ __attribute__((device))
#define __host__ __attribute__((host))
#define __global__ __attribute__((global))
#define __shared__ __attribute__((shared))
#define __constant__ __attribute__((constant))
#define __forceinline__ __inline__ __attribute__((always_inline))
#define __launch_bounds__(...) __attribute__((launch_bounds(__VA_ARGS__)))

struct NbitIndex {
  unsigned x, y, z;
};
extern __device__ const NbitIndex threadIdx, blockIdx, blockDim, gridDim;

extern "C" {
__device__ void __syncthreads();
__device__ void __trap();
__device__ unsigned __byte_perm(unsigned, unsigned, unsigned);
__device__ float __int_as_float(int);
__device__ float __uint_as_float(unsigned);
__device__ unsigned __float_as_uint(float);
__device__ float __expf(float);
__device__ float expf(float);
__device__ float erff(float);
__device__ float fabsf(float);
__device__ float fmaf(float, float, float);
__device__ float fmaxf(float, float);
__device__ float fminf(float, float);
__device__ float logf(float);
__device__ float rsqrtf(float);
__device__ float sqrtf(float);
__device__ float tanhf(float);
__device__ double pow(double, double);
__device__ double sqrt(double);
}
template <class T>
__device__ T __shfl_xor_sync(unsigned, T, int);
__device__ int max(int, int);
__device__ int min(int, int);
