// Bias and GELU over rows of COLUMNS, forward and backward; the gradient of the bias is summed on the way. The macros
// that it is compiled with: manifest/kernels.json.
#include "cuda/kernels/common.cuh"

#define PACKS (COLUMNS / VEC)
#define TILES ((PACKS + 31) / 32)
#define EACH_ELEMENT(k) _Pragma("unroll") for (int k = 0; k < VEC; k++)

// GELU and its slope. The exact formula's normal distribution: the tail above |v| is exp(-v²/2) times a polynomial in
// 1 / (1 + 0.26 |v|), within 5e-7 of itself, so that GELU is as far from the truth as with erff (4e-7), at a third of
// the instructions: with erff they, not the memory, are what the kernels wait for. The slope shares the exponential.
struct Gelu {
  float value, slope;
};
__device__ __forceinline__ Gelu gelu(float v) {
#if TANH
  const float th = tanhf(0.7978845608f * (v + 0.044715f * v * v * v));
  return {0.5f * v * (1.f + th),
          0.5f * (1.f + th) + 0.5f * v * (1.f - th * th) * 0.7978845608f * (1.f + 0.134145f * v * v)};
#else
  float t, e;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(t) : "f"(fmaf(0.26f, fabsf(v), 1.f)));
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(e) : "f"(v * v * -0.7213475204f));
  float p = -0.07396058f;
  p = fmaf(p, t, 0.23286863f);
  p = fmaf(p, t, -0.11252293f);
  p = fmaf(p, t, 0.17124952f);
  p = fmaf(p, t, 0.07127109f);
  p = fmaf(p, t, 0.10761391f);
  p = fmaf(p, t, 0.10348061f);
  const float above = p * t * e, below = v < 0.f ? above : 1.f - above;
  return {v * below, fmaf(v, 0.3989422804f * e, below)};
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

// A block owns 32 packs of columns and, with its chunk, every chunks-th group of 8 rows. A thread reads AHEAD rows
// before it writes one.
struct Place {
  int pack;
  i64 first, step, end;  // packs: where a thread begins, from row to row, behind the last row
};
__device__ __forceinline__ Place place(i64 rows, int chunks) {
  const int pack = (int)(blockIdx.x % TILES) * 32 + (threadIdx.x & 31), chunk = blockIdx.x / TILES;
  return {pack, ((i64)chunk * 8 + (threadIdx.x >> 5)) * PACKS + pack, (i64)chunks * 8 * PACKS, rows * PACKS};
}

extern "C" __global__ void __launch_bounds__(256, 4)
    forward(const TX* x, const TB* bias, TX* out, i64 rows, int chunks) {
  constexpr int AHEAD = 4;
  const Place at = place(rows, chunks);
  if (at.pack >= PACKS) return;
  float b[VEC];
  biasAt(bias, at.pack * VEC, b);
  for (i64 i = at.first; i < at.end; i += at.step * AHEAD) {
    Pack<TX, VEC> a[AHEAD];
#pragma unroll
    for (int r = 0; r < AHEAD; r++)
      if (i + r * at.step < at.end) a[r] = reinterpret_cast<const Pack<TX, VEC>*>(x)[i + r * at.step];
#pragma unroll
    for (int r = 0; r < AHEAD; r++)
      if (i + r * at.step < at.end) {
        float v[VEC];
        unpack(a[r], v);
        EACH_ELEMENT (k) v[k] = gelu(v[k] + b[k]).value;
        reinterpret_cast<Pack<TX, VEC>*>(out)[i + r * at.step] = packed<TX, VEC>(v);
      }
  }
}

// partial: [chunks][COLUMNS], or null. again: the result of forward once more, where HAS_AGAIN.
extern "C" __global__ void __launch_bounds__(256, 4)
    backward(const TX* grad, const TX* x, const TB* bias, TX* out, TX* again, float* partial, i64 rows, int chunks) {
  constexpr int AHEAD = 2;
  const Place at = place(rows, chunks);
  float sum[VEC];
  EACH_ELEMENT (k) sum[k] = 0.f;
  if (at.pack < PACKS) {
    float b[VEC];
    biasAt(bias, at.pack * VEC, b);
    for (i64 i = at.first; i < at.end; i += at.step * AHEAD) {
      Pack<TX, VEC> g[AHEAD], a[AHEAD];
#pragma unroll
      for (int r = 0; r < AHEAD; r++)
        if (i + r * at.step < at.end) {
          g[r] = reinterpret_cast<const Pack<TX, VEC>*>(grad)[i + r * at.step];
          a[r] = reinterpret_cast<const Pack<TX, VEC>*>(x)[i + r * at.step];
        }
#pragma unroll
      for (int r = 0; r < AHEAD; r++)
        if (i + r * at.step < at.end) {
          float d[VEC], v[VEC];
          unpack(g[r], d);
          unpack(a[r], v);
          EACH_ELEMENT (k) {
            const Gelu y = gelu(v[k] + b[k]);
            d[k] *= y.slope;
            sum[k] += d[k];
            v[k] = y.value;
          }
          reinterpret_cast<Pack<TX, VEC>*>(out)[i + r * at.step] = packed<TX, VEC>(d);
#if HAS_AGAIN
          reinterpret_cast<Pack<TX, VEC>*>(again)[i + r * at.step] = packed<TX, VEC>(v);
#endif
        }
    }
  }
  if (partial) leaveColumnSums<COLUMNS, VEC>(sum, partial, (int)(blockIdx.x % TILES), (int)(blockIdx.x / TILES));
}

// 1024 threads: 32 columns of the bias's gradient.
extern "C" __global__ void __launch_bounds__(1024) columns(const float* partial, TB* out, int chunks) {
  const float s = columnTotal<COLUMNS>(partial, chunks);
  const int mine = blockIdx.x * 32 + (threadIdx.x >> 5);
  if ((threadIdx.x & 31) == 0 && mine < COLUMNS) out[mine] = fromFloat<TB>(s);
}
