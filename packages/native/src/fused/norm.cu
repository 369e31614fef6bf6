// Residual addition and normalisation of rows, forward and backward. A row is held in registers by one warp (up to 1024
// columns) or one block; everything is read once. The macros that it is compiled with: manifest/kernels.json.
#include "cuda/kernels/common.cuh"

#define ITER ((COLUMNS + VEC * THREADS - 1) / (VEC * THREADS))
#define HELD (ITER * VEC)
// The loop over what a thread holds of a row: i-th access, from column c.
#define EACH_ACCESS(i, c)                                                                     \
  _Pragma("unroll") for (int i = 0; i < ITER; i++) if (const int c = (i * THREADS + t) * VEC; \
                                                       COLUMNS % (VEC * THREADS) == 0 || c < COLUMNS)
#define EACH_ELEMENT(k) _Pragma("unroll") for (int k = 0; k < VEC; k++)
// Whether backward reads a warp's next row while it computes one: eight warps of a processor with registers for both
// keep the memory busier than sixteen that wait for each row.
#define AHEAD (GROUPS > 1 && HELD <= 24)
// What backward sums over rows: gradients of weight and bias, and where asked for what the residual's gradient sums to.
#define SUMS (HAS_RS ? 3 : 2)

// Over the threads of a row; each gets the result. Sums in a fixed order: equal inputs give equal bits.
__device__ __forceinline__ float rowSum(float v) {
  v = warpSum(v);
#if THREADS > 32
  __shared__ float parts[THREADS / 32];
  __syncthreads();
  if ((threadIdx.x & 31) == 0) parts[threadIdx.x >> 5] = v;
  __syncthreads();
  v = 0.f;
#pragma unroll
  for (int w = 0; w < THREADS / 32; w++) v += parts[w];
#endif
  return v;
}

extern "C" __global__ void __launch_bounds__(THREADS* GROUPS)
    forward(const TX* x, const TR* r, const TW* weight, const TW* bias, TS* sum, TO* out, float* mean, float* rstd,
            i64 rows, float eps) {
  const int t = threadIdx.x % THREADS;
  const i64 row = (i64)blockIdx.x * GROUPS + threadIdx.x / THREADS;
  if (row >= rows) return;
  float v[HELD];
  float total = 0.f;
#pragma unroll
  for (int i = 0; i < HELD; i++) v[i] = 0.f;
  EACH_ACCESS (i, c) {
    const auto a = *reinterpret_cast<const Pack<TX, VEC>*>(x + row * COLUMNS + c);
#if HAS_R
    const auto b = *reinterpret_cast<const Pack<TR, VEC>*>(r + row * COLUMNS + c);
    Pack<TS, VEC> s;
    // What follows sees the sum as it is kept.
    EACH_ELEMENT (k) {
      s.v[k] = fromFloat<TS>(toFloat(a.v[k]) + toFloat(b.v[k]));
      v[i * VEC + k] = toFloat(s.v[k]);
    }
    *reinterpret_cast<Pack<TS, VEC>*>(sum + row * COLUMNS + c) = s;
#else
    EACH_ELEMENT (k) v[i * VEC + k] = toFloat(a.v[k]);
#endif
    EACH_ELEMENT (k) total += v[i * VEC + k];
  }
#if RMS
  const float m = 0.f;
#else
  const float m = rowSum(total) / COLUMNS;
#endif
  float square = 0.f;
  EACH_ACCESS (i, c)
    EACH_ELEMENT (k) {
      const float d = v[i * VEC + k] - m;
      square += d * d;
    }
  const float scale = rsqrtf(rowSum(square) / COLUMNS + eps);
  EACH_ACCESS (i, c) {
    Pack<TO, VEC> o;
#if HAS_W
    const auto w = *reinterpret_cast<const Pack<TW, VEC>*>(weight + c);
#endif
#if HAS_B
    const auto b = *reinterpret_cast<const Pack<TW, VEC>*>(bias + c);
#endif
    EACH_ELEMENT (k) {
      float y = (v[i * VEC + k] - m) * scale;
#if HAS_W
      y *= toFloat(w.v[k]);
#endif
#if HAS_B
      y += toFloat(b.v[k]);
#endif
      o.v[k] = fromFloat<TO>(y);
    }
    *reinterpret_cast<Pack<TO, VEC>*>(out + row * COLUMNS + c) = o;
  }
  if (t == 0) {
    mean[row] = m;
    rstd[row] = scale;
  }
}

// What backward reads of a row.
struct Row {
  Pack<TO, VEC> g[ITER];
  Pack<TS, VEC> sum[ITER];
#if HAS_GS
  Pack<TS, VEC> gs[ITER];
#endif
  float mean, rstd;
};
__device__ __forceinline__ void fetch(Row& to, const TO* g, const TS* gs, const TS* sum, const float* mean,
                                      const float* rstd, i64 row, int t) {
  to.mean = mean[row];
  to.rstd = rstd[row];
  EACH_ACCESS (i, c) {
    to.g[i] = *reinterpret_cast<const Pack<TO, VEC>*>(g + row * COLUMNS + c);
    to.sum[i] = *reinterpret_cast<const Pack<TS, VEC>*>(sum + row * COLUMNS + c);
#if HAS_GS
    if (AHEAD) to.gs[i] = *reinterpret_cast<const Pack<TS, VEC>*>(gs + row * COLUMNS + c);
#endif
  }
}

// A grid that stays: each block takes rows in turn and keeps its share of the weights' gradients in registers. partial:
// [blocks][SUMS][COLUMNS].
extern "C" __global__ void __launch_bounds__(THREADS* GROUPS, 1)
    backward(const TO* g, const TS* gs, const TS* sum, const TW* weight, const float* mean, const float* rstd, TX* gx,
             TR* gr, float* partial, i64 rows) {
  const int t = threadIdx.x % THREADS, group = threadIdx.x / THREADS;
  const i64 step = (i64)gridDim.x * GROUPS;
  float wa[HELD], ba[HELD], ra[HAS_RS ? HELD : 1];
#pragma unroll
  for (int i = 0; i < HELD; i++) wa[i] = ba[i] = ra[HAS_RS ? i : 0] = 0.f;
  Row now, next;
  i64 row = (i64)blockIdx.x * GROUPS + group;
  if (AHEAD && row < rows) fetch(next, g, gs, sum, mean, rstd, row, t);
  for (; row < rows; row += step) {
    if (AHEAD) {
      now = next;
      if (row + step < rows) fetch(next, g, gs, sum, mean, rstd, row + step, t);
    } else {
      fetch(now, g, gs, sum, mean, rstd, row, t);
    }
    float go[HELD], hat[HELD];
    const float m = now.mean, scale = now.rstd;
    float s1 = 0.f, s2 = 0.f;
    EACH_ACCESS (i, c) {
#if HAS_W
      const auto w = *reinterpret_cast<const Pack<TW, VEC>*>(weight + c);
#endif
      float raw[VEC], kept[VEC];
      unpack(now.g[i], raw);
      unpack(now.sum[i], kept);
      EACH_ELEMENT (k) {
        const int e = i * VEC + k;
        hat[e] = (kept[k] - m) * scale;
        wa[e] += raw[k] * hat[e];
        ba[e] += raw[k];
#if HAS_W
        go[e] = raw[k] * toFloat(w.v[k]);
#else
        go[e] = raw[k];
#endif
        s1 += go[e];
        s2 += go[e] * hat[e];
      }
    }
#if RMS
    s1 = 0.f;
#else
    s1 = rowSum(s1) / COLUMNS;
#endif
    s2 = rowSum(s2) / COLUMNS;
    EACH_ACCESS (i, c) {
      float d[VEC];
      EACH_ELEMENT (k) {
        const int e = i * VEC + k;
        d[k] = scale * (go[e] - s1 - hat[e] * s2);
      }
#if HAS_GS
      float more[VEC];
      unpack(AHEAD ? now.gs[i] : *reinterpret_cast<const Pack<TS, VEC>*>(gs + row * COLUMNS + c), more);
      EACH_ELEMENT (k) d[k] += more[k];
#endif
#if HAS_RS
      EACH_ELEMENT (k) ra[i * VEC + k] += d[k];
#endif
      *reinterpret_cast<Pack<TX, VEC>*>(gx + row * COLUMNS + c) = packed<TX, VEC>(d);
      if (gr) *reinterpret_cast<Pack<TR, VEC>*>(gr + row * COLUMNS + c) = packed<TR, VEC>(d);
    }
  }
  if (!partial) return;
  float* mine = partial + (i64)blockIdx.x * SUMS * COLUMNS;
#if GROUPS > 1
  __shared__ float joined[SUMS * COLUMNS];
  for (int turn = 0; turn < GROUPS; turn++) {
    if (group == turn)
      EACH_ACCESS (i, c)
        EACH_ELEMENT (k) {
          joined[c + k] = (turn ? joined[c + k] : 0.f) + wa[i * VEC + k];
          joined[COLUMNS + c + k] = (turn ? joined[COLUMNS + c + k] : 0.f) + ba[i * VEC + k];
#if HAS_RS
          joined[2 * COLUMNS + c + k] = (turn ? joined[2 * COLUMNS + c + k] : 0.f) + ra[i * VEC + k];
#endif
        }
    __syncthreads();
  }
  for (int c = threadIdx.x; c < SUMS * COLUMNS; c += THREADS * GROUPS) mine[c] = joined[c];
#else
  EACH_ACCESS (i, c)
    EACH_ELEMENT (k) {
      mine[c + k] = wa[i * VEC + k];
      mine[COLUMNS + c + k] = ba[i * VEC + k];
#if HAS_RS
      mine[2 * COLUMNS + c + k] = ra[i * VEC + k];
#endif
    }
#endif
}

// 1024 threads: 32 columns of the sums each block, summed over the blocks of `backward`.
extern "C" __global__ void __launch_bounds__(1024)
    columns(const float* partial, TW* gw, TW* gb, float* rs, int blocks) {
  const float s = columnTotal<SUMS * COLUMNS>(partial, blocks);
  const int mine = blockIdx.x * 32 + (threadIdx.x >> 5);
  if ((threadIdx.x & 31) != 0 || mine >= SUMS * COLUMNS) return;
  if (mine < COLUMNS) {
    if (gw) gw[mine] = fromFloat<TW>(s);
  } else if (mine < 2 * COLUMNS) {
    if (gb) gb[mine - COLUMNS] = fromFloat<TW>(s);
  } else if (rs) rs[mine - 2 * COLUMNS] = s;
}
