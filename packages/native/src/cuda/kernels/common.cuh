// What the kernels that NVRTC compiles at run time share: short names of types, 16-bit floats, packs of neighbours,
// sums of a warp.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef long long i64;

#ifndef INFINITY  // NVRTC has no <math.h>
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fc00000)
#endif

struct Bf16 {
  u16 bits;
};
struct F16 {
  u16 bits;
};

__device__ __forceinline__ float toFloat(float v) { return v; }
__device__ __forceinline__ float toFloat(Bf16 v) { return __uint_as_float(((u32)v.bits) << 16); }
__device__ __forceinline__ float toFloat(F16 v) {
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(v.bits));
  return f;
}

template <class T>
__device__ __forceinline__ T fromFloat(float f);
template <>
__device__ __forceinline__ float fromFloat<float>(float f) {
  return f;
}
template <>
__device__ __forceinline__ Bf16 fromFloat<Bf16>(float f) {
  Bf16 h;
#if __CUDA_ARCH__ >= 800
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(h.bits) : "f"(f));
#else
  const u32 u = __float_as_uint(f);
  h.bits = f != f ? 0x7fc0 : (u16)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
#endif
  return h;
}
template <>
__device__ __forceinline__ F16 fromFloat<F16>(float f) {
  F16 h;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h.bits) : "f"(f));
  return h;
}

template <class T>
struct IsBf16 {
  static constexpr bool value = false;
};
template <>
struct IsBf16<Bf16> {
  static constexpr bool value = true;
};

// N neighbours, moved with accesses of up to 16 bytes.
template <class T, int N>
struct alignas(sizeof(T) * N > 16 ? 16 : sizeof(T) * N) Pack {
  T v[N];
};

// Two neighbours in one instruction each way, where 16 bits each.
template <class T, int N>
__device__ __forceinline__ void unpack(const Pack<T, N>& p, float* out) {
#pragma unroll
  for (int k = 0; k < N; k++) out[k] = toFloat(p.v[k]);
}
template <int N>
__device__ __forceinline__ void unpack(const Pack<Bf16, N>& p, float* out) {
  if constexpr (N % 2 == 0) {
    const u32* words = reinterpret_cast<const u32*>(&p);
#pragma unroll
    for (int k = 0; k < N; k += 2) {
      out[k] = __uint_as_float(words[k / 2] << 16);
      out[k + 1] = __uint_as_float(words[k / 2] & 0xffff0000u);
    }
  } else {
#pragma unroll
    for (int k = 0; k < N; k++) out[k] = toFloat(p.v[k]);
  }
}
template <class T, int N>
__device__ __forceinline__ Pack<T, N> packed(const float* in) {
  Pack<T, N> p;
  u32* words = reinterpret_cast<u32*>(&p);
#pragma unroll
  for (int k = 0; k < N; k++) {
#if __CUDA_ARCH__ >= 800
    if constexpr (sizeof(T) == 2 && N % 2 == 0) {
      if (k % 2 != 0) continue;
      if constexpr (IsBf16<T>::value)
        asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(words[k / 2]) : "f"(in[k + 1]), "f"(in[k]));
      else asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(words[k / 2]) : "f"(in[k + 1]), "f"(in[k]));
      continue;
    }
#endif
    p.v[k] = fromFloat<T>(in[k]);
  }
  return p;
}

__device__ __forceinline__ float warpSum(float v) {
#pragma unroll
  for (int d = 16; d; d >>= 1) v += __shfl_xor_sync(~0u, v, d);
  return v;
}
__device__ __forceinline__ float warpMax(float v) {
#pragma unroll
  for (int d = 16; d; d >>= 1) v = fmaxf(v, __shfl_xor_sync(~0u, v, d));
  return v;
}

// Sums of columns in two kernels, in float32 and in a fixed order. First, 256 threads: what they summed of 32 packs of
// N columns (each lane one pack, each warp rows of its own), into the row of a chunk. partial: [chunks][WIDTH].
template <int WIDTH, int N>
__device__ __forceinline__ void leaveColumnSums(const float* sum, float* partial, int tile, int chunk) {
  __shared__ float joined[8][32 * N];
#pragma unroll
  for (int k = 0; k < N; k++) joined[threadIdx.x >> 5][(threadIdx.x & 31) * N + k] = sum[k];
  __syncthreads();
  for (int c = threadIdx.x; c < 32 * N; c += 256) {
    const int column = tile * 32 * N + c;
    if (column >= WIDTH) continue;
    float s = 0.f;
    for (int w = 0; w < 8; w++) s += joined[w][c];
    partial[(i64)chunk * WIDTH + column] = s;
  }
}
// Then, 1024 threads: 32 columns. The total of column 32 · blockIdx.x + warp, for every lane of that warp.
template <int WIDTH>
__device__ __forceinline__ float columnTotal(const float* partial, int chunks) {
  __shared__ float tile[32][33];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int column = blockIdx.x * 32 + lane;
  float s = 0.f;
  if (column < WIDTH) {
#pragma unroll 4
    for (int b = warp; b < chunks; b += 32) s += partial[(i64)b * WIDTH + column];
  }
  tile[warp][lane] = s;
  __syncthreads();
  return warpSum(tile[lane][warp]);
}
