// Bias and GELU over rows of COLUMNS, forward and backward; the gradient of the bias is summed on the way. The macros
// that it is compiled with: manifest/kernels.json.
#include "cuda/kernels/common.cuh"

#define PACKS (COLUMNS / VEC)
#define TILES ((PACKS + 31) / 32)
#define EACH_ELEMENT(k) _Pragma("unroll") for (int k = 0; k < VEC; k++)

__device__ __forceinline__ float gelu(float v) {
#if TANH
  return 0.5f * v * (1.f + tanhf(0.7978845608f * (v + 0.044715f * v * v * v)));
#else
  return 0.5f * v * (1.f + erff(v * 0.7071067812f));
#endif
}
__device__ __forceinline__ float slope(float v) {
#if TANH
  const float th = tanhf(0.7978845608f * (v + 0.044715f * v * v * v));
  return 0.5f * (1.f + th) + 0.5f * v * (1.f - th * th) * 0.7978845608f * (1.f + 0.134145f * v * v);
#else
  return 0.5f * (1.f + erff(v * 0.7071067812f)) + v * 0.3989422804f * expf(-0.5f * v * v);
#endif
}
__device__ __forceinline__ void biasAt(const TB* bias, int c, float* out) {
#if HAS_B
  const auto b = *reinterpret_cast<const Pack<TB, VEC>*>(bias + c);
  EACH_ELEMENT (k) out[k] = toFloat(b.v[k]);
#else
  EACH_ELEMENT (k) out[k] = 0.f;
#endif
}

extern "C" __global__ void __launch_bounds__(256) forward(const TX* x, const TB* bias, TX* out, i64 packs) {
  for (i64 i = (i64)blockIdx.x * 256 + threadIdx.x; i < packs; i += (i64)gridDim.x * 256) {
    auto a = reinterpret_cast<const Pack<TX, VEC>*>(x)[i];
    float b[VEC];
    biasAt(bias, (int)(i % PACKS) * VEC, b);
    EACH_ELEMENT (k) a.v[k] = fromFloat<TX>(gelu(toFloat(a.v[k]) + b[k]));
    reinterpret_cast<Pack<TX, VEC>*>(out)[i] = a;
  }
}

// A block owns 32 packs of columns and, with its chunk, every chunks-th group of 8 rows. partial: [chunks][COLUMNS], or
// null.
extern "C" __global__ void __launch_bounds__(256)
    backward(const TX* grad, const TX* x, const TB* bias, TX* out, float* partial, i64 rows, int chunks) {
  const int lane = threadIdx.x & 31, group = threadIdx.x >> 5;
  const int pack = (int)(blockIdx.x % TILES) * 32 + lane, chunk = blockIdx.x / TILES;
  float sum[VEC];
  EACH_ELEMENT (k) sum[k] = 0.f;
  if (pack < PACKS) {
    float b[VEC];
    biasAt(bias, pack * VEC, b);
    for (i64 row = (i64)chunk * 8 + group; row < rows; row += (i64)chunks * 8) {
      const i64 at = row * PACKS + pack;
      const auto g = reinterpret_cast<const Pack<TX, VEC>*>(grad)[at];
      const auto a = reinterpret_cast<const Pack<TX, VEC>*>(x)[at];
      Pack<TX, VEC> o;
      EACH_ELEMENT (k) {
        const float d = toFloat(g.v[k]) * slope(toFloat(a.v[k]) + b[k]);
        o.v[k] = fromFloat<TX>(d);
        sum[k] += d;
      }
      reinterpret_cast<Pack<TX, VEC>*>(out)[at] = o;
    }
  }
  if (!partial) return;
  __shared__ float joined[8][32 * VEC];
  EACH_ELEMENT (k) joined[group][lane * VEC + k] = sum[k];
  __syncthreads();
  for (int c = threadIdx.x; c < 32 * VEC; c += 256) {
    const int column = (int)(blockIdx.x % TILES) * 32 * VEC + c;
    if (column >= COLUMNS) continue;
    float s = 0.f;
    for (int w = 0; w < 8; w++) s += joined[w][c];
    partial[(i64)chunk * COLUMNS + column] = s;
  }
}

// 1024 threads: 32 columns of the bias's gradient.
extern "C" __global__ void __launch_bounds__(1024) columns(const float* partial, TB* out, int chunks) {
  __shared__ float tile[32][33];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int column = blockIdx.x * 32 + lane;
  float s = 0.f;
  if (column < COLUMNS)
    for (int b = warp; b < chunks; b += 32) s += partial[(i64)b * COLUMNS + column];
  tile[warp][lane] = s;
  __syncthreads();
  s = warpSum(tile[lane][warp]);
  const int mine = blockIdx.x * 32 + warp;
  if (lane == 0 && mine < COLUMNS) out[mine] = fromFloat<TB>(s);
}
