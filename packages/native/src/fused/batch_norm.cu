// Batch normalisation with an addition and a ReLU behind it, over rows of COLUMNS channels (channels-last), forward and
// backward. Two passes over memory each way: what the channels sum to, then the elements. The first pass goes from the
// last row to the first, the second the other way: each begins with what is still in the cache. The macros that it is
// compiled with: manifest/kernels.json.
#include "cuda/kernels/common.cuh"

#define PACKS (COLUMNS / 8)
// A block's share of the first pass: ACROSS packs of LANES rows at a time.
#define ACROSS (PACKS < 32 ? PACKS : 32)
#define LANES (256 / ACROSS)
#define TILES ((PACKS + ACROSS - 1) / ACROSS)
#define EACH_ELEMENT(k) _Pragma("unroll") for (int k = 0; k < 8; k++)
typedef Pack<TX, 8> Packed;

// What a thread needs of its eight channels.
struct Channels {
  float mean[8], rstd[8], scale[8], bias[8];
};
__device__ __forceinline__ Channels channelsAt(int c, const float* mean, const float* rstd, const TW* weight,
                                               const TW* bias) {
  Channels n;
  EACH_ELEMENT (k) {
    n.mean[k] = mean[c + k];
    n.rstd[k] = rstd[c + k];
#if HAS_W
    n.scale[k] = toFloat(weight[c + k]) * n.rstd[k];
#else
    n.scale[k] = n.rstd[k];
#endif
#if HAS_B
    n.bias[k] = toFloat(bias[c + k]);
#else
    n.bias[k] = 0.f;
#endif
  }
  return n;
}
// The one formula of the output, of the input less its mean: backward asks it again where ReLU let through.
__device__ __forceinline__ float normed(float centred, const Channels& n, int k) {
  return fmaf(centred, n.scale[k], n.bias[k]);
}
// What does not round to 0 or below in the dtype of the output, or is not a number.
template <class T>
__device__ __forceinline__ bool passes(float y) {
  return !(y <= (sizeof(T) == 4 ? 0.f : IsBf16<T>::value ? 0x1p-134f : 0x1p-25f));
}

// The gradient behind ReLU, and whether a bit of the mask or the input says what passed.
__device__ __forceinline__ float behind(float g, float centred, u32 bits, const Channels& n, int k) {
#if !RELU
  return g;
#elif HAS_R
  return bits >> k & 1 ? g : 0.f;
#else
  return passes<TX>(normed(centred, n, k)) ? g : 0.f;
#endif
}

// Where a thread of the first pass stands: packs of 8 channels, from `column` on, of every LANES-th row of its chunk.
struct Share {
  int tile, chunk, pack, lane, column;
};
__device__ __forceinline__ Share share() {
  const int tile = blockIdx.x % TILES, chunk = blockIdx.x / TILES;
  const int pack = threadIdx.x % ACROSS, lane = threadIdx.x / ACROSS;
  const int column = (tile * ACROSS + pack) * 8;
  return {tile, chunk, pack, lane, column};
}
// Two sums per channel over the lanes of a block, in a fixed order. partial: [chunks][2][COLUMNS].
__device__ __forceinline__ void leave(const float* s, const float* q, int pack, int lane, int tile, int chunk,
                                      float* partial) {
  __shared__ float joined[2][256][9];  // 9: neighbours in different banks
  if (lane < LANES)
    EACH_ELEMENT (k) {
      joined[0][lane * ACROSS + pack][k] = s[k];
      joined[1][lane * ACROSS + pack][k] = q[k];
    }
  __syncthreads();
  for (int i = threadIdx.x; i < 2 * ACROSS * 8; i += 256) {
    const int which = i / (ACROSS * 8), c = i % (ACROSS * 8);
    if (tile * ACROSS * 8 + c >= COLUMNS) continue;
    float sum = 0.f;
    for (int l = 0; l < LANES; l++) sum += joined[which][l * ACROSS + c / 8][c % 8];
    partial[((i64)chunk * 2 + which) * COLUMNS + tile * ACROSS * 8 + c] = sum;
  }
}
#define EACH_ROW(row) \
  _Pragma("unroll 4") for (i64 row = rows - 1 - ((i64)chunk * LANES + lane); row >= 0; row -= (i64)chunks * LANES)

// Sums of differences from the first row, and of their squares: no cancellation where the mean is far from 0.
extern "C" __global__ void __launch_bounds__(256, 4) statistics(const TX* x, float* partial, i64 rows, int chunks) {
  const auto [tile, chunk, pack, lane, column] = share();
  const bool used = lane < LANES && column < COLUMNS;
  float s[8], q[8];
  EACH_ELEMENT (k) s[k] = q[k] = 0.f;
  if (used) {
    float first[8], v[8];
    unpack(*reinterpret_cast<const Packed*>(x + column), first);
    EACH_ROW (row) {
      unpack(*reinterpret_cast<const Packed*>(x + row * COLUMNS + column), v);
      EACH_ELEMENT (k) {
        const float d = v[k] - first[k];
        s[k] += d;
        q[k] += d * d;
      }
    }
  }
  leave(s, q, pack, lane, tile, chunk, partial);
}

// 1024 threads for 32 channels: the chunks' two sums of one channel, for the threads with lane 0 of each warp.
__device__ __forceinline__ void total(const float* partial, int chunks, float& s, float& q) {
  __shared__ float tile[2][32][33];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int column = blockIdx.x * 32 + lane;
  s = q = 0.f;
  if (column < COLUMNS) {
#pragma unroll 4
    for (int b = warp; b < chunks; b += 32) {
      s += partial[(i64)b * 2 * COLUMNS + column];
      q += partial[((i64)b * 2 + 1) * COLUMNS + column];
    }
  }
  tile[0][warp][lane] = s;
  tile[1][warp][lane] = q;
  __syncthreads();
  s = warpSum(tile[0][lane][warp]);
  q = warpSum(tile[1][lane][warp]);
}
extern "C" __global__ void __launch_bounds__(1024)
    statistics_end(const TX* x, const float* partial, TW* running_mean, TW* running_var, float* mean, float* rstd,
                   i64 rows, int chunks, float momentum, float eps) {
  float s, q;
  total(partial, chunks, s, q);
  const int c = blockIdx.x * 32 + (threadIdx.x >> 5);
  if ((threadIdx.x & 31) != 0 || c >= COLUMNS) return;
  const float d = s / rows, m = toFloat(x[c]) + d, variance = fmaxf(q / rows - d * d, 0.f);
  mean[c] = m;
  rstd[c] = rsqrtf(variance + eps);
  if (!running_mean) return;
  running_mean[c] = fromFloat<TW>((1.f - momentum) * toFloat(running_mean[c]) + momentum * m);
  running_var[c] = fromFloat<TW>((1.f - momentum) * toFloat(running_var[c]) +
                                 momentum * (variance * ((float)rows / (float)(rows - 1))));
}

// The grid's step is a multiple of a row: a thread stays with its channels. It reads several packs (AHEAD)
// before it writes one.
#define STEP ((i64)gridDim.x * 256)
#define EACH_AHEAD(first) for (i64 first = (i64)blockIdx.x * 256 + threadIdx.x; first < packs; first += STEP * AHEAD)
#define EACH_OF_AHEAD(j, i, first) \
  _Pragma("unroll") for (int j = 0; j < AHEAD; j++) if (const i64 i = first + j * STEP; i < packs)
extern "C" __global__ void __launch_bounds__(256, 4)
    apply(const TX* x, const TX* r, const TW* weight, const TW* bias, const float* mean, const float* rstd, TX* out,
          u8* mask, i64 packs) {
  constexpr int AHEAD = HAS_R ? 2 : 4;
  const Channels n = channelsAt((int)(((i64)blockIdx.x * 256 + threadIdx.x) % PACKS) * 8, mean, rstd, weight, bias);
  EACH_AHEAD(first) {
    Packed a[AHEAD];
#if HAS_R
    Packed b[AHEAD];
#endif
    EACH_OF_AHEAD(j, i, first) {
      a[j] = reinterpret_cast<const Packed*>(x)[i];
#if HAS_R
      b[j] = reinterpret_cast<const Packed*>(r)[i];
#endif
    }
    EACH_OF_AHEAD(j, i, first) {
      float y[8];
      unpack(a[j], y);
#if HAS_R
      float more[8];
      unpack(b[j], more);
#endif
      u32 bits = 0;
      EACH_ELEMENT (k) {
        y[k] = normed(y[k] - n.mean[k], n, k);
#if HAS_R
        y[k] += more[k];
#endif
#if RELU
        bits |= (u32)passes<TX>(y[k]) << k;
        y[k] = y[k] < 0.f ? 0.f : y[k];  // NaN stays
#endif
      }
      reinterpret_cast<Packed*>(out)[i] = packed<TX, 8>(y);
      if (RELU && HAS_R) mask[i] = (u8)bits;
    }
  }
}

// kept, where KEEP: the gradient behind ReLU, of the dtype of the others. It is what a residual gets, and spares the
// second pass the mask and the other branch.
extern "C" __global__ void __launch_bounds__(256, 3)
    sums(const TX* g, const TX* more, const TX* x, const u8* mask, const TW* weight, const TW* bias, const float* mean,
         const float* rstd, TX* kept, float* partial, i64 rows, int chunks) {
  constexpr int TOGETHER = HAS_R && !HAS_MORE ? 3 : 2;
  const auto [tile, chunk, pack, lane, column] = share();
  const bool used = lane < LANES && column < COLUMNS;
  float s[8], q[8];
  EACH_ELEMENT (k) s[k] = q[k] = 0.f;
  if (used) {
    const Channels n = channelsAt(column, mean, rstd, weight, bias);
    const i64 step = (i64)chunks * LANES;
    for (i64 row = rows - 1 - ((i64)chunk * LANES + lane); row >= 0; row -= step * TOGETHER) {
      Packed a[TOGETHER], b[TOGETHER];
#if HAS_MORE
      Packed m[TOGETHER];
#endif
      u32 bits[TOGETHER];
#pragma unroll
      for (int j = 0; j < TOGETHER; j++)
        if (const i64 at = row - j * step; at >= 0) {
          a[j] = *reinterpret_cast<const Packed*>(g + at * COLUMNS + column);
#if HAS_MORE
          m[j] = *reinterpret_cast<const Packed*>(more + at * COLUMNS + column);
#endif
          b[j] = *reinterpret_cast<const Packed*>(x + at * COLUMNS + column);
          bits[j] = RELU && HAS_R ? mask[at * PACKS + column / 8] : 0;
        }
#pragma unroll
      for (int j = 0; j < TOGETHER; j++)
        if (const i64 at = row - j * step; at >= 0) {
          float d[8], v[8];
          unpack(a[j], d);
          unpack(b[j], v);
#if HAS_MORE
          float other[8];
          unpack(m[j], other);
          EACH_ELEMENT (k) d[k] += other[k];
          unpack(packed<TX, 8>(d), d);  // as the sum of both would be kept
#endif
          EACH_ELEMENT (k) {
            const float centred = v[k] - n.mean[k];
            d[k] = behind(d[k], centred, bits[j], n, k);
            s[k] += d[k];
            q[k] = fmaf(d[k], centred, q[k]);
          }
#if KEEP
          *reinterpret_cast<Packed*>(kept + at * COLUMNS + column) = packed<TX, 8>(d);
#endif
        }
    }
    EACH_ELEMENT (k) q[k] *= rstd[column + k];
  }
  leave(s, q, pack, lane, tile, chunk, partial);
}

// means: [2][COLUMNS], what each row's gradient is corrected by.
extern "C" __global__ void __launch_bounds__(1024)
    sums_end(const float* partial, TW* gw, TW* gb, float* means, i64 rows, int chunks) {
  float s, q;
  total(partial, chunks, s, q);
  const int c = blockIdx.x * 32 + (threadIdx.x >> 5);
  if ((threadIdx.x & 31) != 0 || c >= COLUMNS) return;
  if (gw) gw[c] = fromFloat<TW>(q);
  if (gb) gb[c] = fromFloat<TW>(s);
  means[c] = s / rows;
  means[COLUMNS + c] = q / rows;
}

// g: where KEEP, what the first pass kept.
extern "C" __global__ void __launch_bounds__(256, 3)
    gradient(const TX* g, const TX* x, const u8* mask, const TW* weight, const TW* bias, const float* mean,
             const float* rstd, const float* means, TX* gx, i64 packs) {
  constexpr int AHEAD = 2;
  const int c = (int)(((i64)blockIdx.x * 256 + threadIdx.x) % PACKS) * 8;
  const Channels n = channelsAt(c, mean, rstd, weight, bias);
  // scale · (d - mean of d - normalised · mean of d · normalised), with the factors of a channel multiplied first.
  float less[8], slope[8];
  EACH_ELEMENT (k) {
    less[k] = n.scale[k] * means[c + k];
    slope[k] = n.scale[k] * n.rstd[k] * means[COLUMNS + c + k];
  }
  EACH_AHEAD(first) {
    Packed a[AHEAD], b[AHEAD];
    u32 bits[AHEAD];
    EACH_OF_AHEAD(j, i, first) {
      a[j] = reinterpret_cast<const Packed*>(g)[i];
      b[j] = reinterpret_cast<const Packed*>(x)[i];
      bits[j] = RELU && HAS_R && !KEEP ? mask[i] : 0;
    }
    EACH_OF_AHEAD(j, i, first) {
      float d[8], v[8];
      unpack(a[j], d);
      unpack(b[j], v);
      EACH_ELEMENT (k) {
        const float centred = v[k] - n.mean[k];
        if (!KEEP) d[k] = behind(d[k], centred, bits[j], n, k);
        d[k] = fmaf(n.scale[k], d[k], -fmaf(centred, slope[k], less[k]));
      }
      reinterpret_cast<Packed*>(gx)[i] = packed<TX, 8>(d);
    }
  }
}
