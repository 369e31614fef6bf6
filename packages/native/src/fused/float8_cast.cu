// Casts to float8. Tiles of 128 x 128: a thread converts 4 x 4 values; its rows leave as they are, its columns go
// through shared memory, whose words are permuted so that neither writing nor reading it meets a bank twice. The macros
// that it is compiled with: manifest/kernels.json.
#include "cuda/kernels/common.cuh"

typedef Pack<TX, 4> Four;
#if E5M2
#define CVT "cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;"
#define LARGEST 57344.f
#else
#define CVT "cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;"
#define LARGEST 448.f
#endif
__device__ __forceinline__ u32 pack(const float* f) {
#if __CUDA_ARCH__ >= 890
  u16 low, high;
  asm(CVT : "=h"(low) : "f"(f[1]), "f"(f[0]));
  asm(CVT : "=h"(high) : "f"(f[3]), "f"(f[2]));
  return (u32)low | ((u32)high << 16);
#else
  __trap();  // older devices have no such conversion, and are never given this kernel
  return 0;
#endif
}
// What is not finite becomes NaN: a saturating conversion alone would make the largest code of an infinity.
__device__ __forceinline__ float scaled(float x, float s) {
  return fabsf(x) <= 3.402823466e38f ? x * s : __uint_as_float(0x7fc00000u);
}
__device__ __forceinline__ float bounded(float amax) { return amax < 1e-12f ? 1e-12f : amax; }  // NaN stays

extern "C" __global__ void __launch_bounds__(256)
    cast(const Four* x, const float* amaxRows, const float* amaxColumns, u32* rows, u32* columns, float* rowInverse,
         float* columnInverse, i64 m, i64 k) {
  const i64 across = (k + 127) / 128;
  const i64 r0 = (blockIdx.x / across) * 128, c0 = (blockIdx.x % across) * 128;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const i64 c = c0 + lane * 4;
#if COLUMNS
  __shared__ u32 tile[128 * 32];
#endif
#if WHOLE
  const float amax = bounded(*amaxRows), scale = LARGEST / amax;
  if (blockIdx.x == 0 && threadIdx.x == 0) *rowInverse = amax / LARGEST;
#else
  const i64 t = threadIdx.x;
#if ROWS
  if (c0 == 0 && t < 128 && r0 + t < m) rowInverse[r0 + t] = bounded(amaxRows[r0 + t]) / LARGEST;
#endif
#if COLUMNS
  if (r0 == 0 && t < 128 && c0 + t < k) columnInverse[c0 + t] = bounded(amaxColumns[c0 + t]) / LARGEST;
  float columnScale[4];
  for (int j = 0; j < 4; j++) columnScale[j] = c < k ? LARGEST / bounded(amaxColumns[c + j]) : 0.f;
#endif
#endif
#pragma unroll 2
  for (int group = warp; group < 32; group += 8) {
    const i64 r = r0 + group * 4;
    if (r >= m || c >= k) continue;
    u32 v[4];
    Four in[4];
#pragma unroll
    for (int i = 0; i < 4; i++) in[i] = x[((r + i) * k + c) / 4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
      float f[4];
#if WHOLE
#pragma unroll
      for (int j = 0; j < 4; j++) f[j] = scaled(toFloat(in[i].v[j]), scale);
      v[i] = pack(f);
#if ROWS
      rows[((r + i) * k + c) / 4] = v[i];
#endif
#else
#if ROWS
      const float rowScale = LARGEST / bounded(amaxRows[r + i]);
#pragma unroll
      for (int j = 0; j < 4; j++) f[j] = scaled(toFloat(in[i].v[j]), rowScale);
      rows[((r + i) * k + c) / 4] = pack(f);
#endif
#if COLUMNS
#pragma unroll
      for (int j = 0; j < 4; j++) f[j] = scaled(toFloat(in[i].v[j]), columnScale[j]);
      v[i] = pack(f);
#endif
#endif
    }
#if COLUMNS
    const u32 a = __byte_perm(v[0], v[1], 0x5140), b = __byte_perm(v[2], v[3], 0x5140);
    const u32 e = __byte_perm(v[0], v[1], 0x7362), f = __byte_perm(v[2], v[3], 0x7362);
    u32* to = tile + lane * 128 + (group ^ lane);
    to[0] = __byte_perm(a, b, 0x5410);
    to[32] = __byte_perm(a, b, 0x7632);
    to[64] = __byte_perm(e, f, 0x5410);
    to[96] = __byte_perm(e, f, 0x7632);
#endif
  }
#if COLUMNS
  __syncthreads();
  const i64 r = r0 + lane * 4;
  for (int column = warp; column < 128; column += 8)
    if (c0 + column < k && r < m) columns[((c0 + column) * m + r) / 4] = tile[column * 32 + (lane ^ (column >> 2))];
#endif
}
