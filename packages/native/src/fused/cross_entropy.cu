// Cross entropy on 16-bit logits: the loss of each row, and the gradient in place. The macros that it is compiled with:
// manifest/kernels.json.
#include "cuda/kernels/common.cuh"

typedef Pack<TX, 8> Packed;
// A thread reads AHEAD packs before it computes with one.
#define AHEAD 4
#define EACH_AHEAD(j, i, first) \
  _Pragma("unroll") for (int j = 0; j < AHEAD; j++) if (const i64 i = first + (i64)j * blockDim.x; i < packs)
extern "C" __device__ void __assertfail(const char* condition, const char* file, unsigned line, const char* function,
                                        unsigned long charSize);

__device__ __forceinline__ void join(float& m, float& s, float m2, float s2) {
  const float top = fmaxf(m, m2);
  if (top == -INFINITY) return;
  s = s * __expf(m - top) + s2 * __expf(m2 - top);
  m = top;
}

// One block per row. loss = logsumexp - logit[target]; rows to ignore give 0.
extern "C" __global__ void rows(const TX* logits, const i64* target, float* loss, float* lse, i64 columns, i64 ignore) {
  const i64 row = blockIdx.x;
  const TX* x = logits + row * columns;
  float m = -INFINITY, s = 0.f;
  const i64 packs = (columns % 8 == 0) ? columns / 8 : 0;
  const Packed* xp = reinterpret_cast<const Packed*>(x);
  for (i64 first = threadIdx.x; first < packs; first += (i64)blockDim.x * AHEAD) {
    Packed p[AHEAD];
    EACH_AHEAD(j, i, first) p[j] = xp[i];
    EACH_AHEAD(j, i, first) {
      float f[8];
      unpack(p[j], f);
      float top = -INFINITY;
#pragma unroll
      for (int k = 0; k < 8; k++) top = fmaxf(top, f[k]);
      if (top > m) {
        s *= __expf(m - top);
        m = top;
      }
#pragma unroll
      for (int k = 0; k < 8; k++) s += __expf(f[k] - m);
    }
  }
  for (i64 i = packs * 8 + threadIdx.x; i < columns; i += blockDim.x) join(m, s, toFloat(x[i]), 1.f);
  for (int d = 16; d; d >>= 1) join(m, s, __shfl_xor_sync(~0u, m, d), __shfl_xor_sync(~0u, s, d));
  __shared__ float ms[32], ss[32];
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, warps = blockDim.x >> 5;
  if (lane == 0) {
    ms[warp] = m;
    ss[warp] = s;
  }
  __syncthreads();
  if (warp == 0) {
    m = lane < warps ? ms[lane] : -INFINITY;
    s = lane < warps ? ss[lane] : 0.f;
    for (int d = 16; d; d >>= 1) join(m, s, __shfl_xor_sync(~0u, m, d), __shfl_xor_sync(~0u, s, d));
    if (lane == 0) {
      const i64 t = target[row];
      const float total = m + logf(s);
      lse[row] = total;
      // As in libtorch's own kernels: a NaN here would be taken for an overflow, and every step skipped.
      if (t != ignore && (t < 0 || t >= columns))
        __assertfail("0 <= label && label < classes", "cross_entropy", 0, "rows", 1);
      loss[row] = t == ignore ? 0.f : total - toFloat(x[t]);
    }
  }
}

// In place: logits become (softmax - onehot(target)) * scale.
extern "C" __global__ void gradient(TX* logits, const i64* target, const float* lse, const float* scale, i64 columns,
                                    i64 ignore) {
  const i64 row = gridDim.x - 1 - blockIdx.x;  // the last are still in the cache
  TX* x = logits + row * columns;
  const i64 t = target[row];
  const float l = lse[row];
  const float g = t == ignore ? 0.f : *scale;
  const i64 packs = (columns % 8 == 0) ? columns / 8 : 0;
  Packed* xp = reinterpret_cast<Packed*>(x);
  for (i64 first = threadIdx.x; first < packs; first += (i64)blockDim.x * AHEAD) {
    Packed p[AHEAD];
    EACH_AHEAD(j, i, first) p[j] = xp[i];
    EACH_AHEAD(j, i, first) {
      float f[8];
      unpack(p[j], f);
#pragma unroll
      for (int k = 0; k < 8; k++) {
        float e = __expf(f[k] - l);
        if (i * 8 + k == t) e -= 1.f;
        f[k] = g == 0.f ? 0.f : e * g;
      }
      xp[i] = packed<TX, 8>(f);
    }
  }
  for (i64 i = packs * 8 + threadIdx.x; i < columns; i += blockDim.x) {
    float e = __expf(toFloat(x[i]) - l);
    if (i == t) e -= 1.f;
    x[i] = fromFloat<TX>(g == 0.f ? 0.f : e * g);
  }
}
